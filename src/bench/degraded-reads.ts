/**
 * Reads of an array that has all its members, and of the same one without one of them, beside reads of the same
 * bytes from as many plain files. A volume that is open for reading has no cache of its own, so the array is all
 * that there is.
 *
 * With one of four members missing, a quarter of the data is made from the three others: of every four requests of
 * 4 KiB one takes three reads, so 1.5 reads a request are the least.
 *
 * Tried, and of no use while all lies in the page cache: in long requests, making the missing chunk from the chunks
 * that are read anyway. A request of 1 MiB then reads little more than 1 MiB in place of 1.5 MiB, but the reader's
 * buffers lie outside the pool, and bringing them to the parity kernels takes what the reads took: 0.36 ms of
 * processor time in place of 0.35 ms.
 */
import type { Bench, BenchContext, Comparison, Contender } from './bench.js';
import { type BenchArray, MEMBERS, MIB, makeArray, openBenchArray } from './bench-array.js';
import { type DeviceTally, measured } from './counting-device.js';
import { type Opened, prepareInSteps } from './prepare.js';
import { RawFiles } from './raw-files.js';
import { inOrder, perform, scattered, totalBytes, type Workload } from './workload.js';

const KIB = 1024;
const MISSING_SLOT = 1;

export interface ReadSizes {
  /** Of each member's data; whole MiB. */
  readonly memberBytes: number;
  readonly sequentialRequests: number;
  readonly randomRequests: number;
}

const SIZES: ReadSizes = { memberBytes: 64 * MIB, sequentialRequests: 192, randomRequests: 4096 };

interface Stacks {
  readonly raw: RawFiles;
  readonly whole: BenchArray;
  readonly degraded: BenchArray;
  readonly sizes: ReadSizes;
}

export const degradedReads: Bench = degradedReadsOf(SIZES);

export function degradedReadsOf(sizes: ReadSizes): Bench {
  return {
    name: 'degraded-reads',
    title: `Reads of an array of ${MEMBERS} members, whole and without one, against as many plain files`,
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (opened) => {
        const stacks = await makeStacks(directory, sizes, opened);
        return { comparisons: () => comparisons(stacks), notes: NOTES };
      }),
  };
}

const NOTES = [
  'whole: the array with all members; degraded: without one of them. files: one read a request.',
  'Page cache: all that is read is in it.',
  'An operation is one request.',
];

async function makeStacks(directory: string, sizes: ReadSizes, opened: Opened): Promise<Stacks> {
  const raw = await RawFiles.make(directory, MEMBERS, sizes.memberBytes);
  opened(() => raw.close());
  const images = await makeArray(directory, 'array', sizes.memberBytes);
  const whole = await openBenchArray(images, { readOnly: true });
  opened(whole.close);
  const present = images.filter((_, slot) => slot !== MISSING_SLOT);
  const degraded = await openBenchArray(present, { readOnly: true });
  opened(degraded.close);
  return { raw, whole, degraded, sizes };
}

function* comparisons(stacks: Stacks): Iterable<Comparison> {
  const { sequentialRequests, randomRequests, memberBytes } = stacks.sizes;
  const workloads: Workload[] = [
    {
      title: '1 MiB in order, 16 in flight',
      requestBytes: MIB,
      offsets: inOrder(sequentialRequests, MIB),
      depth: 16,
    },
    {
      title: '4 KiB at random, 32 in flight',
      requestBytes: 4 * KIB,
      offsets: scattered(randomRequests, 4 * KIB, memberBytes * (MEMBERS - 1)),
      depth: 32,
    },
  ];
  for (const workload of workloads) {
    yield comparison(stacks, workload, 'files');
    yield comparison(stacks, workload, 'whole');
  }
}

/** Against the files, or the array against itself with all members. */
function comparison(
  { raw, whole, degraded }: Stacks,
  workload: Workload,
  baseline: 'files' | 'whole',
): Comparison {
  const { requestBytes, depth } = workload;
  const buffers = Array.from({ length: depth }, () => new Uint8Array(requestBytes));
  const contender = (
    name: string,
    tally: DeviceTally,
    device: { read(offset: number, into: Uint8Array): Promise<void> },
  ): Contender => ({
    name,
    run: () =>
      measured(tally, () => perform(workload, (offset, lane) => device.read(offset, buffers[lane]!))),
  });
  const files = contender('files', raw.tally, raw);
  const arrays = [
    contender('whole', whole.tally, whole.array),
    contender('degraded', degraded.tally, degraded.array),
  ];
  return {
    title: baseline === 'files' ? workload.title : `${workload.title}, degraded against whole`,
    roundBytes: totalBytes(workload),
    operations: workload.offsets.length,
    baseline,
    contenders: baseline === 'files' ? [files, ...arrays] : arrays,
  };
}
