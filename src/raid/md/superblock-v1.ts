/**
 * Reads superblocks of version 1 (1.0, 1.1 and 1.2 differ only in where they lie). What is checked is what
 * the kernel checks (Linux drivers/md/md.c, super_1_load and super_1_validate; raid5.c for chunk and layout;
 * raid5-ppl.c, ppl_validate_rdev) and that every place it names lies in this image, clear of the others.
 *
 * Invariants
 * - Sizes are bigints until they are known to fit: no field, however large, overflows or is read past the end.
 * - `raw` is what the kernel writes, whole sectors that hold all roles, and never more: behind it a bitmap
 *   may lie.
 */

import type { UncheckedBytes } from '../../structure.js';
import { superblockSum } from './checksums.js';
import {
  DEVICE_ROLE_V1,
  FEATURE,
  KNOWN_FEATURES,
  MAX_DEV_V1,
  MD_MAGIC,
  ROLE_FAULTY,
  ROLE_JOURNAL,
  ROLE_SPARE,
  SUPERBLOCK_V1,
} from './fields-superblock.js';
import {
  type DamagedSuperblock,
  type DeviceRole,
  SECTOR_BYTES,
  type Superblock,
  type SuperblockFeatures,
} from './model.js';
import { damaged, decodeOrDamage, fieldToBytes, type SuperblockPlace, sectorsToBytes } from './places.js';
import { checkShape } from './shape.js';
import { decodeDataArea, decodeLogs, superblockBytesV1, type V1View } from './superblock-v1-places.js';
import { formatUuid } from './uuid.js';

export const ALL_ONES = 0xffff_ffff_ffff_ffffn;
const SECONDS_MASK = (1n << 40n) - 1n;

/** The checksum over header and roles. */
export function checksumV1(raw: Uint8Array, maxDev: number): number {
  const length = SUPERBLOCK_V1.sizeBytes + maxDev * DEVICE_ROLE_V1.sizeBytes;
  return superblockSum(raw, length, SUPERBLOCK_V1.offsetOf('sb_csum'));
}

/** `found` has the magic of md, is 4 KiB and was read at `place`, in an image of that size. */
export function decodeSuperblockV1(
  found: UncheckedBytes,
  place: SuperblockPlace,
  imageSizeBytes: number,
): Superblock | DamagedSuperblock {
  let proven: V1View | null = null;
  return decodeOrDamage(
    place,
    () => {
      const view = SUPERBLOCK_V1.at(found.bytes);
      checkIdentity(view, found, place);
      proven = view;
      return decodeChecked(view, found, place, imageSizeBytes);
    },
    () => (proven === null ? null : claimOf(proven, found)),
  );
}

/** That these bytes are a whole superblock and belong here. */
function checkIdentity(view: V1View, found: UncheckedBytes, place: SuperblockPlace): void {
  if (view.number('magic') !== MD_MAGIC) damaged('no magic');
  const major = view.number('major_version');
  if (major !== 1) damaged(`major_version is ${major}, a superblock at this place has 1`);
  const maxDev = view.number('max_dev');
  if (maxDev > MAX_DEV_V1) damaged(`max_dev is ${maxDev}, there is room for ${MAX_DEV_V1}`);
  const stored = view.number('sb_csum');
  const sum = checksumV1(found.bytes, maxDev);
  if (stored !== sum) damaged(`checksum is ${hex(stored)}, its content has ${hex(sum)}`);
  const superOffset = view.big('super_offset');
  if (superOffset !== BigInt(place.superOffset / SECTOR_BYTES)) {
    damaged(
      `super_offset says sector ${superOffset}, it was found at sector ${place.superOffset / SECTOR_BYTES}: the image was cut, grown or copied to another place`,
    );
  }
}

function claimOf(view: V1View, found: UncheckedBytes): DamagedSuperblock['claim'] {
  const roles = decodeRoles(found.bytes, view.number('max_dev'));
  return {
    setUuid: formatUuid(view.bytes('set_uuid')),
    setName: nameOf(view),
    role: roles[view.number('dev_number')] ?? 'spare',
  };
}

