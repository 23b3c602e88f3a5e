/**
 * The places that a superblock of version 1 names: data area, bitmap, partial parity log and bad block log.
 * Each has to lie in the image, clear of the superblock and of the data (Linux drivers/md/md.c, super_1_load;
 * raid5-ppl.c, ppl_validate_rdev).
 */
import { DEVICE_ROLE_V1, SUPERBLOCK_V1 } from './fields-superblock.js';
import { SECTOR_BYTES, type Superblock, type SuperblockFeatures } from './model.js';
import {
  damaged,
  decodeOrDamage,
  fieldToBytes,
  mustBeApart,
  type Stretch,
  type SuperblockPlace,
} from './places.js';

export type V1View = ReturnType<(typeof SUPERBLOCK_V1)['at']>;

/** Kernel: super_1_load refuses less. */
const MIN_DATA_SECTORS = 10n;
/** Kernel: it reads the log into one page. */
const MAX_BAD_BLOCK_LOG_SECTORS = 8;
/** More would shift sectors out of what an image can have. */
const MAX_BAD_BLOCK_SHIFT = 40;
const PPL_HEADER_SECTORS = 8;
const PPL_STRIPE_SECTORS = 8;

/** The bytes that a superblock with so many roles takes on disk: whole sectors, as the kernel writes it. */
export function superblockBytesV1(maxDev: number): number {
  const bytes = SUPERBLOCK_V1.sizeBytes + maxDev * DEVICE_ROLE_V1.sizeBytes;
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

/** `usedBytes`: what of the data area the array needs. `taken`: superblock and data, for the other places. */
export function decodeDataArea(
  view: V1View,
  place: SuperblockPlace,
  maxDev: number,
  imageSizeBytes: number,
  usedBytes: number,
): { dataOffset: number; dataSizeBytes: number; taken: Stretch[] } {
  const dataOffset = fieldToBytes('data_offset', view.big('data_offset'));
  const dataSectors = view.big('data_size');
  if (dataSectors < MIN_DATA_SECTORS)
    damaged(`data_size is ${dataSectors} sectors, md wants at least ${MIN_DATA_SECTORS}`);
  const dataSize = fieldToBytes('data_size', dataSectors);
  const own: Stretch = {
    what: 'the superblock',
    start: place.superOffset,
    end: place.superOffset + superblockBytesV1(maxDev),
  };
  const atEnd = place.version === '1.0';
  const end = atEnd ? place.superOffset : imageSizeBytes;
  // mdadm gives a 1.0 member with a data offset a data_size that ignores it, and the kernel compares likewise.
  const claimed = atEnd ? dataSize : dataOffset + dataSize;
  if (claimed > end) {
    damaged(
      `the data area ends at byte ${claimed}, but ${atEnd ? 'the superblock is' : 'the image ends'} at ${end}: was it truncated?`,
    );
  }
  const dataSizeBytes = Math.min(dataSize, end - dataOffset);
  if (usedBytes > dataSizeBytes) {
    damaged(`size says ${usedBytes} bytes of each member are used, this one has ${dataSizeBytes}`);
  }
  const data: Stretch = {
    what: 'the data',
    start: dataOffset,
    end: dataOffset + (usedBytes || dataSizeBytes),
  };
  mustBeApart(data, [own], imageSizeBytes);
  if (!atEnd && dataOffset < own.end)
    damaged(`data_offset ${dataOffset} lies before the end of the superblock`);
  return { dataOffset, dataSizeBytes, taken: [own, data] };
}

/** The places of bitmap, partial parity log and bad block log. */
export function decodeLogs(
  view: V1View,
  features: SuperblockFeatures,
  place: SuperblockPlace,
  taken: readonly Stretch[],
  imageSizeBytes: number,
): Pick<Superblock, 'bitmapOffset' | 'ppl' | 'badBlockLog'> {
  const at = (sectors: number): number => place.superOffset + sectors * SECTOR_BYTES;
  let bitmapOffset: number | null = null;
  // Kernel: an offset of 0 is none (md.c, bitmap_info.offset).
  if (features.bitmap && view.number('bitmap_offset') !== 0) {
    bitmapOffset = at(view.number('bitmap_offset'));
    // How long it is says only the bitmap itself; see bitmap.ts.
    mustBeApart(
      { what: 'the bitmap', start: bitmapOffset, end: bitmapOffset + SECTOR_BYTES },
      taken,
      imageSizeBytes,
    );
  }
  let ppl: Superblock['ppl'] = null;
  if (features.ppl) {
    const size = view.number('ppl_size');
    if (size < PPL_HEADER_SECTORS + PPL_STRIPE_SECTORS)
      damaged(`ppl_size is ${size} sectors, too few for a log`);
    ppl = { offset: at(view.number('ppl_offset')), lengthBytes: size * SECTOR_BYTES };
    mustBeApart(
      { what: 'the partial parity log', start: ppl.offset, end: ppl.offset + ppl.lengthBytes },
      taken,
      imageSizeBytes,
    );
  }
  return { bitmapOffset, ppl, badBlockLog: decodeBadBlockLog(view, features, at, taken, imageSizeBytes) };
}

/** Reserved and without entries it may be nonsense (mdadm can place it into the data): then there is none. */
function decodeBadBlockLog(
  view: V1View,
  features: SuperblockFeatures,
  at: (sectors: number) => number,
  taken: readonly Stretch[],
  imageSizeBytes: number,
): Superblock['badBlockLog'] {
  const size = view.number('bblog_size');
  const shift = view.number('bblog_shift');
  const offset = at(view.number('bblog_offset'));
  const check = (): Superblock['badBlockLog'] => {
    if (size === 0 || size > MAX_BAD_BLOCK_LOG_SECTORS)
      damaged(`bblog_size is ${size} sectors, md allows 1 to 8`);
    if (shift > MAX_BAD_BLOCK_SHIFT) damaged(`bblog_shift is ${shift}`);
    if (view.number('bblog_offset') === 0) damaged('bblog_offset is 0, though there are bad blocks');
    const lengthBytes = size * SECTOR_BYTES;
    mustBeApart(
      { what: 'the bad block log', start: offset, end: offset + lengthBytes },
      taken,
      imageSizeBytes,
    );
    return { offset, lengthBytes, shift };
  };
  if (features.badBlocks) return check();
  const tried = decodeOrDamage({ version: '1.2', superOffset: 0 }, check, () => null);
  return tried === null || 'reason' in tried ? null : tried;
}
