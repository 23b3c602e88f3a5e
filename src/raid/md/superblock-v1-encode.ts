/**
 * Writes superblocks of version 1: changes of one that was read, over its own bytes, and new ones, of an
 * array (as mdadm's super1.c makes them, 1.2 alone) or of a member that joins one.
 *
 * Invariants
 * - What a change does not name, and what we do not know, stays byte for byte as it was found.
 * - The size on disk never grows: what lies behind belongs to others.
 */
import {
  DEVICE_ROLE_V1,
  FEATURE,
  MD_MAGIC,
  ROLE_FAULTY,
  ROLE_JOURNAL,
  ROLE_SPARE,
  SUPERBLOCK_V1,
} from './fields-superblock.js';
import { type DeviceRole, SECTOR_BYTES, type Superblock, type SuperblockChange } from './model.js';
import { superblockPlaces } from './places.js';
import { ALL_ONES, checksumV1 } from './superblock-v1.js';
import { superblockBytesV1 } from './superblock-v1-places.js';
import { parseUuid } from './uuid.js';

type V1View = ReturnType<(typeof SUPERBLOCK_V1)['at']>;

/** mdadm's: header and roles fill one sector. */
const MAX_DEV_NEW = 128;
const SUPER_OFFSET_V12 = 4096;
/** mdadm's: the log of a member without a bitmap lies 16 sectors after the superblock. */
const BAD_BLOCK_LOG = { offsetSectors: 16, sizeSectors: 8 } as const;

/** Of an array that is made here. */
export interface FormatOptions {
  /** As formatUuid shows them. */
  readonly setUuid: string;
  readonly deviceUuid: string;
  readonly setName: string;
  /** Seconds since 1970. */
  readonly ctime: number;
  readonly level: number;
  readonly layout: number;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly memberSizeBytes: number;
  readonly dataOffset: number;
  readonly dataSizeBytes: number;
  readonly deviceNumber: number;
  /** By device number; the rest of mdadm's 128 are spare. */
  readonly roles: readonly DeviceRole[];
  readonly events: bigint;
  readonly resyncOffset: number | null;
}

/** The bytes of a new superblock 1.2, to be written at byte 4096. */
export function formatSuperblock(options: FormatOptions): Uint8Array {
  const raw = new Uint8Array(superblockBytesV1(MAX_DEV_NEW));
  const view = SUPERBLOCK_V1.at(raw);
  view.setNumber('magic', MD_MAGIC);
  view.setNumber('major_version', 1);
  view.setBytes('set_uuid', uuidBytes(options.setUuid));
  view.setBytes('set_name', cutName(options.setName));
  view.setBig('ctime', BigInt(options.ctime));
  view.setBig('utime', BigInt(options.ctime));
  view.setNumber('level', options.level);
  view.setNumber('layout', options.layout);
  view.setBig('size', toSectors(options.memberSizeBytes));
  view.setNumber('chunksize', options.chunkBytes / SECTOR_BYTES);
  view.setNumber('raid_disks', options.raidDisks);
  view.setBig('data_offset', toSectors(options.dataOffset));
  view.setBig('data_size', toSectors(options.dataSizeBytes));
  view.setBig('super_offset', toSectors(SUPER_OFFSET_V12));
  view.setNumber('dev_number', options.deviceNumber);
  view.setBytes('device_uuid', uuidBytes(options.deviceUuid));
  placeBadBlockLog(view, options.dataOffset);
  view.setBig('events', options.events);
  view.setBig('resync_offset', fromProgress(options.resyncOffset));
  view.setNumber('max_dev', MAX_DEV_NEW);
  writeRoles(view, raw, options.roles);
  return seal(raw);
}

/** What the bytes become. Throws RangeError for a change that they cannot hold. */
export function encodeSuperblockV1(superblock: Superblock, change: SuperblockChange): Uint8Array {
  const raw = superblock.raw.slice();
  const view = SUPERBLOCK_V1.at(raw);
  if (change.events !== undefined) view.setBig('events', change.events);
  if (change.utime !== undefined) view.setBig('utime', BigInt(change.utime));
  if (change.resyncOffset !== undefined) view.setBig('resync_offset', fromProgress(change.resyncOffset));
  if (change.deviceNumber !== undefined) view.setNumber('dev_number', change.deviceNumber);
  if (change.replacement !== undefined) setFeature(view, FEATURE.replacement, change.replacement);
  if (change.badBlocks !== undefined) setFeature(view, FEATURE.badBlocks, change.badBlocks);
  if (change.recoveryOffset !== undefined) changeRecovery(view, change.recoveryOffset);
  if (change.stamp !== undefined) changeStamp(view, change.stamp);
  if (change.roles !== undefined) writeRoles(view, raw, change.roles);
  return seal(raw);
}

/** Of a member that joins an array. */
export interface JoinOptions {
  readonly imageSizeBytes: number;
  readonly deviceUuid: string;
  readonly deviceNumber: number;
}

/**
 * The superblock of a new member: what the array has in common is taken from `like`, one of its good members,
 * and so are the places in the image (counted from the new end for 1.0). Its events and roles are those of
 * `like` until they are changed. Throws RangeError if the image is too small.
 */
