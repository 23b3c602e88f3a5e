/**
 * What tracking costs writes of 4 KiB at random, through the stack that the product opens. The secondary takes bandwidth of the same
 * disk, and processor time of the same process, for twice what is written (its epoch log and its image): so it also lies in memory,
 * with another process, and is also away. What is left then is the cost of tracking: lists and log, or map.
 */
import { mkdtemp, open, rm, statfs, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import type { WriteOptions } from '../device/contract.js';
import type { Volume } from '../volume/index.js';
import type { Comparison, Contender, Sample } from './bench.js';
import { MEMBERS, varied } from './bench-array.js';
import { BLOCK_BYTES } from './extents-volume.js';
import { latencyOf } from './measure.js';
import { NBDKIT, RunningServer, whyNo } from './nbd-servers.js';
import type { Opened } from './prepare.js';
import { inSync, makeTracked, openTracked, REPLICA, type TrackedShape } from './replication-volumes.js';
import { perform, scattered } from './workload.js';

export interface TrackedWriteSizes {
  /** Of each volume; all of it is written before. */
  readonly volumeBytes: number;
  /** Whether the secondary of one of them lies in memory, where there is a place for that. */
  readonly inMemory: boolean;
  /** Requests of a round, by how many are in flight. */
  readonly writers: ReadonlyMap<number, number>;
  readonly durable: ReadonlyMap<number, number>;
  readonly flushed: number;
  /** In flight where the clock stops only when the secondary has all of it, and on RAID-5. */
  readonly manyWriters: number;
}

export const TRACKED_WRITE_NOTES = [
  'untracked: the volume without replication. away: its secondary is paused, and the map is what is written. in memory: the secondary is on tmpfs; NBD server: there too, and nbdkit has it, where that is installed. same disk: beside the volume.',
  'The clock stops when the volume is flushed; until sent: when the secondary has all of it too. cpu: microseconds of the whole process, until then.',
  'Goal: async at 32 and more in flight costs 5% at most. A secondary on the same disk writes each byte twice there.',
];

const SHARED_MEMORY = '/dev/shm';
/** TMPFS_MAGIC of statfs(2). */
const TMPFS = 0x01021994;
const BLOCK = varied(BLOCK_BYTES);

interface Column {
  readonly name: string;
  readonly volume: Volume;
  readonly isAway: boolean;
}

interface Work {
  readonly depth: number;
  readonly count: number;
  readonly flushEvery?: number;
  readonly options?: WriteOptions;
  readonly untilSent?: boolean;
}

/** Volumes are made for as long as their comparisons run, and closed with the bench. */
export async function* trackedWriteComparisons(
  directory: string,
  sizes: TrackedWriteSizes,
  opened: Opened,
): AsyncIterable<Comparison> {
  const column = (name: string, shape: Partial<TrackedShape>) =>
    openColumn({ directory, name, sizeBytes: sizes.volumeBytes, mode: 'async', ...shape }, opened);
  const untracked = await column('untracked', { mode: null });
  const away = { ...(await column('away', {})), isAway: true };
  const memory = sizes.inMemory ? await memoryDirectory(opened) : null;
  const inMemory = memory === null ? [] : [await column('async, in memory', { secondaryDirectory: memory })];
  const uri = memory === null ? null : await serveBlank(memory, sizes.volumeBytes, opened);
  if (uri !== null) inMemory.unshift(await column('async, NBD server', { secondaryUri: uri }));
  const sameDisk = await column('async, same disk', {});
  const sync = await column('sync, same disk', { mode: 'sync' });
  const asynchronous = [untracked, away, ...inMemory, sameDisk];
  for (const [depth, count] of sizes.writers)
    yield compared(`4 KiB at random, ${depth} in flight`, asynchronous, { depth, count });
  const depth = sizes.manyWriters;
  const count = sizes.writers.get(depth)!;
  yield compared(`4 KiB at random, ${depth} in flight, until sent`, [untracked, ...inMemory, sameDisk], {
    ...{ depth, count, untilSent: true },
  });
  yield compared('4 KiB and a flush, one at a time', [...asynchronous, sync], {
    ...{ depth: 1, count: sizes.flushed, flushEvery: 1 },
  });
  for (const [writers, requests] of sizes.durable)
    yield compared(`4 KiB, each durable, ${writers} in flight`, [...asynchronous, sync], {
      ...{ depth: writers, count: requests, options: { fua: true } },
    });
  const arrays = [
    await column('RAID-5, untracked', { mode: null, members: MEMBERS }),
    await column('RAID-5, async, same disk', { members: MEMBERS }),
  ];
  yield compared(`4 KiB at random, ${depth} in flight, RAID-5`, arrays, { depth, count });
}

async function openColumn(shape: Omit<TrackedShape, 'isFilled'>, opened: Opened): Promise<Column> {
  const made = await makeTracked({ ...shape, isFilled: true });
  const volume = await openTracked(made);
  opened(() => volume.close());
  if (volume.tracking.replicas !== null && shape.mode !== null) await inSync(volume.tracking.replicas);
  return { name: shape.name, volume, isAway: false };
}

/** null: there is no memory to be had as a place of files. */
async function memoryDirectory(opened: Opened): Promise<string | null> {
  const found = await statfs(SHARED_MEMORY).catch(() => null);
  if (found?.type !== TMPFS) return null;
  const directory = await mkdtemp(join(SHARED_MEMORY, 'holdfast-bench-'));
  opened(() => rm(directory, { recursive: true }));
  return directory;
}

/** The URI of an export that a process of its own has in memory; null: nbdkit is not here. */
async function serveBlank(directory: string, bytes: number, opened: Opened): Promise<string | null> {
  if ((await whyNo('nbdkit')) !== null) return null;
  const image = join(directory, 'export.img');
  await (await open(image, 'wx')).close();
  await truncate(image, bytes);
  const server = await RunningServer.start(NBDKIT, image, join(directory, 'export.sock'));
  opened(() => server.stop());
  return `nbd+unix:///?socket=${server.socket}`;
}

function compared(title: string, columns: readonly Column[], work: Work): Comparison {
  const [first] = columns;
  const offsets = scattered(work.count, BLOCK_BYTES, first!.volume.device.size);
  return {
    title,
    roundBytes: work.count * BLOCK_BYTES,
    operations: work.count,
    baseline: first!.name,
    contenders: columns.map((column) => contender(column, offsets, work)),
  };
}

function contender({ name, volume, isAway }: Column, offsets: readonly number[], work: Work): Contender {
  const { replicas } = volume.tracking;
  return {
    name,
    run: async () => {
      if (!isAway) return timed(volume, offsets, work);
      // Nothing is in its map when it begins.
      await replicas!.resume(REPLICA);
      await inSync(replicas!);
      await replicas!.pause(REPLICA);
      return timed(volume, offsets, work);
    },
  };
}

async function timed(
  { device, tracking: { replicas } }: Volume,
  offsets: readonly number[],
  { depth, count, flushEvery = count, options, untilSent = false }: Work,
): Promise<Sample> {
  const times: number[] = [];
  const [status] = replicas?.list() ?? [];
  const sent = async () => {
    if (replicas !== null && status?.state === 'in-sync') await inSync(replicas);
  };
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  // A request that is followed by its own flush has ended when that has.
  await perform({ title: '', requestBytes: BLOCK_BYTES, offsets, depth, flushEvery }, async (offset) => {
    const beganMs = performance.now();
    await device.write(offset, BLOCK, options);
    if (flushEvery === 1) await device.flush();
    times.push(performance.now() - beganMs);
  });
  if (flushEvery > 1) await device.flush();
  if (untilSent) await sent();
  const seconds = (performance.now() - startMs) / 1000;
  await sent();
  const { user, system } = process.cpuUsage(cpu);
  return { seconds, latency: latencyOf(times), counts: { cpu: user + system } };
}