function decodeChecked(
  view: V1View,
  found: UncheckedBytes,
  place: SuperblockPlace,
  imageSizeBytes: number,
): Superblock {
  const features = decodeFeatures(view.number('feature_map'));
  if (view.number('pad0') !== 0 || view.bytes('pad3').some((byte) => byte !== 0)) {
    damaged('reserved bytes are not zero: a newer md wrote it, or it is damaged');
  }
  const maxDev = view.number('max_dev');
  const roles = decodeRoles(found.bytes, maxDev);
  const deviceNumber = view.number('dev_number');
  // Kernel: bind_rdev_to_array turns it away.
  if (deviceNumber >= MAX_DEV_V1) {
    damaged(`dev_number is ${deviceNumber}, an array is limited to ${MAX_DEV_V1} devices`);
  }
  const role = roles[deviceNumber] ?? 'spare';
  const memberSizeBytes = fieldToBytes('size', view.big('size'));
  const shape = {
    level: view.number('level'),
    layout: view.number('layout'),
    chunkBytes: view.number('chunksize') * SECTOR_BYTES,
    raidDisks: view.number('raid_disks'),
    memberSizeBytes,
  };
  checkShape(shape, MAX_DEV_V1);
  if ((features.raw & FEATURE.raid0Layout) !== 0 && shape.level !== 0) {
    damaged('feature_map claims a layout of RAID-0, the level is another');
  }
  const data = decodeDataArea(view, place, maxDev, imageSizeBytes, role === 'journal' ? 0 : memberSizeBytes);
  const logs = decodeLogs(view, features, place, data.taken, imageSizeBytes);
  return {
    version: place.version,
    superOffset: place.superOffset,
    setUuid: formatUuid(view.bytes('set_uuid')),
    setName: nameOf(view),
    ctime: Number(view.big('ctime') & SECONDS_MASK),
    utime: Number(view.big('utime') & SECONDS_MASK),
    ...shape,
    dataOffset: data.dataOffset,
    dataSizeBytes: data.dataSizeBytes,
    deviceUuid: formatUuid(view.bytes('device_uuid')),
    deviceNumber,
    roles,
    events: view.big('events'),
    resyncOffset: progress(view.big('resync_offset'), memberSizeBytes),
    recoveryOffset: features.recoveryOffset
      ? (progress(view.big('recovery_offset'), memberSizeBytes) ?? memberSizeBytes)
      : null,
    stamp: features.recoveryOffset ? 0n : view.big('recovery_offset'),
    features,
    ...logs,
    reshape: features.reshape ? decodeReshape(view) : null,
    raw: found.bytes.slice(0, superblockBytesV1(maxDev)),
  };
}

function decodeFeatures(raw: number): SuperblockFeatures {
  const has = (bit: number): boolean => (raw & bit) !== 0;
  if (has(FEATURE.ppl) && has(FEATURE.multiplePpls))
    damaged('feature_map claims one and several partial parity logs');
  const ppl = has(FEATURE.ppl | FEATURE.multiplePpls);
  if (ppl && has(FEATURE.bitmap | FEATURE.journal)) {
    damaged('feature_map claims a partial parity log beside a bitmap or journal, which md excludes');
  }
  return {
    raw,
    bitmap: has(FEATURE.bitmap),
    recoveryOffset: has(FEATURE.recoveryOffset),
    reshape: has(FEATURE.reshape),
    badBlocks: has(FEATURE.badBlocks),
    replacement: has(FEATURE.replacement),
    recoveryBitmap: has(FEATURE.recoveryBitmap),
    clustered: has(FEATURE.clustered),
    journal: has(FEATURE.journal),
    ppl,
    unknown: (raw & ~KNOWN_FEATURES) >>> 0,
  };
}

export function decodeRoles(bytes: Uint8Array, maxDev: number): DeviceRole[] {
  return Array.from({ length: maxDev }, (_, index) => {
    const at = SUPERBLOCK_V1.sizeBytes + index * DEVICE_ROLE_V1.sizeBytes;
    return decodeRole(DEVICE_ROLE_V1.at(bytes, at).number('role'));
  });
}

function decodeRole(stored: number): DeviceRole {
  if (stored === ROLE_SPARE) return 'spare';
  if (stored === ROLE_FAULTY) return 'faulty';
  return stored === ROLE_JOURNAL ? 'journal' : stored;
}

function decodeReshape(view: V1View): Superblock['reshape'] {
  return {
    newLevel: view.number('new_level'),
    newLayout: view.number('new_layout'),
    newChunkBytes: view.number('new_chunk') * SECTOR_BYTES,
    deltaDisks: view.number('delta_disks'),
    position: view.big('reshape_position') * BigInt(SECTOR_BYTES),
  };
}

/** How far a resync or rebuild has come; null: to the end, whichever way md said so. */
function progress(sectors: bigint, memberSizeBytes: number): number | null {
  if (sectors === ALL_ONES) return null;
  const bytes = sectorsToBytes(sectors);
  return bytes === null || bytes >= memberSizeBytes ? null : bytes;
}

function nameOf(view: V1View): string {
  const bytes = view.bytes('set_name');
  const end = bytes.indexOf(0);
  return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0');
}
