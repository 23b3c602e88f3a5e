/** Traces of volumes, which need no check of anybody's: a sound one holds, and a barrier that is gone is found by what its clients were told. */
import { readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { readTrace, type StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { exploreVolume } from '../../../src/lab/volume/explore-volume.js';
import { notWarned } from '../../support/lab/not-warned.js';
import { recordedStore } from '../../support/lab/recorded-store.js';
import { recordedVolume, succeed } from '../../support/lab/recorded-volume.js';
import { withoutBarriers } from '../../support/lab/without-barriers.js';
import { runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const RAID = ['--members', '3', '--size', '2M', '--chunk', '16K'];
const WRITES = [
  'write -P 1 8k 12k',
  'flush',
  'write -P 2 0 24k',
  'write -P 3 40k 1k',
  'flush',
  'write -P 4 12k 4k',
  'flush',
];

async function explore(trace: StoredTrace, maxStates: number) {
  const directory = await temporaryFolder();
  const signal = new AbortController().signal;
  const options = {
    seed: 1,
    directory,
    signal,
    maxStates,
    maxImagesPerCut: 16,
    maxFailures: 3,
    warn: notWarned,
  };
  const report = await exploreVolume(trace, options);
  expect(await readdir(directory)).toEqual([]);
  return report;
}

it('an array with its record holds, with all members and without each', { timeout: 120_000 }, async () => {
  const { trace, folder } = await recordedVolume(RAID, WRITES);
  const { json, exitCode } = await runJson([
    ...[
      'crash',
      'explore',
      trace,
      '--max-states',
      '3000',
      '--max-images-per-cut',
      '8',
      '--directory',
      folder,
    ],
  ]);
  expect([exitCode, json.result]).toEqual([
    0,
    expect.objectContaining({ failures: [], states: 3000, stoppedBy: 'states', isExhaustive: false }),
  ]);
  expect((json.result as { images: number }).images).toBeGreaterThan(20);
  expect((await readdir(folder)).sort()).toEqual(['v', 'v.trace']);
});

it('what was answered and is not durable is found, and the same run finds the same', {
  timeout: 120_000,
}, async () => {
  const trace = readTrace((await recordedVolume(RAID, WRITES)).trace);
  const [first, again] = [
    await explore(withoutBarriers(trace), 2000),
    await explore(withoutBarriers(trace), 2000),
  ];
  expect(first.failures.map(({ invariant }) => invariant)).toContain('a sector is none of what it may be');
  const told = ({ failures }: typeof first) =>
    failures.map(({ invariant, point, missing }) => [invariant, point, missing]);
  expect(told(again)).toEqual(told(first));
  trace.close();
});

it('what no client wrote is not to change, and what a client wrote is not to be anything else', {
  timeout: 120_000,
}, async () => {
  const trace = readTrace((await recordedVolume(RAID, WRITES)).trace);
  const without = (offset: number) => ({
    ...trace,
    requests: trace.requests.filter(({ request }) => request.kind !== 'write' || request.offset !== offset),
  });
  await expect(explore(without(40 * 1024), 500)).rejects.toMatchObject({
    code: 'USAGE',
    message: expect.stringMatching(/offset 40960 of v, which no client wrote/),
  });
  // Overwritten later: at the end all is well, and before that there is what nobody asked for.
  const { failures } = await explore(without(8 * 1024), 500);
  expect(failures.map(({ message }) => message)).toEqual([
    expect.stringContaining('nothing that was ever written'),
  ]);
  trace.close();
});

it('a volume of files: its disks are the files', { timeout: 120_000 }, async () => {
  const { trace: path } = await recordedVolume(
    ['--format', 'extents', '--size', '8M'],
    ['write -P 1 8k 12k', 'flush', 'write -P 2 12k 4k', 'flush'],
    (volume) => succeed(['file', 'create', volume, 'disk', '--size', '1M']),
  );
  const trace = readTrace(path);
  expect(trace.volume!.disks).toEqual([{ name: 'disk', size: 1024 * 1024 }]);
  expect((await explore(trace, 1500)).failures).toEqual([]);
  const found = (await explore(withoutBarriers(trace), 1500)).failures;
  expect(found).not.toEqual([]);
  trace.close();
});

it('an image that is missing, or lies elsewhere, or whose lists have changed is told, and nothing is looked at', async () => {
  const { trace: path } = await recordedVolume(RAID, ['write -P 1 0 4k']);
  const trace = readTrace(path);
  const list = join(trace.volume!.named, 'list.json');
  const changed = { ...trace, volume: { ...trace.volume!, changed: new Set([list]) } };
  await expect(explore(changed, 10)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  const devices = trace.devices.map((device, at) =>
    at === 1 ? { ...device, name: '/elsewhere.img' } : device,
  );
  await expect(explore({ ...trace, devices }, 10)).rejects.toMatchObject({
    code: 'UNSUPPORTED',
    message: expect.stringContaining('/elsewhere.img'),
  });
  trace.close();
});

it('the files beside the images are in the trace, and those that were made meanwhile are known', async () => {
  const { volume, folder } = await recordedVolume(RAID, ['write -P 1 0 4k']);
  const trace = join(folder, 'second.trace');
  const made = join(volume, 'note');
  await writeFile(join(volume, 'old'), 'was there');
  const recorded = await runHoldfast([
    'crash',
    'record',
    volume,
    '--trace',
    trace,
    '--',
    `echo new > ${made}`,
  ]);
  expect(recorded.exitCode).toBe(0);
  const read = readTrace(trace);
  expect([...read.volume!.files.keys()].map((path) => path.slice(volume.length + 1))).toEqual(
    expect.arrayContaining(['holdfast.json', 'old']),
  );
  expect([...read.volume!.changed]).toEqual([made]);
  read.close();
  await rm(made);
});

it('a trace of a disk alone needs a check', async () => {
  const { trace } = await recordedStore({ letters: 'A' });
  const { exitCode, stderr } = await runHoldfast(['crash', 'explore', trace]);
  expect([exitCode > 0, stderr]).toEqual([true, expect.stringContaining('Give a --check')]);
});
