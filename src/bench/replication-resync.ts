/**
 * What a resync copies after an outage, and how long it takes. Of a block that was written one time or ten, in part or in whole, the
 * block is copied and nothing else; beside it what a map of regions of 64 KiB would have copied for the same writes, and what
 * has no map: all.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openImage } from '../device/open-image.js';
import { blocksOf } from '../replication/blocks.js';
import { MapFile } from '../replication/map/map-file.js';
import { mapFileBytes } from '../replication/map/page.js';
import type { Volume } from '../volume/index.js';
import type { Comparison, Contender, Counts, Sample } from './bench.js';
import { varied } from './bench-array.js';
import { commandOf } from './extents-opening.js';
import { BLOCK_BYTES } from './extents-volume.js';
import type { Opened } from './prepare.js';
import {
  inSync,
  makeTracked,
  openCountedPlaces,
  openTracked,
  type PlaceTally,
  REPLICA,
  type TrackedVolume,
  takePlaces,
} from './replication-volumes.js';
import { inOrder, perform, scattered } from './workload.js';

export interface ResyncSizes {
  readonly volumeBytes: number;
  /** Writes of 4 KiB during an outage. */
  readonly scattered: readonly number[];
  readonly inOrder: number;
  /** As they are called; sparse. */
  readonly volumes: ReadonlyMap<string, number>;
  readonly dirtyBlocks: number;
  /** Whether the command is run too. */
  readonly command: boolean;
}

export const RESYNC_NOTES = [
  'Bytes of an outage, for each byte that differs: copied, at the secondary; read, of the primary. beside: epoch log, marks and what is kept to go back. regions, all: reckoned of the same writes.',
  'Goals: copied 1.00; 1 TiB with 1,000 dirty blocks in sync under 2 s from resume on; a copy of a map under 0.01% (0.0001) of its volume.',
  'opening: a volume with a replica that is paused and lacks blocks. command: `holdfast replica resume` in a process of its own, with its peak memory, until all is copied. no volume: `holdfast --version`.',
];

const REGION_BYTES = 64 * 1024;
/** What `replica resume` ends with, since a resync has only begun when it answers. */
const NOT_IN_SYNC = 3;
const BLOCK = varied(BLOCK_BYTES);

export async function* resyncComparisons(
  directory: string,
  sizes: ResyncSizes,
  opened: Opened,
): AsyncIterable<Comparison> {
  const { volumeBytes } = sizes;
  const shape = { directory, mode: 'async', isFilled: false } as const;
  const made = await makeTracked({ ...shape, name: 'outage', sizeBytes: volumeBytes });
  const { volume, tally } = await openCountedPlaces(made);
  opened(() => volume.close());
  await inSync(volume.tracking.replicas!);
  for (const count of sizes.scattered) {
    const offsets = scattered(count, BLOCK_BYTES, volumeBytes);
    yield outage(`${count} writes of 4 KiB at random`, volume, tally, offsets);
  }
  const ordered = inOrder(sizes.inOrder, BLOCK_BYTES);
  yield outage(`${sizes.inOrder} writes of 4 KiB in order`, volume, tally, ordered);
  for (const [label, sizeBytes] of sizes.volumes) {
    const name = `resync-${label.replace(' ', '-')}`;
    yield bySize(label, sizeBytes, await makeTracked({ ...shape, name, sizeBytes }), sizes);
    yield mapOf(label, sizeBytes, join(directory, `map-${label.replace(' ', '-')}`));
  }
}

function outage(title: string, volume: Volume, tally: PlaceTally, offsets: readonly number[]): Comparison {
  const dirtyBytes = offsets.length * BLOCK_BYTES;
  const regions = new Set(offsets.map((offset) => Math.floor(offset / REGION_BYTES)));
  return {
    title: `${title}, then a resync`,
    roundBytes: dirtyBytes,
    // Counts are for each byte that differs.
    operations: dirtyBytes,
    baseline: null,
    contenders: [
      {
        name: 'resync',
        run: async () => {
          await pauseAndWrite(volume, offsets);
          takePlaces(tally);
          const seconds = await resumed(volume);
          const { primary, secondary, epochs, maps } = takePlaces(tally);
          const counts = {
            copied: secondary.writtenBytes!,
            read: primary.readBytes!,
            beside: epochs.writtenBytes!,
            maps: maps.writtenBytes!,
            regions: regions.size * REGION_BYTES,
            all: volume.device.size,
          };
          return { seconds, counts };
        },
      },
    ],
  };
}

