/**
 * Writes to a volume of four members, through the whole stack (cache and array) and through the array alone,
 * beside the same bytes written to four plain files: the same requests, as many in flight, as many flushes.
 *
 * RAID-5 has to write more than the user does: a third more in full stripes of four members, and for 4 KiB two
 * reads and two writes. So there is a contender that asks just that of plain files, with nothing computed:
 * what is between it and the array is the array's own work.
 *
 * What was measured, and tried on copies of the code (two cores of an AMD EPYC that others kept busy, Node 20.20;
 * processor time of the process outside the kernel, because it hangs less on the others than the clock does):
 * - 1 MiB through the cache took 2.1 ms, a quarter of it garbage collection; the array alone takes 0.34 ms.
 *   Almost all is bookkeeping of 4 KiB blocks. Whole stripes of long writes go down beside the cache by now (0.5 ms, with
 *   the rest of what follows). Frames that lie together in memory handed down as one view, several frames a wait, one promise
 *   a batch: taken back, because about once in three thousand power cuts a flushed byte was older than it may be; which of
 *   them did that is not known (not what passes the cache by: 24,000 cuts of that alone find nothing).
 * - 4 KiB through the cache took 85 us and 46 us in the array alone: a batch that starts all of its groups at once
 *   keeps thousands of promises alive, which the collector copies. Four groups at a time: 47 us; so it is now.
 * - Half of what the array takes for 4 KiB is in Node's own read and write, four calls a request.
 * - Copying into the pool is as fast as elsewhere: V8 copies shared memory at the same 15 GB/s.
 */
import { BufferPool } from '../device/pool.js';
import type { Bench, BenchContext, Comparison, Contender } from './bench.js';
import { type BenchArray, MEMBERS, MIB, makeArray, openBenchArray, varied } from './bench-array.js';
import { measured } from './counting-device.js';
import { type Opened, prepareInSteps } from './prepare.js';
import { RawFiles } from './raw-files.js';
import { inOrder, perform, performWrites, scattered, totalBytes, type Workload } from './workload.js';

const KIB = 1024;

export interface WriteSizes {
  /** Of each member's data; whole MiB. */
  readonly memberBytes: number;
  readonly sequentialRequests: number;
  readonly randomRequests: number;
  readonly flushedRequests: number;
}

const SIZES: WriteSizes = {
  memberBytes: 64 * MIB,
  sequentialRequests: 128,
  randomRequests: 2048,
  flushedRequests: 256,
};

interface Stacks {
  readonly raw: RawFiles;
  readonly volume: BenchArray;
  readonly alone: BenchArray;
  /** What is written: in the pool, as all buffers of the product's are. */
  readonly source: Uint8Array;
  readonly sizes: WriteSizes;
}

export const writes: Bench = writesOf(SIZES);

export function writesOf(sizes: WriteSizes): Bench {
  return {
    name: 'writes',
    title: `Writes to a volume of ${MEMBERS} members against the same bytes in as many plain files`,
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (opened) => {
        const stacks = await makeStacks(directory, sizes, opened);
        return { comparisons: () => comparisons(stacks), notes: NOTES };
      }),
  };
}

const NOTES = [
  'volume: write-back cache and array, as commands write; array: without the cache.',
  'files: one write a request. files, as RAID-5: also the reads and writes that parity takes, but no parity is made.',
  'Flushes are in the time. Page cache: what is read is in it; nothing is dirty when a round begins.',
  'An operation is one request; barriers are flushes (of one member or file) and writes with fua.',
];

async function makeStacks(directory: string, sizes: WriteSizes, opened: Opened): Promise<Stacks> {
  const { memberBytes } = sizes;
  const raw = await RawFiles.make(directory, MEMBERS, memberBytes);
  opened(() => raw.close());
  const volume = await openBenchArray(await makeArray(directory, 'volume', memberBytes), {
    readOnly: false,
    cache: true,
  });
  opened(volume.close);
  const alone = await openBenchArray(await makeArray(directory, 'array', memberBytes), { readOnly: false });
  opened(alone.close);
  return { raw, volume, alone, source: makeSource(opened), sizes };
}

