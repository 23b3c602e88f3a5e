/**
 * A disk that is full under the crash lab: amid a recording, under the recorded disk itself, and under what exploring, minimizing, replaying
 * and reporting write. What was asked for fails with its reason, nothing is left of it, and with room again it is done.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { readTrace } from '../../src/crash/trace-file/trace-reader.js';
import { packagePath } from '../../src/package-root.js';
import { isInstalled } from '../nbd/client/servers.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { notTested } from '../support/volumes.js';

const LIMIT = { timeout: 120_000 };
const PAGE_BYTES = 4096;
const PAGES = 16;
const PROGRAMS = packagePath('dist', 'src', 'demo', 'log-store');
const CHECK = `node ${PROGRAMS}/check.js`;
const FULL = { exitCode: 1, json: { error: { code: 'NO_SPACE' } } };

const folder = await temporaryFolder();
const small = join(folder, 'small');
const trace = join(folder, 'hasty.trace');
const found = join(folder, 'found');
let isMounted = false;

beforeAll(async () => {
  await mkdir(small);
  const mount = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${PAGES * PAGE_BYTES}`, 'none', small]);
  isMounted = mount.status === 0;
  if (!isMounted)
    return notTested('a full disk under the crash lab', `cannot mount: ${String(mount.stderr)}`);
  await record(join(folder, 'hasty.img'), trace, `node ${PROGRAMS}/append.js --hasty`);
  const explored = await explore('--failures', found);
  expect(explored.exitCode).toBe(4);
}, 60_000);

afterAll(() => {
  if (isMounted) execFileSync('umount', [small]);
});

beforeEach(async () => {
  if (isMounted) for (const name of await readdir(small)) await rm(join(small, name), { recursive: true });
});

function whereMounted(name: string, body: () => Promise<void>): void {
  it(name, LIMIT, async () => {
    if (isMounted) await body();
  });
}

/** So many pages are free there from now on, beside what there is. */
async function leave(pages: number): Promise<void> {
  await rm(join(small, 'other'), { force: true });
  const words = ['--output=avail', '--block-size=1', small];
  const free = Number(execFileSync('df', words, { encoding: 'utf8' }).split('\n')[1]);
  await writeFile(join(small, 'other'), Buffer.alloc(free - pages * PAGE_BYTES, 1));
}

const left = async (): Promise<string[]> =>
  (await readdir(small, { recursive: true })).filter((name) => name !== 'other');

function record(image: string, to: string, command: string, size = '16KiB') {
  return runHoldfast(['crash', 'record', image, '--size', size, '--trace', to, '--json', '--', command]);
}

async function recorded(image: string, to: string, command: string, size?: string) {
  const result = await record(image, to, command, size);
  return { ...result, json: JSON.parse(result.stdout) as Awaited<ReturnType<typeof runJson>>['json'] };
}

const explore = (...flags: readonly string[]) =>
  runJson(['crash', 'explore', trace, '--check', CHECK, ...flags]);

whereMounted(
  'a trace that cannot be made, or has no room for what the disk held: nothing has begun',
  async () => {
    const [image, to] = [join(folder, 'random.img'), join(small, 't.trace')];
    await writeFile(image, randomBytes(1024 * 1024));
    for (const pages of [0, 4]) {
      await leave(pages);
      const failed = await recorded(image, to, 'echo it ran >&2', '1MiB');
      expect(failed).toMatchObject(FULL);
      expect(failed.json.error!.message).toContain(to);
      expect(failed.stderr).not.toContain('it ran');
      expect(await left()).toEqual([]);
    }
    const elsewhere = await recorded(image, join(folder, 'random.trace'), 'echo it ran >&2', '1MiB');
    expect([elsewhere.exitCode, elsewhere.stderr]).toEqual([0, 'it ran\n']);
  },
);

