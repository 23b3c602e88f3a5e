/**
 * What a snapshot costs who writes: its barriers are paid for at the flush. All writes are the first to their blocks since the snapshot,
 * which is the worst that there is; each round has a new one.
 */
import { join } from 'node:path';
import { openVolume, type Volume } from '../volume/index.js';
import { putCacheOver } from '../volume/stack.js';
import { written } from './backup-writes.js';
import type { Comparison, Sample } from './bench.js';
import { MEMBERS, MIB, varied } from './bench-array.js';
import { BLOCK_BYTES, makeVolume } from './extents-volume.js';
import type { Opened } from './prepare.js';
import { inOrder, performWrites, scattered } from './workload.js';

export interface SnapshotWriteSizes {
  /** All of it is written before. */
  readonly volumeBytes: number;
  readonly requests: number;
  /** Requests between two flushes. */
  readonly flushEvery: readonly number[];
}

export const SNAPSHOT_NOTES = [
  'Writes after a snapshot: every one is the first to its block. kept: bytes of its container, entries and all; of a write by itself its block and a sector.',
];

export async function* snapshotWriteComparisons(
  directory: string,
  sizes: SnapshotWriteSizes,
  opened: Opened,
): AsyncIterable<Comparison> {
  for (const members of [1, MEMBERS] as const) {
    const [without, kept] = await Promise.all(
      ['without', 'kept'].map((name) =>
        filled(join(directory, `${name}-${members}`), members, sizes, opened),
      ),
    );
    const what = members === 1 ? 'one image' : 'RAID-5';
    for (const flushEvery of sizes.flushEvery) yield compared([without!, kept!], what, flushEvery, sizes);
  }
}

async function filled(
  path: string,
  members: 1 | typeof MEMBERS,
  { volumeBytes }: SnapshotWriteSizes,
  opened: Opened,
): Promise<Volume> {
  await makeVolume(path, volumeBytes, { members, extentBytes: null });
  const volume = await openVolume([path], { access: 'write', warn: () => undefined });
  opened(() => volume.close());
  const offsets = inOrder(volumeBytes / MIB, MIB);
  await performWrites({ title: 'fill', requestBytes: MIB, offsets, depth: 4 }, volume.device, varied(MIB));
  return volume;
}

function compared(
  [without, kept]: readonly [Volume, Volume],
  what: string,
  flushEvery: number,
  { volumeBytes, requests }: SnapshotWriteSizes,
): Comparison {
  const offsets = scattered(requests, BLOCK_BYTES, volumeBytes);
  const write = async ({ device }: Volume): Promise<Sample> => {
    const startMs = performance.now();
    for (let at = 0; at < requests; at += flushEvery)
      await written(device, offsets.slice(at, at + flushEvery), flushEvery);
    return { seconds: (performance.now() - startMs) / 1000 };
  };
  return {
    title: `4 KiB at random, a flush after ${flushEvery}, ${what}`,
    roundBytes: requests * BLOCK_BYTES,
    operations: requests,
    baseline: 'no snapshot',
    contenders: [
      { name: 'no snapshot', run: () => write(without) },
      { name: 'snapshot', run: () => afterSnapshot(kept, () => write(kept)) },
    ],
  };
}

async function afterSnapshot(
  { snapshots, moments, tracking }: Volume,
  write: () => Promise<Sample>,
): Promise<Sample> {
  const current = await snapshots.begin({ isDurable: true });
  await putCacheOver(moments!, tracking);
  const asked = { name: 'bench', kind: 'snapshot', onOverflow: 'grow', place: '', layerBytes: null } as const;
  await current.create(asked);
  try {
    const sample = await write();
    return { ...sample, counts: { keptBytes: current.list()[0]!.usedBytes } };
  } finally {
    await current.delete('bench');
  }
}
