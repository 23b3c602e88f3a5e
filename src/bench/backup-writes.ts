/**
 * What writes of 4 KiB at random pay while a backup runs: it stands still with all but its first pieces unsaved, so that the share of
 * writes that are the first to their blocks is exactly what it is said to be.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import type { BlockDevice } from '../device/contract.js';
import { CHUNK_BYTES } from '../snapshot/backup/keeping.js';
import { createBackup } from '../volume/backup/create.js';
import { openVolume, type Volume } from '../volume/index.js';
import { backupOptions } from './backup-options.js';
import type { Comparison, Contender, Sample } from './bench.js';
import { MEMBERS, MIB, varied } from './bench-array.js';
import { BLOCK_BYTES, makeVolume } from './extents-volume.js';
import { latencyOf } from './measure.js';
import type { Opened } from './prepare.js';
import { inOrder, perform, performWrites, scattered } from './workload.js';

export interface BackupWriteSizes {
  /** All of it is written before. */
  readonly volumeBytes: number;
  readonly requests: number;
  readonly depth: number;
}

export const WRITE_NOTES = [
  'Writes while a backup runs: so many of them are the first to their blocks since its moment; the others go to some that are saved. kept: bytes of them in the container; those of a write are its block.',
  'Goal: p99 with 5% at most 1.5 of that without a backup.',
];

/** The pass has these at once; what comes next is paid for in hours. */
export const SAVED_BYTES = 4 * CHUNK_BYTES;
export const STANDS_STILL = 4096;
const BLOCK = varied(BLOCK_BYTES);

export async function* backupWriteComparisons(
  directory: string,
  sizes: BackupWriteSizes,
  opened: Opened,
): AsyncIterable<Comparison> {
  for (const members of [1, MEMBERS] as const) {
    const path = join(directory, `written-${members}`);
    await makeVolume(path, sizes.volumeBytes, { members, extentBytes: null });
    const volume = await openVolume([path], { access: 'write', warn: () => undefined });
    opened(() => volume.close());
    const fill = {
      title: 'fill',
      requestBytes: MIB,
      offsets: inOrder(sizes.volumeBytes / MIB, MIB),
      depth: 4,
    };
    await performWrites(fill, volume.device, varied(MIB));
    const what = members === 1 ? 'one image' : 'RAID-5';
    for (const share of [0, 0.05, 0.5])
      yield compared(volume, join(directory, 'written.img'), what, share, sizes);
  }
}

/** The same writes with a backup and without. */
function compared(
  volume: Volume,
  to: string,
  what: string,
  share: number,
  { requests, depth }: BackupWriteSizes,
): Comparison {
  const offsets = offsetsOf(requests, share, volume.device.size);
  const write = () => written(volume.device, offsets, depth);
  const without: Contender = { name: 'no backup', run: write };
  return {
    title: `4 KiB at random, ${depth} in flight, ${share * 100}% first writes, ${what}`,
    roundBytes: requests * BLOCK_BYTES,
    operations: requests,
    baseline: without.name,
    contenders: [without, { name: 'backup', run: () => duringBackup(volume, to, write) }],
  };
}

/** Every block that is written first is another one; those that are saved come again and again, far from each other. */
export function offsetsOf(count: number, share: number, sizeBytes: number): number[] {
  const saved = scattered(SAVED_BYTES / BLOCK_BYTES, BLOCK_BYTES, SAVED_BYTES);
  const firsts = scattered(Math.round(count * share), BLOCK_BYTES, sizeBytes - SAVED_BYTES);
  const every = share === 0 ? Number.POSITIVE_INFINITY : Math.round(1 / share);
  let first = 0;
  return Array.from({ length: count }, (_, at) =>
    at % every === every - 1 && first < firsts.length
      ? SAVED_BYTES + firsts[first++]!
      : saved[at % saved.length]!,
  );
}

/** Each write is timed; the flush at the end is in the time of all. */
export async function written(
  device: Pick<BlockDevice, 'write' | 'flush'>,
  offsets: readonly number[],
  depth: number,
): Promise<Sample> {
  const times: number[] = [];
  const startMs = performance.now();
  await perform({ title: '', requestBytes: BLOCK_BYTES, offsets, depth }, async (offset) => {
    const beganMs = performance.now();
    await device.write(offset, BLOCK);
    times.push(performance.now() - beganMs);
  });
  await device.flush();
  return { seconds: (performance.now() - startMs) / 1000, latency: latencyOf(times) };
}

async function duringBackup(volume: Volume, to: string, write: () => Promise<Sample>): Promise<Sample> {
  const cancel = new AbortController();
  const running = createBackup(
    volume,
    backupOptions({
      ...{ name: 'bench', to, container: { kind: 'beside' }, onOverflow: 'grow' },
      ...{ bytesPerSecond: STANDS_STILL, allBlocks: true, signal: cancel.signal },
    }),
  );
  try {
    while ((volume.backups.status()?.doneBytes ?? 0) < SAVED_BYTES) await Promise.race([wait(1), running]);
    const sample = await write();
    const kept = volume.backups.status()?.container?.usedBytes ?? 0;
    return { ...sample, counts: { keptBytes: kept } };
  } finally {
    cancel.abort();
    // It was cancelled: that is what is wanted.
    await running.catch(() => undefined);
    await rm(to, { force: true });
  }
}