export function joinSuperblockV1(
  like: Superblock,
  options: JoinOptions,
): { superOffset: number; raw: Uint8Array } {
  const raw = like.raw.slice();
  const view = SUPERBLOCK_V1.at(raw);
  const place = superblockPlaces(options.imageSizeBytes).find(
    (candidate) => candidate.version === like.version,
  );
  const atEnd = like.version === '1.0';
  // Behind the data of a 1.0 member lie its bitmap and logs: as much room is kept for them as `like` has.
  const reserved = atEnd ? like.superOffset - like.dataOffset - like.dataSizeBytes : 0;
  const end = atEnd ? (place?.superOffset ?? 0) - reserved : options.imageSizeBytes;
  const room = Math.floor((end - like.dataOffset) / SECTOR_BYTES) * SECTOR_BYTES;
  if (place === undefined || room < like.memberSizeBytes) {
    throw new RangeError(
      `an image of ${options.imageSizeBytes} bytes has no room for ${like.memberSizeBytes} bytes of data at ${like.dataOffset}`,
    );
  }
  view.setBig('data_size', toSectors(room));
  view.setBig('super_offset', toSectors(place.superOffset));
  view.setNumber('dev_number', options.deviceNumber);
  view.setBytes('device_uuid', uuidBytes(options.deviceUuid));
  view.setNumber('cnt_corrected_read', 0);
  view.setNumber('devflags', 0);
  setFeature(view, FEATURE.badBlocks | FEATURE.replacement, false);
  changeRecovery(view, null);
  return { superOffset: place.superOffset, raw: seal(raw) };
}

function changeRecovery(view: V1View, recoveryOffset: number | null): void {
  setFeature(view, FEATURE.recoveryOffset, recoveryOffset !== null);
  if (recoveryOffset === null) setFeature(view, FEATURE.recoveryBitmap, false);
  view.setBig('recovery_offset', recoveryOffset === null ? 0n : toSectors(recoveryOffset));
}

function changeStamp(view: V1View, stamp: bigint): void {
  if ((view.number('feature_map') & FEATURE.recoveryOffset) !== 0) {
    throw new RangeError('a member that is being rebuilt has no room for a stamp');
  }
  view.setBig('opening_stamp', stamp);
}

function setFeature(view: V1View, bits: number, on: boolean): void {
  const map = view.number('feature_map');
  view.setNumber('feature_map', (on ? map | bits : map & ~bits) >>> 0);
}

/** All roles at once, as the kernel writes them: device numbers that nobody has are spare. */
function writeRoles(view: V1View, raw: Uint8Array, roles: readonly DeviceRole[]): void {
  const used = roles.findLastIndex((role) => role !== 'spare') + 1;
  const maxDev = Math.max(view.number('max_dev'), used);
  if (superblockBytesV1(maxDev) > raw.byteLength) {
    throw new RangeError(
      `device number ${maxDev - 1} has no room in a superblock of ${raw.byteLength} bytes`,
    );
  }
  view.setNumber('max_dev', maxDev);
  for (let index = 0; index < maxDev; index++) {
    const at = SUPERBLOCK_V1.sizeBytes + index * DEVICE_ROLE_V1.sizeBytes;
    DEVICE_ROLE_V1.at(raw, at).setNumber('role', encodeRole(roles[index] ?? 'spare'));
  }
}

function encodeRole(role: DeviceRole): number {
  if (role === 'spare') return ROLE_SPARE;
  if (role === 'faulty') return ROLE_FAULTY;
  return role === 'journal' ? ROLE_JOURNAL : role;
}

function placeBadBlockLog(view: V1View, dataOffset: number): void {
  const end = SUPER_OFFSET_V12 + (BAD_BLOCK_LOG.offsetSectors + BAD_BLOCK_LOG.sizeSectors) * SECTOR_BYTES;
  if (dataOffset < end) throw new RangeError(`data offset ${dataOffset} leaves no room for a bad block log`);
  view.setNumber('bblog_size', BAD_BLOCK_LOG.sizeSectors);
  view.setNumber('bblog_offset', BAD_BLOCK_LOG.offsetSectors);
}

function seal(raw: Uint8Array): Uint8Array {
  const view = SUPERBLOCK_V1.at(raw);
  view.setNumber('sb_csum', checksumV1(raw, view.number('max_dev')));
  return raw;
}

function fromProgress(bytes: number | null): bigint {
  return bytes === null ? ALL_ONES : toSectors(bytes);
}

/** Rounded down, which for progress and sizes is the safe side. */
function toSectors(bytes: number): bigint {
  return BigInt(Math.floor(bytes / SECTOR_BYTES));
}

/** A name is cut at 31 bytes, as mdadm does, between characters. */
function cutName(name: string): Uint8Array {
  let cut = name;
  let bytes = new TextEncoder().encode(cut);
  while (bytes.byteLength > 31) {
    cut = cut.slice(0, -1);
    bytes = new TextEncoder().encode(cut);
  }
  return bytes;
}

function uuidBytes(text: string): Uint8Array {
  const bytes = parseUuid(text);
  if (bytes === null) throw new RangeError(`not a UUID: ${text}`);
  return bytes;
}
