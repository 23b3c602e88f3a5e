/** The order in which a backup becomes durable, and what is found when it is cut, or a disk fails, at any step of it. */
import { spawnSync } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { openSet } from '../../../src/snapshot/set/index.js';
import { type CallsToFail, compileFailingCalls } from '../../support/failing-calls.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { notTested } from '../../support/volumes.js';
import { makeBackup } from './sets.js';

const folder = await temporaryFolder();
const failing = compileFailingCalls(folder);
const SCRIPT = fileURLToPath(new URL('make-backup.mjs', import.meta.url));
const MIB = 1024 ** 2;
let count = 0;

/** Makes a backup of 4 MiB in a process of its own. */
function make(directory: string, what: CallsToFail) {
  const env = { ...process.env, NODE_OPTIONS: '', ...failing!(what) };
  return spawnSync(process.execPath, [SCRIPT, directory, 'monday', '4'], { env, encoding: 'utf8' });
}

function withLibrary(name: string, body: (directory: string) => Promise<void>): void {
  it(name, async () => {
    if (failing === null) return notTested(name, 'there is no C compiler (cc)');
    await body(join(folder, `set-${count++}`));
  });
}

describe('a backup becomes good', () => {
  withLibrary('when its content is durable, then its pieces, then what says so', async (directory) => {
    const log = join(folder, 'log');
    expect(make(directory, { files: 'nothing', calls: '', after: 0, log }).status).toBe(0);
    const calls = (await readFile(log, 'utf8'))
      .trimEnd()
      .split('\n')
      .map((line) => line.split(' '))
      .filter(([, , path]) => path?.startsWith(directory))
      .map(([kind, , path]) => `${kind} ${path!.slice(directory.length)}`);
    const steps = calls.filter((call, n) => call !== calls[n - 1]);
    const recorded = ['f /monday/backup.json.new', 'f /monday'];
    expect(steps).toEqual([
      ...['f /set.json', 'f ', ...recorded, 'f '],
      ...['w /monday/data', 'f /monday/data', 'f /monday/pieces', 'f /monday', ...recorded],
    ]);
  });
});

/** What is flushed a second time says that it is good; the folder is flushed for what says that it runs before that. */
const STEPS = [
  { files: '/set.json', calls: 'f', after: 0 },
  { files: '/backup.json.new', calls: 'f', after: 0 },
  { files: '/data', calls: 'w', after: 2 },
  { files: '/data', calls: 'f', after: 0 },
  { files: '/pieces', calls: 'f', after: 0 },
  { files: '/monday', calls: 'f', after: 1 },
  { files: '/backup.json.new', calls: 'f', after: 1 },
] as const;

describe.each(STEPS)('at $calls of $files, $after of them later', (step) => {
  withLibrary('a kill leaves one that was cut, and room for the next', async (directory) => {
    expect(make(directory, { ...step, signal: 'SIGKILL' }).signal).toBe('SIGKILL');
    const found = await openSet(directory).then((set) => set.list());
    expect(found.map(({ state }) => state)).toEqual(step.files === '/set.json' ? [] : ['failed']);
    await makeBackup(directory, { name: 'monday', sizeBytes: 4 * MIB }, []);
    expect(await (await openSet(directory)).list()).toMatchObject([{ state: 'good' }]);
  });

  withLibrary('a failure leaves none that is good', async (directory) => {
    make(directory, step);
    const found = await openSet(directory).then(
      (set) => set.list(),
      () => [],
    );
    for (const { state, reason } of found) expect(state, `${reason}`).toBe('failed');
    await makeBackup(directory, { name: 'monday', sizeBytes: 4 * MIB }, []);
    expect(await (await openSet(directory)).list()).toMatchObject([{ state: 'good' }]);
  });
});
