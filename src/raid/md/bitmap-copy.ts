/**
 * One member's copy of the internal write-intent bitmap, read and checked as the kernel does (Linux
 * drivers/md/md-bitmap.c, md_bitmap_read_sb and md_bitmap_init_from_disk).
 *
 * Each bit stands for `chunkBytes` of every member's data area, counted from the data offset, lowest bit
 * first. A set bit: parity there may be wrong. Version 3 has the bits in the order of the machine that wrote
 * it; those of a little-endian one are the same, and of a big-endian one md's superblocks would not be known.
 */
import type { BlockDevice } from '../../device/contract.js';
import { UncheckedBytes } from '../../structure.js';
import { BITMAP_MAGIC, BITMAP_STATE, BITMAP_SUPERBLOCK } from './fields-logs.js';
import { SECTOR_BYTES, type Superblock } from './model.js';
import { overlap, type Stretch } from './places.js';
import { setUuidBytes } from './uuid.js';

const VERSIONS = [3, 4];
const VERSION_CLUSTERED = 5;
const MIN_CHUNK_BYTES = 512;
/** Kernel: COUNTER_MAX. */
const MAX_WRITE_BEHIND = 16383;
/** mdadm makes none over 128 KiB unless told to; a bitmap that claims more than this is not read into memory. */
const MAX_BITMAP_BYTES = 32 * 1024 * 1024;

/** It has the feature bit, and cannot be used; the kernel would not start the array. */
export interface DamagedBitmap {
  readonly reason: string;
}

export interface BitmapCopy {
  readonly image: string;
  readonly version: number;
  readonly events: bigint;
  readonly eventsCleared: bigint;
  /** Its own state says that it missed writes. */
  readonly markedStale: boolean;
  /** Bytes of a member's data for each bit. */
  readonly chunkBytes: number;
  /** How many bits count. */
  readonly bits: number;
  /** Superblock and bits, whole sectors: all that belongs to it in the image. */
  readonly raw: Uint8Array;
}

/** null: the member has none. Throws DeviceError if the image cannot be read. */
export async function readBitmapCopy(
  device: BlockDevice,
  superblock: Superblock,
): Promise<BitmapCopy | DamagedBitmap | null> {
  const checked = await readHead(device, superblock);
  if (checked === null || 'reason' in checked) return checked;
  const raw = new Uint8Array(checked.lengthBytes);
  await device.read(checked.offset, raw);
  const view = BITMAP_SUPERBLOCK.at(raw);
  return {
    image: device.name,
    version: view.number('version'),
    events: view.big('events'),
    eventsCleared: view.big('events_cleared'),
    markedStale: (view.number('state') & BITMAP_STATE.stale) !== 0,
    chunkBytes: checked.chunkBytes,
    bits: checked.bits,
    raw,
  };
}

/** Bytes that the bitmap takes in the image; null where that cannot be told. Throws DeviceError if it cannot be read. */
export async function bitmapLengthBytes(device: BlockDevice, superblock: Superblock): Promise<number | null> {
  const head = await readHead(device, superblock);
  return head === null || 'reason' in head ? null : head.lengthBytes;
}

/** How many of the bits that count are set. */
export function countDirtyBits(copy: BitmapCopy): number {
  const at = (bit: number) => copy.raw[BITMAP_SUPERBLOCK.sizeBytes + (bit >>> 3)]! & (1 << (bit & 7));
  let count = 0;
  for (let bit = 0; bit < copy.bits; bit++) if (at(bit) !== 0) count++;
  return count;
}

async function readHead(
  device: BlockDevice,
  superblock: Superblock,
): Promise<CheckedHead | DamagedBitmap | null> {
  const { bitmapOffset } = superblock;
  if (bitmapOffset === null) return null;
  const head = new Uint8Array(SECTOR_BYTES);
  await device.read(bitmapOffset, head);
  return checkHead(new UncheckedBytes(head, bitmapOffset), superblock, device.size);
}

interface CheckedHead {
  /** In the image. */
  readonly offset: number;
  readonly chunkBytes: number;
  readonly bits: number;
  readonly lengthBytes: number;
}

function checkHead(
  found: UncheckedBytes,
  superblock: Superblock,
  imageSizeBytes: number,
): CheckedHead | DamagedBitmap {
  const view = BITMAP_SUPERBLOCK.at(found.bytes);
  const wrong = (what: string): DamagedBitmap => ({ reason: `the bitmap at byte ${found.foundAt}: ${what}` });
  const version = view.number('version');
  const chunkBytes = view.number('chunksize');
  if (view.number('magic') !== BITMAP_MAGIC) return wrong('it has no magic');
  if (version === VERSION_CLUSTERED) return wrong('it is that of a cluster');
  if (!VERSIONS.includes(version)) return wrong(`version ${version} is not known here`);
  if (chunkBytes < MIN_CHUNK_BYTES || !Number.isInteger(Math.log2(chunkBytes))) {
    return wrong(`chunksize is ${chunkBytes}, it must be a power of two of at least ${MIN_CHUNK_BYTES}`);
  }
  if (view.number('daemon_sleep') < 1) return wrong('daemon_sleep is 0');
  if (view.number('write_behind') > MAX_WRITE_BEHIND)
    return wrong(`write_behind is ${view.number('write_behind')}`);
  if (Buffer.compare(view.bytes('uuid'), setUuidBytes(superblock)) !== 0)
    return wrong('it is of another array');
  const whole = superblock.memberSizeBytes - (superblock.memberSizeBytes % superblock.chunkBytes);
  const bits = Math.ceil(whole / chunkBytes);
  const lengthBytes = bitmapBytes(bits);
  if (lengthBytes > MAX_BITMAP_BYTES) return wrong(`it would be ${lengthBytes} bytes long`);
  const clash = findClash(
    { what: 'it', start: found.foundAt, end: found.foundAt + lengthBytes },
    superblock,
    imageSizeBytes,
  );
  return clash === null ? { offset: found.foundAt, chunkBytes, bits, lengthBytes } : wrong(clash);
}

/** What the kernel writes of it: up to the sector with the last bit (md-bitmap.c, __write_sb_page). */
export function bitmapBytes(bits: number): number {
  const bytes = BITMAP_SUPERBLOCK.sizeBytes + Math.ceil(bits / 8);
  return Math.ceil(bytes / SECTOR_BYTES) * SECTOR_BYTES;
}

function findClash(own: Stretch, superblock: Superblock, imageSizeBytes: number): string | null {
  if (own.end > imageSizeBytes)
    return `it would end at byte ${own.end}, behind the image's end at ${imageSizeBytes}`;
  const { dataOffset, memberSizeBytes, superOffset, raw, badBlockLog } = superblock;
  const others: Stretch[] = [
    { what: 'the superblock', start: superOffset, end: superOffset + raw.byteLength },
    { what: 'the data', start: dataOffset, end: dataOffset + memberSizeBytes },
  ];
  if (badBlockLog !== null && superblock.features.badBlocks) {
    const { offset, lengthBytes } = badBlockLog;
    others.push({ what: 'the bad block log', start: offset, end: offset + lengthBytes });
  }
  const clash = others.find((other) => overlap(own, other));
  return clash === undefined
    ? null
    : `${own.start} to ${own.end} overlaps ${clash.what} (${clash.start} to ${clash.end})`;
}
