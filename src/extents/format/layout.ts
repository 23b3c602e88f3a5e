/**
 * Where everything lies on the devices of a volume of the format `extents`, from their sizes alone.
 *
 *     volume         superblock | metadata engine | pool of extents ... | superblock
 *     metadata image superblock | metadata engine                       | superblock
 *     journal image  superblock | pool of extents ...                   | superblock
 *
 * - The pool begins on a full stripe of the array, and on a multiple of the extent where one place is both: then whole
 *   extents of whole stripes are written without reading.
 * - The metadata has room for all extents that there are, those of the journal image with them.
 */
import { UserError } from '../../errors.js';
import { PAGE_BYTES, roundUp } from '../../metadata/engine/layout.js';
import { SUPERBLOCK_BYTES } from './fields.js';
import { type ExtentSizes, leastCommonMultiple, metadataSize } from './sizes.js';
import { type ByteRange, type PoolRegion, secondCopyOffset } from './superblock.js';

/** Metadata begins on a page. */
const METADATA_OFFSET = PAGE_BYTES;
/** Farther than this nothing is pushed to be aligned to two things at once. */
const LARGEST_ALIGNMENT_BYTES = 64 * 1024 * 1024;
/** One for data, one for its journal. */
export const FEWEST_EXTENTS = 2;
/** Kept beside what was asked for, so that a file that fills it can still be written through a journal. */
const FEWEST_SPARE_EXTENTS = 4;
const SPARE_SHARE = 64;

export interface VolumeShape extends ExtentSizes {
  /** Data of a full stripe of the array; null: there are none. */
  readonly stripeBytes: number | null;
  readonly hasMetadataImage: boolean;
  /** Of the journal image; 0: there is none. */
  readonly journalExtents: number;
}

export interface VolumeLayout {
  /** null: in an image of its own. */
  readonly metadata: ByteRange | null;
  readonly pool: PoolRegion;
  /** Of each half of the metadata engine. */
  readonly logBytes: number;
}

/** Throws NO_SPACE for a device on which there is no room for the fewest extents, with what is needed. */
export function volumeLayout(name: string, deviceBytes: number, shape: VolumeShape): VolumeLayout {
  const layout = layoutOrNull(deviceBytes, shape);
  if (layout !== null) return layout;
  const leastBytes = leastVolumeBytes(FEWEST_EXTENTS, shape);
  throw new UserError(
    'NO_SPACE',
    `${name} has ${deviceBytes} bytes: a volume of extents of ${shape.extentBytes} bytes takes ${leastBytes} or more`,
    {
      hint: 'a larger --size, smaller extents (--extent), or the metadata in an image of its own (--metadata FILE)',
      details: { image: name, sizeBytes: deviceBytes, neededBytes: leastBytes },
    },
  );
}

/** The most extents whose metadata has room beside them: a larger device never has fewer. */
function layoutOrNull(deviceBytes: number, shape: VolumeShape): VolumeLayout | null {
  const end = secondCopyOffset(deviceBytes);
  const fits = (extents: number) => poolEnd(extents, shape) <= end;
  if (!fits(FEWEST_EXTENTS)) return null;
  let fitting = FEWEST_EXTENTS;
  let tooMany = Math.floor(end / shape.extentBytes) + 1;
  while (tooMany - fitting > 1) {
    const extents = Math.floor((fitting + tooMany) / 2);
    if (fits(extents)) fitting = extents;
    else tooMany = extents;
  }
  const { metadata, logBytes, offset } = placed(fitting, shape);
  return { metadata, pool: { offset, extents: fitting, first: 0 }, logBytes };
}

/** Where the metadata of so many extents lies, and where they begin. */
function placed(extents: number, shape: VolumeShape) {
  const { rangeBytes, logBytes } = metadataSize(extents + shape.journalExtents, shape);
  const metadata = shape.hasMetadataImage ? null : { offset: METADATA_OFFSET, length: rangeBytes };
  const begins = metadata === null ? SUPERBLOCK_BYTES : METADATA_OFFSET + rangeBytes;
  return { metadata, logBytes, offset: roundUp(begins, alignmentOf(shape)) };
}

function poolEnd(extents: number, shape: VolumeShape): number {
  return placed(extents, shape).offset + extents * shape.extentBytes;
}

/** Bytes of the smallest device that has so many extents. */
export function leastVolumeBytes(extents: number, shape: VolumeShape): number {
  return roundUp(poolEnd(extents, shape), SUPERBLOCK_BYTES) + SUPERBLOCK_BYTES;
}

/** So many extents a new volume has for so many bytes of files. */
export function extentsFor(sizeBytes: number, { extentBytes, journalExtents }: VolumeShape): number {
  const data = Math.max(1, Math.ceil(sizeBytes / extentBytes));
  const spare = Math.max(FEWEST_SPARE_EXTENTS, Math.ceil(data / SPARE_SHARE));
  return Math.max(FEWEST_EXTENTS, journalExtents >= spare ? data : data + spare);
}

export interface MetadataImageLayout {
  readonly imageBytes: number;
  readonly metadata: ByteRange;
  readonly logBytes: number;
}

/** Of a metadata image for so many extents, those of the journal image with them. */
export function metadataImageLayout(extents: number, sizes: ExtentSizes): MetadataImageLayout {
  const { rangeBytes, logBytes } = metadataSize(extents, sizes);
  const metadata = { offset: METADATA_OFFSET, length: rangeBytes };
  return { imageBytes: METADATA_OFFSET + rangeBytes + SUPERBLOCK_BYTES, metadata, logBytes };
}

/** Bytes of a journal image with so many extents. */
export function journalImageBytes(extents: number, { extentBytes }: ExtentSizes): number {
  return journalOffset(extentBytes) + extents * extentBytes + SUPERBLOCK_BYTES;
}

/** The extents of a journal image that is so long; they follow `first` others. */
export function journalRegion(imageBytes: number, first: number, { extentBytes }: ExtentSizes): PoolRegion {
  const offset = journalOffset(extentBytes);
  const extents = Math.max(0, Math.floor((secondCopyOffset(imageBytes) - offset) / extentBytes));
  return { offset, extents, first };
}

function journalOffset(extentBytes: number): number {
  return roundUp(SUPERBLOCK_BYTES, extentBytes);
}

function alignmentOf({ stripeBytes, extentBytes }: VolumeShape): number {
  if (stripeBytes === null) return extentBytes;
  const both = leastCommonMultiple(stripeBytes, extentBytes);
  return both <= LARGEST_ALIGNMENT_BYTES ? both : stripeBytes;
}
