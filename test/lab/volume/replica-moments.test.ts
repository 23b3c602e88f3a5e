/** A replica of a recorded volume, promoted as a cut leaves it, is a state that the volume could have been in; and where it is not, that is found. */
import { writeFile } from 'node:fs/promises';
import { expect, it } from 'vitest';
import { readTrace, type StoredTrace } from '../../../src/crash/trace-file/trace-reader.js';
import { contentsAtCut } from '../../../src/lab/explore/replay.js';
import { exploreVolume } from '../../../src/lab/volume/explore-volume.js';
import { devicesOf, disksBefore } from '../../../src/lab/volume/recorded-disks.js';
import { ReplicaMoments } from '../../../src/lab/volume/replica-moments.js';
import { StagedVolume } from '../../../src/lab/volume/staged-volume.js';
import { notWarned } from '../../support/lab/not-warned.js';
import { qemuIo, recordedWith } from '../../support/lab/recorded-volume.js';
import { withoutBarriers, withoutWrites } from '../../support/lab/without-barriers.js';
import { BINARY, ok, runHoldfast, runJson } from '../../support/run-holdfast.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const LIMIT = { timeout: 180_000 };
/** When it has come to the replica it is sent what is written, in epochs of their own. */
const WRITES = [
  'sleep 1',
  ...[1, 2, 3].map((value) => {
    const commands = [`write -P ${value} ${value * 8}k 4k`, `write -P ${value} 0 4k`, 'flush'];
    return `${qemuIo(commands)}; sleep 0.3`;
  }),
].join('; ');
const RAID = ['--members', '3', '--size', '2M', '--chunk', '16K'];
const FILES = ['--format', 'extents', '--size', '8M'];

async function explore(trace: StoredTrace, maxStates: number, maxImagesPerCut: number) {
  const directory = await temporaryFolder();
  const signal = new AbortController().signal;
  const limits = { maxStates, maxImagesPerCut, maxFailures: 9 };
  return exploreVolume(trace, { seed: 1, directory, signal, ...limits, warn: notWarned });
}

async function recorded(
  create: readonly string[] | null,
  file: string | null = null,
  writes: Parameters<typeof recordedWith>[1] = WRITES,
  ...mode: readonly string[]
): Promise<StoredTrace> {
  const { trace } = await recordedWith(create, writes, async (volume) => {
    if (file !== null) await ok('file', 'create', volume, file, '--size', '1M');
    await ok('replica', 'add', volume, '--to', `${volume}.second.img`, '--name', 'second', ...mode);
    await ok('replica', 'sync', volume);
  });
  return readTrace(trace);
}

const isOfReplica = (name: string) => name.includes('second.img');

/** As if its image were written without its log, and never told to make anything durable. */
function withoutLog(trace: StoredTrace): StoredTrace {
  const isImage = (name: string) => name.endsWith('second.img');
  const isBeside = (name: string) => name.includes('second.img.holdfast');
  return withoutWrites(withoutBarriers(trace, isImage), isBeside);
}

it.each([
  ['one image', null, null],
  ['RAID-5', RAID, null],
  ['files', FILES, 'disk'],
] as const)('that of %s is one', LIMIT, async (_, create, file) => {
  const report = await explore(await recorded(create, file), 2000, 8);
  expect([report.failures, report.states]).toEqual([[], 2000]);
});

/** None is flushed but the last: a synchronous replica has them when they are answered. */
const UNFLUSHED = `sleep 1; ${qemuIo([...[1, 2, 3, 4].map((value) => `write -P ${value} ${(value % 3) * 8}k 4k`), 'flush'])}`;

it.each([
  ['one image', null, null],
  ['RAID-5', RAID, null],
  ['files', FILES, 'disk'],
] as const)('a synchronous one of %s has all that was answered', LIMIT, async (_, create, file) => {
  const waited = await recorded(create, file, UNFLUSHED, '--mode', 'sync');
  const report = await explore(waited, 2000, 8);
  expect([report.failures, report.states]).toEqual([[], 2000]);
  const late = await explore(withoutBarriers(waited, isOfReplica), 2000, 8);
  const found = late.failures.find(
    ({ invariant }) => invariant === 'a synchronous replica lacks what was answered',
  );
  expect(found?.message).toMatch(/^replica second, promoted: sector .* is older than/);
});

