/**
 * Writes in order to a file on RAID-5, each of a whole extent, which is whole stripes: nothing has to be read for parity,
 * and what goes to the members is the user's bytes with the parity of them, as without a journal. Beside it the same
 * bytes, to a volume of the same members that holds no files: flushed as often, and flushed once at the end, as `write`
 * does it. Commits are waited for, or go on while what follows is written, as `file import --commit-every` has them. A
 * commit is answered when it is hardened; the round ends when all of it is done. What is written to a file goes to
 * other extents each time, so the volume without a journal is written at another place in each round too.
 *
 * What was measured (two cores; the clock only where nothing else ran) and what was done:
 * - A commit of ten extents cost three commits of the metadata's log, each with both of its copies. What is spent is
 *   disassociated with the next message that changes something (extents/session.ts), and a Swap tells of many extents: two.
 * - Processor time of the metadata for each extent (its server alone, on a device in memory): 0.65 ms before messages told of
 *   many, keys were made byte by byte, and a group of messages read what it had read from memory; 0.4 ms after. Extents of which nothing is
 *   copied are swapped in the commit of the log that hardens them, with no message of their own: the ratio rose from 0.61
 *   to 0.70 with ten extents in a commit, from 0.64 to 0.76 with forty.
 * - A commit that is waited for costs 3.5 ms more than a flush of the volume, whatever the disk: 2 ms of processor time for
 *   ten extents, the second barrier, the record. Where a flush of 15 MiB takes 6 ms that is a quarter.
 * - Calls that wait had Node's four threads, which one flush of four members has all: with sixteen (decision 0013) what is
 *   written meanwhile is.
 * - Flushing the next commit's data while the one before is hardened: nothing gained, the processors have no time left.
 * - Each commit waited for a dirty-stripe record: no stream foresees its extents, which come from wherever extents were
 *   spent, and with commits under way while the next is written that record, durable at once, stood behind their fdatasync:
 *   up to 7 ms in which no data was written. The extents that are taken next are told to the array now
 *   (extents/journal-advice.ts), which lists them while others are written: 160 ms a round of 192 MiB instead of 190 where
 *   commits are not waited for, 250 instead of 260 where they are.
 */
import type { Buffers } from '../device/contract.js';
import type { ExtentFile } from '../extents/index.js';
import type { Comparison, Contender } from './bench.js';
import { MEMBERS, varied } from './bench-array.js';
import {
  allocate,
  type BenchFile,
  type BenchFiles,
  formatBytes,
  type MediaSample,
  makeVolume,
  measuredMedia,
  mediaCounts,
  openCounted,
  VOLUME_SHARE,
  type VolumeShape,
} from './extents-volume.js';
import type { Opened } from './prepare.js';
import { inOrder, performWrites, totalBytes, type Workload } from './workload.js';

/** To a commit. */
const EXTENTS = 10;
/** As `file import --commit-every` has them: what follows is written meanwhile. */
const COMMITS_UNDER_WAY = 1;
const UNDER_WAY = ', the next written meanwhile';
const ONE_FLUSH = 'without a journal, one flush at the end';

export const ARRAY_NOTES = [
  `RAID-5 of ${MEMBERS} members: records written are superblocks and dirty-stripe records. Goals: read 0, written 1.33, ratio 0.9.`,
];

export interface ArraySizes {
  /** Of a file: commits of it with large extents. */
  readonly fileBytes: number;
  /** Whole stripes; beside the default. */
  readonly largeExtentBytes: number;
}

export async function* arrayComparisons(
  directory: string,
  files: BenchFiles,
  { largeExtentBytes }: ArraySizes,
  opened: Opened,
): AsyncGenerator<Comparison> {
  const shapes: readonly VolumeShape[] = [
    { members: MEMBERS },
    { members: MEMBERS, extentBytes: largeExtentBytes },
  ];
  for (const shape of shapes) {
    const stand = { file: await files.get(shape), raw: await openRaw(directory, files, shape, opened) };
    yield arrayComparison(stand, { isWaitedFor: true });
    yield arrayComparison(stand, { isWaitedFor: false });
  }
}

/** The same members with no files on them, as large as the volume of the file. */
async function openRaw(directory: string, files: BenchFiles, shape: VolumeShape, opened: Opened) {
  const { file, extentBytes } = await files.get(shape);
  const made = await makeVolume(`${directory}/raw-${extentBytes}`, VOLUME_SHARE * file.sizeBytes, {
    members: MEMBERS,
    extentBytes: null,
  });
  await allocate(made);
  const raw = await openCounted(made, 'write');
  opened(() => raw.volume.close());
  return raw;
}

interface Stand {
  readonly file: BenchFile;
  readonly raw: Awaited<ReturnType<typeof openRaw>>;
}

function arrayComparison(
  { file: { file, store, tally, extentBytes }, raw }: Stand,
  { isWaitedFor }: { readonly isWaitedFor: boolean },
): Comparison {
  const commits = Math.max(1, Math.floor(file.sizeBytes / extentBytes / EXTENTS));
  const workload: Workload = {
    title: `RAID-5, in order, ${EXTENTS} extents of ${formatBytes(extentBytes)} in a commit${isWaitedFor ? '' : UNDER_WAY}`,
    ...{ requestBytes: extentBytes, depth: 4, flushEvery: EXTENTS },
    ...(isWaitedFor ? {} : { flushesUnderWay: COMMITS_UNDER_WAY }),
    offsets: inOrder(commits * EXTENTS, extentBytes),
  };
  const bytes = varied(extentBytes);
  const contender = (name: string, run: () => Promise<MediaSample>): Contender => ({
    name,
    run: async () => sampleOf(await run()),
  });
  let round = 0;
  const writeRaw = (work: Workload) =>
    measuredMedia(raw.tally, () => {
      const from = (round++ % VOLUME_SHARE) * totalBytes(work);
      const { device } = raw.volume;
      const to = {
        write: (at: number, data: Buffers) => device.write(from + at, data),
        flush: () => device.flush(),
      };
      return performWrites(work, to, bytes);
    });
  return {
    title: workload.title,
    roundBytes: totalBytes(workload),
    operations: totalBytes(workload),
    baseline: 'without a journal',
    contenders: [
      contender('without a journal', () => writeRaw(workload)),
      ...(isWaitedFor ? [] : [contender(ONE_FLUSH, () => writeRaw({ ...workload, flushEvery: Infinity }))]),
      contender('file', () =>
        measuredMedia(tally, async () => {
          await performWrites(
            workload,
            { write: (at, from) => file.write(at, from), flush: () => commit(file) },
            bytes,
          );
          await store.settled();
        }),
      ),
    ],
  };
}

async function commit(file: ExtentFile): Promise<void> {
  await file.commit();
}

function sampleOf(sample: MediaSample) {
  const recordsWritten = sample.records.writtenBytes!;
  return { seconds: sample.seconds, counts: { ...mediaCounts(sample), recordsWritten } };
}
