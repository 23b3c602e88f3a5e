/**
 * Files on extents: what their journal costs, in bytes that reach the media and in time. Nothing of it is counted by
 * those who are measured: counters lie at the images (extents-volume.ts).
 */
import type { Bench, BenchContext, Comparison } from './bench.js';
import { MIB } from './bench-array.js';
import { ext4Contenders } from './ext4.js';
import { ARRAY_NOTES, type ArraySizes, arrayComparisons } from './extents-array.js';
import { COMMIT_NOTES, type CommitSizes, commitComparisons } from './extents-commits.js';
import { MEDIA_NOTES, type MediaSizes, mediaComparisons, sequential } from './extents-media.js';
import { OPENING_NOTES, type OpeningSizes, openingComparisons } from './extents-opening.js';
import { BenchFiles } from './extents-volume.js';
import { prepareInSteps } from './prepare.js';

const KIB = 1024;
const GIB = 1024 * MIB;

export interface ExtentsSizes {
  readonly media: MediaSizes;
  readonly array: ArraySizes;
  readonly commits: CommitSizes;
  readonly opening: OpeningSizes;
  /** Whether there are filesystems beside it, where they can be had. */
  readonly filesystems: boolean;
}

const SIZES: ExtentsSizes = {
  media: { fileBytes: 64 * MIB, commitBytes: 10 * MIB, largeExtentBytes: MIB, smallRequests: 256 },
  array: { fileBytes: 192 * MIB, largeExtentBytes: 9 * MIB },
  commits: {
    fileBytes: 128 * MIB,
    singleExtentBytes: [4 * KIB, 64 * KIB, MIB],
    singleWrites: 64,
    manyExtentBytes: 64 * KIB,
    manyExtents: [1, 16, 256, 2048],
  },
  opening: {
    volumes: new Map([
      ['1 GiB', GIB],
      ['64 GiB', 64 * GIB],
      ['1 TiB', 1024 * GIB],
    ]),
    fileBytes: 16 * MIB,
    command: true,
  },
  filesystems: true,
};

export const extents: Bench = extentsOf(SIZES);

export function extentsOf(sizes: ExtentsSizes): Bench {
  return {
    name: 'extents',
    title: 'Files on extents: bytes that reach the media, and the time of commits and of opening',
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (opened) => {
        const filesOf = (fileBytes: number) => {
          const files = new BenchFiles(directory, fileBytes);
          opened(() => files.close());
          return files;
        };
        const { media, array, commits, opening, filesystems } = sizes;
        const ext4 = filesystems ? await ext4Contenders(directory, sequential(media), opened) : null;
        const files = filesOf(media.fileBytes);
        async function* comparisons(): AsyncIterable<Comparison> {
          yield* mediaComparisons(files, media, ext4?.contenders ?? []);
          yield* arrayComparisons(directory, filesOf(array.fileBytes), array, opened);
          yield* commitComparisons(directory, filesOf(commits.fileBytes), commits, opened);
          yield* openingComparisons(directory, opening);
        }
        return {
          comparisons,
          notes: [
            ...MEDIA_NOTES,
            ...ARRAY_NOTES,
            ...COMMIT_NOTES,
            ...OPENING_NOTES,
            ...(ext4 === null ? [] : [ext4.note]),
          ],
        };
      }),
  };
}