it(
  'a synchronous one that is away meanwhile is owed what is answered from then on that it is back',
  LIMIT,
  async () => {
    const one = (value: number) => qemuIo([`write -P ${value} 8k 4k`]);
    const replica = (word: string, volume: string) => `${BINARY} replica ${word} ${volume} --name second`;
    const away = (volume: string) =>
      [
        'sleep 1',
        one(1),
        replica('pause', volume),
        one(2),
        replica('resume', volume),
        one(3),
        replica('sync', volume),
        one(4),
      ].join(' && ');
    const trace = await recorded(null, null, away, '--mode', 'sync');
    const report = await explore(trace, 20_000, 4);
    expect([report.failures, report.cuts > trace.events.length]).toEqual([[], true]);
  },
);

it('is found to be none where its image is written, and its log is not', LIMIT, async () => {
  const { failures } = await explore(withoutLog(await recorded(null)), 6000, 24);
  const found = failures.find(({ invariant }) => invariant === 'a replica is no moment of the volume');
  expect(found?.message).toMatch(/^replica second, promoted: /);
});

it('of files it is found to be none without one of the writes to its image', LIMIT, async () => {
  const trace = withoutLog(await recorded(FILES, 'disk'));
  const staged = await StagedVolume.make(trace, trace.volume!, await temporaryFolder());
  const disks = await disksBefore(trace, trace.volume!, staged);
  const moments = await ReplicaMoments.of(trace, staged, { disks, keepsOrder: true });
  const image = trace.devices.findIndex(({ name }) => name.endsWith('second.img'));
  const ofImage = trace.events.flatMap((event) =>
    event.kind === 'submit' && event.operation.device === image && event.operation.kind !== 'flush'
      ? [event.operation.number]
      : [],
  );
  const breachWithout = async (...lost: number[]) => {
    const place = { event: trace.events.length, profile: 'sector-512' } as const;
    const contents = contentsAtCut(trace, {
      ...place,
      keep: ofImage.filter((number) => !lost.includes(number)),
    });
    const { breach, moments: held } = await moments.read(devicesOf(trace, contents));
    return breach ?? moments.check(held, trace.requests.length);
  };
  expect(await breachWithout()).toBeNull();
  // A write of a file, and both copies of a record of its log.
  const found = new Set<string | undefined>();
  for (const [at, number] of ofImage.entries())
    for (const lost of [[number], [number, ofImage[at + 1] ?? number]])
      found.add((await breachWithout(...lost))?.invariant);
  expect([...found]).toEqual(
    expect.arrayContaining(['a replica has no moment', 'a replica is no moment of the volume']),
  );
  await staged.remove();
});

it(
  'one that is not like the volume when the recording begins is not held to it, and that is said',
  LIMIT,
  async () => {
    const { volume, folder } = await recordedWith(null, ':', async (made) => {
      await ok('replica', 'add', made, '--to', `${made}.second.img`, '--name', 'second');
      await ok('replica', 'sync', made);
      await ok('replica', 'pause', made, '--name', 'second');
    });
    const input = `${folder}/input`;
    await writeFile(input, Buffer.alloc(4096, 9));
    await ok('write', volume, '--offset', '64K', '--input', input);
    const trace = `${folder}/late.trace`;
    const words = [
      'crash',
      'record',
      volume,
      '--trace',
      trace,
      '--',
      'qemu-io -f raw -c "write -P 7 0 4k" "$uri"',
    ];
    expect((await runHoldfast(words)).exitCode).toBe(0);
    const { exitCode, json } = await runJson(['crash', 'explore', trace, '--max-states', '50']);
    expect([exitCode, json.warnings]).toEqual([
      0,
      [expect.stringContaining('replica second was not like the volume')],
    ]);
  },
);
