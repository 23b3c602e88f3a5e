/**
 * How long a commit takes until it is answered: of one small write, over extents of three sizes, beside the same write
 * to a plain file that is flushed; and of one that changes a block in each of many extents.
 *
 * Where journal and data share an image a commit is answered when it is hardened; what it copies is done behind it. A
 * round ends when that is done too: so it is in the time of the round and in its counts, and not in the latencies.
 */
import type { Comparison, Contender, Sample } from './bench.js';
import { MIB, varied } from './bench-array.js';
import {
  type BenchFile,
  type BenchFiles,
  BLOCK_BYTES,
  formatBytes,
  measuredMedia,
} from './extents-volume.js';
import { latencyOf } from './measure.js';
import type { Opened } from './prepare.js';
import { RawFiles } from './raw-files.js';
import { scattered } from './workload.js';

export interface CommitSizes {
  readonly fileBytes: number;
  readonly singleExtentBytes: readonly number[];
  readonly singleWrites: number;
  readonly manyExtentBytes: number;
  /** Extents in a transaction; of each so many there is a comparison. */
  readonly manyExtents: readonly number[];
}

export const COMMIT_NOTES = [
  'A commit: p50 and p99 are until it is answered, the time of a round until all copies are done. file: 4 KiB and a flush.',
  'barriers: flushes and writes with fua. journal bytes: of the pool, held until the copies are done.',
];

/** Commits of a round, however many extents they have, as long as these are not more than so many. */
const COMMITS = 8;
const MOST_EXTENTS = 2048;

export async function* commitComparisons(
  directory: string,
  files: BenchFiles,
  sizes: CommitSizes,
  opened: Opened,
): AsyncIterable<Comparison> {
  yield await single(directory, files, sizes, opened);
  for (const count of sizes.manyExtents) yield many(files, sizes, count);
}

const BLOCK = varied(BLOCK_BYTES);

async function single(
  directory: string,
  files: BenchFiles,
  { fileBytes, singleExtentBytes, singleWrites }: CommitSizes,
  opened: Opened,
): Promise<Comparison> {
  const raw = await RawFiles.make(directory, 1, Math.ceil(fileBytes / MIB) * MIB);
  opened(() => raw.close());
  const offsets = scattered(singleWrites, BLOCK_BYTES, fileBytes);
  const ours = singleExtentBytes.map((extentBytes) =>
    contender(`extents of ${formatBytes(extentBytes)}`, files, extentBytes, () =>
      offsets.map((offset) => [offset]),
    ),
  );
  return {
    title: 'one write of 4 KiB, and a commit',
    roundBytes: offsets.length * BLOCK_BYTES,
    operations: offsets.length,
    baseline: 'file',
    contenders: [{ name: 'file', run: () => runOnFile(raw, offsets) }, ...ours],
  };
}

async function runOnFile(raw: RawFiles, offsets: readonly number[]): Promise<Sample> {
  raw.tally.take();
  const start = performance.now();
  const latency = await timed(offsets, async (offset) => {
    await raw.write(offset, BLOCK);
    await raw.flush();
  });
  const { writtenBytes, readBytes, flushes } = raw.tally.take();
  const seconds = (performance.now() - start) / 1000;
  return {
    seconds,
    latency,
    counts: { writtenBytes: writtenBytes!, readBytes: readBytes!, barriers: flushes! },
  };
}

function many(files: BenchFiles, { fileBytes, manyExtentBytes }: CommitSizes, count: number): Comparison {
  const commits = Math.max(1, Math.min(COMMITS, Math.floor(MOST_EXTENTS / count)));
  const places = scattered(count, manyExtentBytes, fileBytes);
  const name = `extents of ${formatBytes(manyExtentBytes)}`;
  return {
    title: `4 KiB in each of ${count} ${count === 1 ? 'extent' : 'extents'}, and a commit`,
    roundBytes: commits * count * BLOCK_BYTES,
    operations: commits,
    baseline: null,
    contenders: [
      contender(name, files, manyExtentBytes, () => Array.from({ length: commits }, () => places)),
    ],
  };
}

/** `commits`: the offsets of the writes of each. */
function contender(
  name: string,
  files: BenchFiles,
  extentBytes: number,
  commits: () => readonly (readonly number[])[],
): Contender {
  return { name, run: async () => run(await files.get({ members: 1, extentBytes }), commits()) };
}

async function run(
  { file, store, tally, extentBytes }: BenchFile,
  commits: readonly (readonly number[])[],
): Promise<Sample> {
  let latency: Sample['latency'];
  let heldExtents = 0;
  const { seconds, data, metadata } = await measuredMedia(tally, async () => {
    latency = await timed(commits, async (offsets) => {
      for (const offset of offsets) await file.write(offset, BLOCK);
      heldExtents += (await file.commit()).extents;
    });
    await store.settled();
  });
  return {
    seconds,
    ...(latency === undefined ? {} : { latency }),
    counts: {
      writtenBytes: data.writtenBytes!,
      readBytes: data.readBytes!,
      barriers: data.flushes! + data.fuaWrites!,
      metadataWrittenBytes: metadata.writtenBytes!,
      metadataBarriers: metadata.flushes! + metadata.fuaWrites!,
      journalBytes: heldExtents * extentBytes,
    },
  };
}

/** One after the other. */
async function timed<T>(all: readonly T[], work: (one: T) => Promise<void>) {
  const times: number[] = [];
  for (const one of all) {
    const start = performance.now();
    await work(one);
    times.push(performance.now() - start);
  }
  return latencyOf(times);
}