async function pauseAndWrite({ device, tracking }: Volume, offsets: readonly number[]): Promise<void> {
  await tracking.replicas!.pause(REPLICA);
  await perform(
    { title: '', requestBytes: BLOCK_BYTES, offsets, depth: 32 },
    (offset) => device.write(offset, BLOCK),
    () => device.flush(),
  );
}

/** Seconds from `resume` until it is in sync. */
async function resumed({ tracking }: Volume): Promise<number> {
  const startMs = performance.now();
  await tracking.replicas!.resume(REPLICA);
  await inSync(tracking.replicas!);
  return (performance.now() - startMs) / 1000;
}

/** Before each round the blocks are dirty, the replica paused, and the volume closed. */
function bySize(
  label: string,
  sizeBytes: number,
  made: TrackedVolume,
  { dirtyBlocks, command }: ResyncSizes,
): Comparison {
  // What is scattered lists all places that there are.
  const stepBytes = Math.floor(sizeBytes / dirtyBlocks / BLOCK_BYTES) * BLOCK_BYTES;
  const offsets = inOrder(dirtyBlocks, stepBytes);
  const { run } = commandOf('command', ['replica', 'resume', made.path, '--json'], [0, NOT_IN_SYNC]);
  return {
    title: `${dirtyBlocks} dirty blocks of ${label}`,
    roundBytes: dirtyBlocks * BLOCK_BYTES,
    operations: 1,
    baseline: null,
    reset: async () => {
      const volume = await openTracked(made);
      await pauseAndWrite(volume, offsets);
      await volume.close();
    },
    contenders: [
      { name: 'opening', run: () => resyncSample(made, 'opening') },
      { name: 'resume to in sync', run: () => resyncSample(made, 'resync') },
      ...(command ? [commandOf('no volume', ['--version']), { name: 'command', run }] : []),
    ],
  };
}

async function resyncSample(made: TrackedVolume, timed: 'opening' | 'resync'): Promise<Sample> {
  const startMs = performance.now();
  const { volume, tally } = await openCountedPlaces(made);
  try {
    const openedSeconds = (performance.now() - startMs) / 1000;
    if (timed === 'opening') return { seconds: openedSeconds, counts: sizeCounts(tally) };
    takePlaces(tally);
    const seconds = await resumed(volume);
    return { seconds, counts: sizeCounts(tally) };
  } finally {
    await volume.close();
  }
}

function sizeCounts(tally: PlaceTally): Counts {
  const { primary, secondary, maps } = takePlaces(tally);
  return {
    copiedBytes: secondary.writtenBytes!,
    primaryReadBytes: primary.readBytes!,
    mapReadBytes: maps.readBytes!,
    mapWrittenBytes: maps.writtenBytes!,
  };
}

/** Of a volume whose every block is dirty: its map made durable. */
function mapOf(label: string, sizeBytes: number, path: string): Comparison {
  const blocks = blocksOf(sizeBytes);
  const bytes = mapFileBytes(blocks);
  const owner = { volumeUuid: '00'.repeat(16), replicaUuid: '00'.repeat(16), blocks, kind: 'dirty' } as const;
  const contender: Contender = {
    name: 'map file',
    run: async () => {
      await rm(path, { force: true });
      const device = await openImage(path, { readOnly: false, create: { size: bytes } });
      try {
        const file = await MapFile.format(device, owner);
        const empty = (await stat(path)).blocks * 512;
        file.map.setAll();
        const startMs = performance.now();
        await file.persist([{ from: 0, count: blocks }]);
        const seconds = (performance.now() - startMs) / 1000;
        const { size, blocks: used } = await stat(path);
        return { seconds, counts: { lengthOfFile: size, onDisk: used * 512, onDiskWhenClean: empty } };
      } finally {
        await device.close();
      }
    },
  };
  return {
    title: `all blocks of ${label} dirty, for a byte of it`,
    ...{ roundBytes: bytes, operations: sizeBytes, baseline: null, contenders: [contender] },
  };
}