whereMounted(
  'amid a recording: the command goes on, and what the trace has by then is explored',
  async () => {
    const to = join(small, 't.trace');
    await leave(5);
    const program = `node ${PROGRAMS}/append.js 990 && echo all was put >&2`;
    const { stderr, ...failed } = await recorded(join(folder, 'log.img'), to, program);
    expect(failed).toMatchObject(FULL);
    expect(failed.json.error!.message).toMatch(/the recording ended there.*ended with 0$/);
    expect(failed.json.warnings.join()).toContain('the command goes on without it');
    expect(stderr).toContain('all was put');
    const read = readTrace(to);
    const events = read.events.length;
    expect(read.damage).not.toBeNull();
    expect(events).toBeGreaterThan(20);
    expect(events).toBeLessThan(10_000);
    read.close();
    const words = ['crash', 'explore', to, '--check', CHECK, '--max-states', '60'];
    const { exitCode, json } = await runJson(words);
    expect([exitCode, json.result]).toEqual([0, expect.objectContaining({ events, failures: [] })]);
    expect(json.warnings.join()).toContain(`used up to offset`);
  },
);

const hasQemuIo = isInstalled('qemu-io');

whereMounted('the recorded disk itself: the command hears of it, and the trace is whole', async () => {
  if (!hasQemuIo) return notTested('a recorded disk that is full', 'qemu-io is not installed');
  const [image, to] = [join(small, 'disk.img'), join(folder, 'full.trace')];
  const program = 'qemu-io -t writeback -f raw -c "write 0 16k" -c "write 16k 200k" "$uri" >&2 || exit 7';
  const { exitCode, stderr, json } = await recorded(image, to, program, '1MiB');
  expect([exitCode, json.error]).toEqual([7, undefined]);
  expect(stderr).toContain('No space left on device');
  const read = readTrace(to);
  expect(read.damage).toBeNull();
  const ended = (offset: number) =>
    read.events.some((event) => event.kind === 'complete' && event.operation.offset === offset);
  expect([ended(0), ended(16 * 1024)]).toEqual([true, false]);
  read.close();
  const explored = await runJson(['crash', 'explore', to, '--check', 'true', '--max-states', '20']);
  expect([explored.exitCode, explored.json.warnings]).toEqual([0, []]);
});

whereMounted(
  'where states are put, whatever of a state has no room: it is told, and nothing is left',
  async () => {
    for (const pages of [0, 1, 3, 4]) {
      await leave(pages);
      const failed = await explore('--directory', small, '--workers', '1');
      expect([pages, failed]).toMatchObject([pages, FULL]);
      expect(failed.json.error!.message).toContain(small);
      expect(await left()).toEqual([]);
    }
    await leave(8);
    expect((await explore('--directory', small, '--workers', '1')).exitCode).toBe(4);
    expect(await left()).toEqual([]);
  },
);

whereMounted('where failures are kept: what was found is told all the same', async () => {
  await leave(0);
  const kept = join(small, 'found');
  const { exitCode, json } = await explore('--failures', kept);
  expect(exitCode).toBe(4);
  expect(json.result!.failures).toMatchObject([{ kind: 'check exit 3', file: null }]);
  expect(json.warnings).toEqual([expect.stringMatching(/^what was found is not kept: .*no space/)]);
  expect(await left()).toEqual(['found']);
  // The summary alone has room.
  await leave(1);
  expect((await explore('--failures', kept)).json.warnings.join()).toContain('check-exit-3.json');
  expect(await left()).toEqual(['found', 'found/summary.json']);
  await leave(4);
  expect((await explore('--failures', kept)).json.warnings).toEqual([]);
  expect((await left()).sort()).toEqual(['found', 'found/check-exit-3.json', 'found/summary.json']);
});

whereMounted('what is made of a failure is there as a whole, or not at all', async () => {
  const failure = join(found, 'check-exit-3.json');
  const commands = [
    ['minimize', '--failure', failure, '--check', CHECK, '--output', join(small, 'made')],
    ['replay', '--failure', failure, '--output', join(small, 'made')],
    ['report', '--failures', found, '--html', join(small, 'made')],
    ['report', '--failures', found, '--junit', join(small, 'made')],
  ];
  for (const [command, ...flags] of commands) {
    await leave(0);
    const words = ['crash', command!, trace, ...flags];
    expect([command, await runJson(words)]).toMatchObject([command, FULL]);
    expect([command, (await left()).filter((name) => name.includes('.'))]).toEqual([command, []]);
    await leave(10);
    expect([command, (await runJson(words)).exitCode]).toEqual([command, 0]);
    await rm(join(small, 'made'), { recursive: true });
  }
});
