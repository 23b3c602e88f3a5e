#!/usr/bin/env node
// `--version` alone is answered without loading anything: scripts ask it often, and oclif's start is most of
// what the answer would take.
import { existsSync, readFileSync } from 'node:fs';

const here = (path) => new URL(`../${path}`, import.meta.url);
const argv = process.argv.slice(2);

if (argv.length === 1 && argv[0] === '--version') {
  const { name, version } = JSON.parse(readFileSync(here('package.json'), 'utf8'));
  process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`);
} else if (!existsSync(here('dist/src/cli/main.js'))) {
  process.stderr.write('Error: holdfast is not built here\nHint: npm ci && npm run build\n');
  process.exitCode = 1;
} else {
  const { main } = await import('../dist/src/cli/main.js');
  await main(argv, import.meta.url);
}
