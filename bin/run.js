#!/usr/bin/env node
// CommonJS, by the package.json beside it: whatever loads an ES module has Node start its thread pool, and its size can
// be said only before that (docs/decisions/0013). `--version` alone is answered without loading anything: scripts ask it
// often, and oclif's start is most of what the answer would take.
'use strict';
const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');
const { pathToFileURL } = require('node:url');

/** A flush has a call under way on each member: with Node's four threads one flush of four members has them all. */
const POOL_THREADS = '16';

const here = (path) => join(__dirname, '..', path);
const argv = process.argv.slice(2);

async function run() {
  const asked = process.env.UV_THREADPOOL_SIZE;
  process.env.UV_THREADPOOL_SIZE = asked ?? POOL_THREADS;
  const { main } = await import('../dist/src/cli/main.js');
  // The pool runs: whoever is started from here is told nothing of it.
  if (asked === undefined) delete process.env.UV_THREADPOOL_SIZE;
  await main(argv, pathToFileURL(here('package.json')).href);
}

if (argv.length === 1 && argv[0] === '--version') {
  const { name, version } = JSON.parse(readFileSync(here('package.json'), 'utf8'));
  process.stdout.write(`${name}/${version} ${process.platform}-${process.arch} node-${process.version}\n`);
} else if (!existsSync(here('dist/src/cli/main.js'))) {
  process.stderr.write('Error: holdfast is not built here\nHint: npm ci && npm run build\n');
  process.exitCode = 1;
} else {
  void run();
}
