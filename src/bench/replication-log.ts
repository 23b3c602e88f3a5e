/**
 * How many log writes and barriers a write costs, by how many write at a time: counted at the files. Below the cache each
 * write is one by itself; through the volume the cache gathers them first.
 */
import type { BlockDevice } from '../device/contract.js';
import type { Comparison, Contender } from './bench.js';
import { varied } from './bench-array.js';
import { BLOCK_BYTES } from './extents-volume.js';
import {
  barriersOf,
  inSync,
  makeTracked,
  openCountedPlaces,
  type PlaceTally,
  takePlaces,
} from './replication-volumes.js';
import { perform, scattered } from './workload.js';

export interface LogSizes {
  readonly volumeBytes: number;
  /** Requests of a round, by writers. */
  readonly writers: ReadonlyMap<number, number>;
}

export const LOG_NOTES = [
  'below the cache: where writes are tracked. A flush each: the flushes of those who write at the same time are one where they can.',
  'log writes: of 512 bytes or more, durable when they end. barriers: flushes that are asked of the image, of the log and of the secondary with its epoch log, and writes with fua.',
];

const BLOCK = varied(BLOCK_BYTES);

export async function* logComparisons(directory: string, sizes: LogSizes): AsyncIterable<Comparison> {
  const shape = { directory, name: 'counted', mode: 'async', isFilled: false } as const;
  const made = await makeTracked({ ...shape, sizeBytes: sizes.volumeBytes });
  const { volume, tally } = await openCountedPlaces(made);
  try {
    const replicas = volume.tracking.replicas!;
    await inSync(replicas);
    const sent = () => inSync(replicas);
    for (const [writers, count] of sizes.writers) {
      const offsets = scattered(count, BLOCK_BYTES, sizes.volumeBytes);
      const work = (name: string, device: BlockDevice, flushes: boolean): Contender => ({
        name,
        run: () => counted(device, { offsets, writers, flushes }, tally, sent),
      });
      yield {
        title: `4 KiB at random, ${writers} ${writers === 1 ? 'writer' : 'writers'}`,
        roundBytes: count * BLOCK_BYTES,
        operations: count,
        baseline: null,
        contenders: [
          work('below the cache', replicas.device, false),
          work('volume', volume.device, false),
          work('below the cache, a flush each', replicas.device, true),
          work('volume, a flush each', volume.device, true),
        ],
      };
    }
  } finally {
    await volume.close();
  }
}

interface Work {
  readonly offsets: readonly number[];
  readonly writers: number;
  readonly flushes: boolean;
}

async function counted(
  device: BlockDevice,
  { offsets, writers, flushes }: Work,
  tally: PlaceTally,
  sent: () => Promise<unknown>,
) {
  takePlaces(tally);
  const startMs = performance.now();
  await perform({ title: '', requestBytes: BLOCK_BYTES, offsets, depth: writers }, async (offset) => {
    await device.write(offset, BLOCK);
    if (flushes) await device.flush();
  });
  if (!flushes) await device.flush();
  const seconds = (performance.now() - startMs) / 1000;
  // Waiting until all is sent ends with a log write of its own, which is none of the writes'.
  const { primary, log, maps, ...there } = takePlaces(tally);
  await sent();
  const after = takePlaces(tally);
  return {
    seconds,
    counts: {
      logWrites: log.writes!,
      logBytes: log.writtenBytes!,
      mapWrites: maps.writes!,
      imageBarriers: barriersOf(primary),
      logBarriers: barriersOf(log),
      secondaryBarriers: [there, after].reduce(
        (sum, { secondary, epochs }) => sum + barriersOf(secondary) + barriersOf(epochs),
        0,
      ),
    },
  };
}
