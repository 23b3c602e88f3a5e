/**
 * Reads superblocks of version 0.90 (Linux drivers/md/md.c, super_90_load and super_90_validate). They lie in
 * the last 64 KiB of an image, know KiB and 27 members at most, and were written in the byte order of the
 * machine: those of a big-endian one are recognised and refused.
 *
 * Invariant: a rebuild leaves no trace in this version. Who is being rebuilt is a spare until it is in sync.
 */

import type { UncheckedBytes } from '../../structure.js';
import { foldSum, superblockSum } from './checksums.js';
import { MD_MAGIC } from './fields-superblock.js';
import { DISK_STATE, DISK_V090, DISKS_V090, STATE_V090, SUPERBLOCK_V090 } from './fields-superblock-v090.js';
import {
  type DamagedSuperblock,
  type DeviceRole,
  SECTOR_BYTES,
  type Superblock,
  type SuperblockFeatures,
} from './model.js';
import { damaged, decodeOrDamage, mustBeApart, type SuperblockPlace } from './places.js';
import { checkShape } from './shape.js';
import { formatUuid, reverseGroups } from './uuid.js';

const KIB = 1024;
const MINOR = 90;
const MINOR_RESHAPE = 91;
const MAGIC_BIG_ENDIAN = 0xfc4e_2ba9;

type V090View = ReturnType<(typeof SUPERBLOCK_V090)['at']>;

export function isBigEndianV090(bytes: Uint8Array): boolean {
  return SUPERBLOCK_V090.at(bytes).number('md_magic') === MAGIC_BIG_ENDIAN;
}

export function checksumV090(raw: Uint8Array): number {
  return superblockSum(raw, SUPERBLOCK_V090.sizeBytes, SUPERBLOCK_V090.offsetOf('sb_csum'));
}

export function diskAt(raw: Uint8Array, number: number): ReturnType<(typeof DISK_V090)['at']> {
  return DISK_V090.at(raw, SUPERBLOCK_V090.offsetOf('disks') + number * DISK_V090.sizeBytes);
}

/** `found` has the magic of md in either byte order and was read at `place`. */
export function decodeSuperblockV090(
  found: UncheckedBytes,
  place: SuperblockPlace,
  imageSizeBytes: number,
): Superblock | DamagedSuperblock {
  let proven: V090View | null = null;
  return decodeOrDamage(
    place,
    () => {
      const view = SUPERBLOCK_V090.at(found.bytes);
      checkIdentity(view, found);
      proven = view;
      return decodeChecked(view, found, place, imageSizeBytes);
    },
    () =>
      proven === null ? null : { setUuid: uuidOf(proven), setName: '', role: ownRole(proven, found.bytes) },
  );
}

function checkIdentity(view: V090View, found: UncheckedBytes): void {
  if (isBigEndianV090(found.bytes)) {
    damaged(
      'a big-endian machine wrote it, whose byte order is not read here: mdadm --update=byteorder converts it',
    );
  }
  if (view.number('md_magic') !== MD_MAGIC) damaged('no magic');
  const major = view.number('major_version');
  if (major !== 0) damaged(`major_version is ${major}, a superblock at this place has 0`);
  const minor = view.number('minor_version');
  if (minor !== MINOR && minor !== MINOR_RESHAPE) damaged(`minor_version is ${minor}, md knows 90 and 91`);
  const stored = view.number('sb_csum');
  const sum = checksumV090(found.bytes);
  if (foldSum(stored) !== foldSum(sum)) {
    damaged(`checksum is ${stored.toString(16)}, its content has ${sum.toString(16)}`);
  }
}

