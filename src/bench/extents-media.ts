/**
 * Bytes that reach the media per byte of the user, in a file that is fully used (where it costs most: a new file has
 * nothing to be copied). Every commit is complete before the next one begins, so that each is paid for in its round.
 *
 * What is to be expected, from the decision of a commit (metadata/decision.ts): an extent that is written whole costs
 * nothing more; one of which a part p is written costs the smaller of p and 1 - p more. So a long write costs at both
 * ends a quarter of an extent on average, and half of one at most: 10 MiB over extents of 1 MiB 1.05, and 1.10.
 */

import type { Comparison, Contender } from './bench.js';
import { MIB, varied } from './bench-array.js';
import { type BenchFiles, BLOCK_BYTES, formatBytes, measuredMedia, mediaCounts } from './extents-volume.js';
import { inOrder, perform, scattered, totalBytes, type Workload } from './workload.js';

/** Requests to a commit are its `flushEvery`. */
export interface Writes extends Workload {
  readonly extentBytes: number;
}

export interface MediaSizes {
  /** Of a file; a few times as much as a commit. */
  readonly fileBytes: number;
  /** Whole MiB, and whole large extents. */
  readonly commitBytes: number;
  readonly largeExtentBytes: number;
  readonly smallRequests: number;
}

export const MEDIA_NOTES = [
  'written, read, metadata written: bytes at the images per byte of the user.',
  'Goals: sequential 1; over extents of 1 MiB at any block 1.10 at worst and 1.051 on average; over extents of 4 KiB 1.0004.',
  'Files are fully used. Each commit is complete, with its copies and flushes, before the next one begins.',
  'any block: extents at random, places within them spread evenly. worst: at half an extent. any byte: 512 bytes behind a block.',
];

/** `others`: those that write the same in order. */
export async function* mediaComparisons(
  files: BenchFiles,
  sizes: MediaSizes,
  others: readonly Contender[],
): AsyncIterable<Comparison> {
  const size = formatBytes(sizes.commitBytes);
  const inTheirOrder = comparison(files, `in order, commits of ${size}`, [sequential(sizes)]);
  yield { ...inTheirOrder, contenders: [...inTheirOrder.contenders, ...others] };
  yield comparison(files, `at random, commits of ${size}`, anywhere(sizes));
  yield comparison(files, `one commit of ${size}`, alone(sizes));
  yield comparison(files, '4 KiB at random, 32 in a commit', small(sizes));
  for (const [name, part] of PARTS) yield comparison(files, `${name} of each extent`, partly(sizes, part));
}

const PARTS = [
  ['a quarter', 1 / 4],
  ['a half', 1 / 2],
  ['three quarters', 3 / 4],
] as const;

/** Commits of a file from its start on. */
export function sequential({ fileBytes, commitBytes, largeExtentBytes: extentBytes }: MediaSizes): Writes {
  const flushEvery = commitBytes / MIB;
  const offsets = inOrder(Math.floor(fileBytes / commitBytes) * flushEvery, MIB);
  return {
    title: extentsOf(extentBytes),
    ...{ extentBytes, requestBytes: MIB, depth: 4, offsets, flushEvery },
  };
}

/** Commits of a round; one write each. */
const STARTS = 8;

function anywhere({ fileBytes, commitBytes, largeExtentBytes: extentBytes }: MediaSizes): Writes[] {
  // Any extent may be the first that leaves room for all that is written.
  const extents = scattered(STARTS, 1, Math.floor((fileBytes - commitBytes) / extentBytes));
  const writes = (name: string, within: (index: number) => number): Writes => ({
    title: `${extentsOf(extentBytes)}, ${name}`,
    ...{ extentBytes, requestBytes: commitBytes, depth: 1, flushEvery: 1 },
    offsets: extents.map((extent, index) => extent * extentBytes + within(index)),
  });
  return [
    writes('any block', (index) => ((index + 0.5) * extentBytes) / STARTS),
    writes('worst', () => extentBytes / 2),
  ];
}

/** With the smallest extents all starts at a block are alike; there are thousands of them in a commit, which takes its time. */
function alone({ commitBytes }: MediaSizes): Writes[] {
  const writes = (name: string, offset: number): Writes => ({
    title: `${extentsOf(BLOCK_BYTES)}, ${name}`,
    ...{ extentBytes: BLOCK_BYTES, requestBytes: commitBytes, depth: 1, offsets: [offset] },
  });
  return [writes('any block', 5 * BLOCK_BYTES), writes('any byte', 5 * BLOCK_BYTES + 512)];
}

function small({ fileBytes, largeExtentBytes, smallRequests }: MediaSizes): Writes[] {
  const offsets = scattered(smallRequests, BLOCK_BYTES, fileBytes);
  return [BLOCK_BYTES, largeExtentBytes / 16, largeExtentBytes].map((extentBytes) => ({
    title: extentsOf(extentBytes),
    ...{ extentBytes, requestBytes: BLOCK_BYTES, depth: 32, offsets, flushEvery: 32 },
  }));
}

function partly(
  { fileBytes, commitBytes, largeExtentBytes: extentBytes }: MediaSizes,
  part: number,
): Writes[] {
  const offsets = inOrder(Math.floor(fileBytes / extentBytes), extentBytes);
  const flushEvery = commitBytes / extentBytes;
  return [
    {
      title: extentsOf(extentBytes),
      ...{ extentBytes, requestBytes: extentBytes * part, depth: 4, offsets, flushEvery },
    },
  ];
}

function extentsOf(extentBytes: number): string {
  return `extents of ${formatBytes(extentBytes)}`;
}

function comparison(files: BenchFiles, title: string, all: readonly Writes[]): Comparison {
  const roundBytes = totalBytes(all[0]!);
  return {
    ...{ title, roundBytes, operations: roundBytes, baseline: null },
    contenders: all.map((writes) => contender(files, writes)),
  };
}

function contender(files: BenchFiles, writes: Writes): Contender {
  const bytes = varied(writes.requestBytes);
  return {
    name: writes.title,
    run: async () => {
      const { file, tally } = await files.get({ members: 1, extentBytes: writes.extentBytes });
      const sample = await measuredMedia(tally, () =>
        perform(
          writes,
          (offset) => file.write(offset, bytes),
          async () => void (await file.commit({ isComplete: true })),
        ),
      );
      return { seconds: sample.seconds, counts: mediaCounts(sample) };
    },
  };
}
