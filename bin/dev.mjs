#!/usr/bin/env node
// For work on holdfast itself: compiles what changed, then runs it with oclif's debugging on.
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { settings } from '@oclif/core/settings';

const cwd = fileURLToPath(new URL('..', import.meta.url));
for (const step of [
  ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'],
  ['dist/src/cli/write-manifest.js'],
]) {
  const { status } = spawnSync(process.execPath, step, { cwd, stdio: ['ignore', 2, 2] });
  if (status !== 0) process.exit(status ?? 1);
}

settings.debug = true;
const { main } = await import('../dist/src/cli/main.js');
await main(process.argv.slice(2), new URL('../package.json', import.meta.url).href);