function decodeChecked(
  view: V090View,
  found: UncheckedBytes,
  place: SuperblockPlace,
  imageSizeBytes: number,
): Superblock {
  const memberSizeBytes = view.number('size') * KIB;
  const shape = {
    level: view.number('level'),
    layout: view.number('layout'),
    chunkBytes: view.number('chunk_size'),
    raidDisks: view.number('raid_disks'),
    memberSizeBytes,
  };
  checkShape(shape, DISKS_V090);
  if (memberSizeBytes > place.superOffset) {
    damaged(
      `size says ${memberSizeBytes} bytes are used, the superblock is at ${place.superOffset}: was the image cut?`,
    );
  }
  const roles = decodeRolesV090(found.bytes);
  const number = DISK_V090.at(view.bytes('this_disk')).number('number');
  const features = featuresOf(view);
  return {
    version: '0.90',
    superOffset: place.superOffset,
    setUuid: uuidOf(view),
    setName: '',
    ctime: view.number('ctime'),
    utime: view.number('utime'),
    ...shape,
    dataOffset: 0,
    dataSizeBytes: place.superOffset,
    deviceUuid: '',
    deviceNumber: number,
    roles,
    events: eventsOf(view),
    resyncOffset: resyncOffsetOf(view, memberSizeBytes),
    recoveryOffset: null,
    stamp: view.big('opening_stamp'),
    features,
    bitmapOffset: features.bitmap ? bitmapPlace(place, imageSizeBytes) : null,
    ppl: null,
    badBlockLog: null,
    reshape: features.reshape ? decodeReshape(view) : null,
    raw: found.bytes.slice(0, SUPERBLOCK_V090.sizeBytes),
  };
}

/** Kernel: the bitmap of 0.90 follows the superblock, there is no field for its place. */
function bitmapPlace(place: SuperblockPlace, imageSizeBytes: number): number {
  const start = place.superOffset + SUPERBLOCK_V090.sizeBytes;
  mustBeApart({ what: 'the bitmap', start, end: start + SECTOR_BYTES }, [], imageSizeBytes);
  return start;
}

function eventsOf(view: V090View): bigint {
  return (BigInt(view.number('events_hi')) << 32n) | BigInt(view.number('events_lo'));
}

/** Kernel: super_90_validate. The checkpoint counts only if it was written with this very event count. */
function resyncOffsetOf(view: V090View, memberSizeBytes: number): number | null {
  if ((view.number('state') & STATE_V090.clean) !== 0) return null;
  const current =
    view.number('cp_events_lo') === view.number('events_lo') &&
    view.number('cp_events_hi') === view.number('events_hi');
  if (!current) return 0;
  const bytes = view.number('recovery_cp') * SECTOR_BYTES;
  return bytes >= memberSizeBytes ? null : bytes;
}

export function decodeRolesV090(bytes: Uint8Array): DeviceRole[] {
  return Array.from({ length: DISKS_V090 }, (_, number) => {
    const disk = diskAt(bytes, number);
    const state = disk.number('state');
    if ((state & DISK_STATE.faulty) !== 0) return 'faulty';
    return (state & DISK_STATE.sync) !== 0 ? disk.number('raid_disk') : 'spare';
  });
}

function ownRole(view: V090View, bytes: Uint8Array): DeviceRole {
  return decodeRolesV090(bytes)[DISK_V090.at(view.bytes('this_disk')).number('number')] ?? 'spare';
}

function featuresOf(view: V090View): SuperblockFeatures {
  // All ones is md's "no reshape", which mdadm leaves behind with minor version 91.
  const reshape =
    view.number('minor_version') === MINOR_RESHAPE && view.big('reshape_position') !== 0xffff_ffff_ffff_ffffn;
  return {
    raw: 0,
    bitmap: (view.number('state') & STATE_V090.bitmap) !== 0,
    recoveryOffset: false,
    reshape,
    badBlocks: false,
    replacement: false,
    recoveryBitmap: false,
    clustered: false,
    journal: false,
    ppl: false,
    unknown: 0,
  };
}

function decodeReshape(view: V090View): Superblock['reshape'] {
  return {
    newLevel: view.number('new_level'),
    newLayout: view.number('new_layout'),
    newChunkBytes: view.number('new_chunk'),
    deltaDisks: view.number('delta_disks'),
    position: view.big('reshape_position') * BigInt(SECTOR_BYTES),
  };
}

/** As mdadm shows it: four numbers, not sixteen bytes. */
function uuidOf(view: V090View): string {
  const words = new Uint8Array(16);
  const out = new DataView(words.buffer);
  out.setUint32(0, view.number('set_uuid0'), true);
  out.setUint32(4, view.number('set_uuid1'), true);
  out.setUint32(8, view.number('set_uuid2'), true);
  out.setUint32(12, view.number('set_uuid3'), true);
  return formatUuid(reverseGroups(words));
}