function makeSource(opened: Opened): Uint8Array {
  const arena = BufferPool.shared().arena('bench of writes', MIB);
  const buffer = arena.tryAcquire(MIB)!;
  opened(async () => {
    buffer.release();
    arena.close();
  });
  buffer.bytes.set(varied(MIB));
  return buffer.bytes;
}

function* comparisons(stacks: Stacks): Iterable<Comparison> {
  const { sequentialRequests, randomRequests, flushedRequests, memberBytes } = stacks.sizes;
  const size = memberBytes * (MEMBERS - 1);
  const sequential: Workload = {
    title: '1 MiB in order, 16 in flight',
    requestBytes: MIB,
    offsets: inOrder(sequentialRequests, MIB),
    depth: 16,
  };
  const small = { requestBytes: 4 * KIB, depth: 32 };
  const random: Workload = {
    ...small,
    title: '4 KiB at random, 32 in flight',
    offsets: scattered(randomRequests, 4 * KIB, size),
  };
  const flushed: Workload = {
    ...small,
    title: '4 KiB at random, flushed every 32',
    offsets: scattered(flushedRequests, 4 * KIB, size),
    flushEvery: 32,
  };
  yield comparison(stacks, sequential, fullStripes(stacks));
  for (const workload of [random, flushed]) yield comparison(stacks, workload, readModifyWrite(stacks));
}

type Request = (offset: number) => Promise<void>;

function comparison(stacks: Stacks, workload: Workload, asRaid: Request): Comparison {
  const { raw, volume, alone } = stacks;
  const data = stacks.source.subarray(0, workload.requestBytes);
  const device = volume.volume!;
  const onFiles = (name: string, request: Request): Contender => ({
    name,
    run: () => measured(raw.tally, () => perform(workload, request, () => raw.flush())),
  });
  const onArray = (
    name: string,
    { tally }: BenchArray,
    to: Pick<typeof device, 'write' | 'flush'>,
  ): Contender => ({
    name,
    run: () => measured(tally, () => performWrites(workload, to, data)),
  });
  return {
    title: workload.title,
    roundBytes: totalBytes(workload),
    operations: workload.offsets.length,
    baseline: 'files',
    contenders: [
      onFiles('files', (offset) => raw.write(offset, data)),
      onFiles('files, as RAID-5', asRaid),
      onArray('volume', volume, device),
      onArray('array', alone, alone.array),
    ],
  };
}

/** The parity lies behind the data; each request brings its share of it. */
function fullStripes({ raw, source, sizes }: Stacks): Request {
  const parityStart = sizes.memberBytes * (MEMBERS - 1);
  return async (offset) => {
    const parityBytes = MIB / (MEMBERS - 1);
    const share = Math.floor(parityBytes / 4096) * 4096;
    const at =
      parityStart + Math.floor(offset / (MEMBERS - 1) / MIB) * MIB + ((offset / MIB) % (MEMBERS - 1)) * share;
    await Promise.all([raw.write(offset, source), raw.write(at, source.subarray(0, share))]);
  };
}

/** Two reads, of what makes the new parity, then two writes. */
function readModifyWrite({ raw, source, sizes }: Stacks): Request {
  const parityStart = sizes.memberBytes * (MEMBERS - 1);
  const data = source.subarray(0, 4 * KIB);
  const old = new Uint8Array(8 * KIB);
  return async (offset) => {
    const parity = parityStart + Math.floor(offset / (MEMBERS - 1) / (4 * KIB)) * 4 * KIB;
    await Promise.all([raw.read(offset, old.subarray(0, 4 * KIB)), raw.read(parity, old.subarray(4 * KIB))]);
    await Promise.all([raw.write(offset, data), raw.write(parity, data)]);
  };
}
