/**
 * Replication: what tracking costs writes, how many log writes it takes, and what a resync copies and how long it takes.
 *
 * What was measured (two cores of an AMD EPYC that others kept busy, load 10 to 15, five rounds, Node 20.20, ext4):
 * - 4 KiB at random, of the speed untracked, 32 and 64 in flight: away 0.98 and 1.00; in sync 0.49 to 0.61, wherever the
 *   secondary is. So the goal (0.95) is met where the map tracks, and missed in sync. What the log and the lists cost without
 *   sending was not measured by itself: in a profile (between the changes below) log, tracker and map were 2 to 3% of the time,
 *   what sends and applies 27, the collector 16. With 1 and 8 in flight: away 0.83 and 0.87, in sync 0.39 to 0.61.
 * - Processor time of such a write, with all that follows: untracked 46 us, away 39, in sync 94 to 107. Untracked a raw image has
 *   no cache of ours, tracked it has: so away is not tracking alone, and its latencies are the cache's. RAID-5, which has the
 *   cache both ways: 128 and 199 us, 0.90 of the speed (quartiles 0.79 to 1.34, which says little).
 * - A write and a flush, one at a time: away 0.57, in sync 0.20 to 0.37, sync 0.15. Quartiles are wide.
 * - 1,000 dirty blocks of 1 TiB: in sync 0.8 s after resume at a load of 6 to 11 (three rounds, an earlier build), 2.0 s at 12:
 *   at the goal, not safely under it. It hangs on the load far more than on the size: 1 GiB took 0.3 and 1.2 s.
 *
 * What was done:
 * - The secondary read each block back from its epoch log by itself: in long pieces now (secondary/log-windows.ts). With the
 *   next one 111 to 122 us of processor time a write, after 152 to 185 (two builds in turn, three times, secondary on tmpfs).
 * - A race of all requests in flight, for each change that was sent, and a buffer for each 4 KiB: neither any more.
 * - What a resync keeps asked the filesystem for holes block by block. On tmpfs that looks through the file: 16 s of
 *   processor time for 4,096 blocks of 256 MiB, 1.1 to 1.8 s now. On ext4 no difference that could be told from chance.
 */
import type { Bench, BenchContext, Comparison } from './bench.js';
import { MIB } from './bench-array.js';
import { prepareInSteps } from './prepare.js';
import { LOG_NOTES, type LogSizes, logComparisons } from './replication-log.js';
import { RESYNC_NOTES, type ResyncSizes, resyncComparisons } from './replication-resync.js';
import {
  TRACKED_WRITE_NOTES,
  type TrackedWriteSizes,
  trackedWriteComparisons,
} from './replication-writes.js';

const GIB = 1024 * MIB;

export interface ReplicationSizes {
  readonly writes: TrackedWriteSizes;
  readonly log: LogSizes;
  readonly resync: ResyncSizes;
}

const SIZES: ReplicationSizes = {
  writes: {
    // Whole MiB for each member of an array too.
    volumeBytes: 192 * MIB,
    inMemory: true,
    writers: new Map([
      [1, 8192],
      [8, 8192],
      [32, 8192],
      [64, 8192],
    ]),
    durable: new Map([
      [1, 192],
      [8, 512],
      [32, 1024],
      [64, 1024],
    ]),
    flushed: 192,
    manyWriters: 32,
  },
  log: {
    volumeBytes: 64 * MIB,
    writers: new Map([
      [1, 256],
      [8, 1024],
      [64, 4096],
    ]),
  },
  resync: {
    volumeBytes: GIB,
    scattered: [100, 1000, 10_000],
    inOrder: 10_000,
    volumes: new Map([
      ['1 GiB', GIB],
      ['64 GiB', 64 * GIB],
      ['1 TiB', 1024 * GIB],
    ]),
    dirtyBlocks: 1000,
    command: true,
  },
};

export const replication: Bench = replicationOf(SIZES);

export function replicationOf(sizes: ReplicationSizes): Bench {
  return {
    name: 'replication',
    title: 'Replication: what tracking costs writes, and what a resync copies',
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (opened) => {
        async function* comparisons(): AsyncIterable<Comparison> {
          yield* resyncComparisons(directory, sizes.resync, opened);
          yield* logComparisons(directory, sizes.log);
          yield* trackedWriteComparisons(directory, sizes.writes, opened);
        }
        return { comparisons, notes: [...RESYNC_NOTES, ...LOG_NOTES, ...TRACKED_WRITE_NOTES] };
      }),
  };
}
