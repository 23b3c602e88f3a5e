/**
 * Writes in order to a file on RAID-5, each of a whole extent, which is whole stripes: nothing has to be read for parity,
 * and what goes to the members is the user's bytes with the parity of them, as without a journal. Beside it the same
 * bytes, to a volume of the same members that holds no files, flushed as often: a commit is answered when it is hardened, and
 * what is left of it is done while the next one is written. The round ends when all is done.
 */
import type { ExtentFile } from '../extents/index.js';
import type { Comparison, Contender } from './bench.js';
import { MEMBERS, varied } from './bench-array.js';
import {
  allocate,
  type BenchFiles,
  formatBytes,
  type MediaSample,
  makeVolume,
  measuredMedia,
  mediaCounts,
  openCounted,
  VOLUME_SHARE,
} from './extents-volume.js';
import type { Opened } from './prepare.js';
import { inOrder, performWrites, totalBytes, type Workload } from './workload.js';

/** To a commit. */
const EXTENTS = 10;

export const ARRAY_NOTES = [
  `RAID-5 of ${MEMBERS} members: records written are superblocks and dirty-stripe records. Goals: read 0, written 1.33, ratio 0.9.`,
];

export async function arrayComparison(
  directory: string,
  files: BenchFiles,
  opened: Opened,
): Promise<Comparison> {
  const { file, store, tally, extentBytes } = await files.get({ members: MEMBERS });
  const commits = Math.max(1, Math.floor(file.sizeBytes / extentBytes / EXTENTS));
  const workload: Workload = {
    title: `RAID-5, in order, ${EXTENTS} extents of ${formatBytes(extentBytes)} in a commit`,
    ...{ requestBytes: extentBytes, depth: 4, flushEvery: EXTENTS },
    offsets: inOrder(commits * EXTENTS, extentBytes),
  };
  const shape = { members: MEMBERS, extentBytes: null } as const;
  const made = await makeVolume(`${directory}/raw`, VOLUME_SHARE * file.sizeBytes, shape);
  await allocate(made);
  const raw = await openCounted(made, 'write');
  opened(() => raw.volume.close());
  const bytes = varied(extentBytes);
  const contender = (name: string, run: () => Promise<MediaSample>): Contender => ({
    name,
    run: async () => sampleOf(await run()),
  });
  return {
    title: workload.title,
    roundBytes: totalBytes(workload),
    operations: totalBytes(workload),
    baseline: 'without a journal',
    contenders: [
      contender('without a journal', () =>
        measuredMedia(raw.tally, () => performWrites(workload, raw.volume.device, bytes)),
      ),
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
