/**
 * Writes oclif.manifest.json, as a step of the build: what the commands are called and what their help says.
 * Without it oclif loads every command, and with them every library, to run any one of them.
 *
 * The one program among these files: `node dist/src/cli/write-manifest.js` in the package's folder.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Plugin } from '@oclif/core';

const root = process.cwd();
const plugin = new Plugin({
  root,
  type: 'core',
  ignoreManifest: true,
  errorOnManifestCreate: true,
  respectNoCacheDefault: true,
});
await plugin.load();
await writeFile(join(root, 'oclif.manifest.json'), `${JSON.stringify(plugin.manifest, null, 2)}\n`);
