/**
 * Writes changes of superblocks of version 0.90 over their own bytes (Linux drivers/md/md.c, super_90_sync)
 * and the superblock of a member that joins such an array.
 *
 * Invariants
 * - Counters of members are made anew from the table whenever roles change: they never disagree with it.
 * - A member that is being rebuilt is written as a spare: the format cannot say how far it is, and "in sync"
 *   would make the kernel believe all of it.
 * - There is no room for a bad block log: asking for one is refused.
 * - The stamp lies where the kernel, which makes its superblock anew each time, writes zeroes (super_90_sync).
 */
import { DISK_STATE, DISK_V090, DISKS_V090, STATE_V090, SUPERBLOCK_V090 } from './fields-superblock-v090.js';
import { type DeviceRole, SECTOR_BYTES, type Superblock, type SuperblockChange } from './model.js';
import { superblockPlaces } from './places.js';
import type { JoinOptions } from './superblock-v1-encode.js';
import { checksumV090, decodeRolesV090, diskAt } from './superblock-v090.js';

type V090View = ReturnType<(typeof SUPERBLOCK_V090)['at']>;

const CLEAN_CHECKPOINT = 0xffff_ffff;

/** What the bytes become. Throws RangeError for a change that they cannot hold. */
export function encodeSuperblockV090(superblock: Superblock, change: SuperblockChange): Uint8Array {
  if (change.badBlocks === true) throw new RangeError('a member of version 0.90 has no bad block log');
  if (change.replacement === true) throw new RangeError('version 0.90 has no hot replacement');
  const raw = superblock.raw.slice();
  const view = SUPERBLOCK_V090.at(raw);
  if (change.utime !== undefined) view.setNumber('utime', change.utime);
  // As in version 1, a member that is being rebuilt has none.
  if (typeof change.recoveryOffset === 'number') view.setBig('opening_stamp', 0n);
  else if (change.stamp !== undefined) view.setBig('opening_stamp', change.stamp);
  if (change.events !== undefined || change.resyncOffset !== undefined) {
    const resyncOffset = change.resyncOffset === undefined ? superblock.resyncOffset : change.resyncOffset;
    writeState(view, change.events ?? superblock.events, resyncOffset);
  }
  const number = change.deviceNumber ?? superblock.deviceNumber;
  if (
    change.roles !== undefined ||
    change.recoveryOffset !== undefined ||
    change.deviceNumber !== undefined
  ) {
    const roles = [...(change.roles ?? superblock.roles)];
    if (typeof change.recoveryOffset === 'number') roles[number] = 'spare';
    writeRoles(view, raw, roles, number);
  }
  return seal(raw);
}

/** As joinSuperblockV1. `roles` of `like` say nothing of the new number yet: it is a spare. */
export function joinSuperblockV090(
  like: Superblock,
  options: JoinOptions,
): { superOffset: number; raw: Uint8Array } {
  const place = superblockPlaces(options.imageSizeBytes).find((candidate) => candidate.version === '0.90');
  if (place === undefined || place.superOffset < like.memberSizeBytes) {
    throw new RangeError(
      `an image of ${options.imageSizeBytes} bytes has no room for ${like.memberSizeBytes} bytes of data`,
    );
  }
  const raw = like.raw.slice();
  writeRoles(SUPERBLOCK_V090.at(raw), raw, like.roles, options.deviceNumber);
  return { superOffset: place.superOffset, raw: seal(raw) };
}

/**
 * The checkpoint moves along with the event count: with another one it would count for nothing. An active
 * array has none, which the kernel writes as zeroes.
 */
function writeState(view: V090View, events: bigint, resyncOffset: number | null): void {
  const checkpointEvents = resyncOffset === 0 ? 0n : events;
  view.setNumber('events_lo', low(events));
  view.setNumber('events_hi', Number(events >> 32n));
  view.setNumber('cp_events_lo', low(checkpointEvents));
  view.setNumber('cp_events_hi', Number(checkpointEvents >> 32n));
  const others = (view.number('state') & ~STATE_V090.clean) >>> 0;
  view.setNumber('state', resyncOffset === null ? others | STATE_V090.clean : others);
  view.setNumber('recovery_cp', resyncOffset === null ? CLEAN_CHECKPOINT : checkpointSector(resyncOffset));
}

function low(events: bigint): number {
  return Number(events & 0xffff_ffffn);
}

/** The field has 32 bits: a checkpoint that it cannot hold is as good as none. */
function checkpointSector(resyncOffset: number): number {
  const sector = Math.floor(resyncOffset / SECTOR_BYTES);
  return sector < CLEAN_CHECKPOINT ? sector : 0;
}

function writeRoles(view: V090View, raw: Uint8Array, roles: readonly DeviceRole[], ownNumber: number): void {
  const raidDisks = view.number('raid_disks');
  if (ownNumber >= DISKS_V090) throw new RangeError(`version 0.90 has no device number ${ownNumber}`);
  for (let number = 0; number < DISKS_V090; number++) {
    writeDisk(raw, number, roles[number] ?? 'spare', number === ownNumber, raidDisks);
  }
  if (roles.findLastIndex((role) => role !== 'spare') >= DISKS_V090) {
    throw new RangeError('version 0.90 has room for 27 members');
  }
  view.setBytes('this_disk', raw.slice(...stretchOf(ownNumber)));
  writeCounters(view, raw, raidDisks);
}

function stretchOf(number: number): [number, number] {
  const start = SUPERBLOCK_V090.offsetOf('disks') + number * DISK_V090.sizeBytes;
  return [start, start + DISK_V090.sizeBytes];
}

/**
 * The numbers below raid_disks are those of the slots: who is in none of them is removed there, as the kernel
 * writes it. Spares and members that failed have higher numbers, but for the copy on themselves.
 */
function writeDisk(raw: Uint8Array, number: number, role: DeviceRole, own: boolean, raidDisks: number): void {
  const disk = diskAt(raw, number);
  const known = DISK_STATE.faulty | DISK_STATE.active | DISK_STATE.sync | DISK_STATE.removed;
  const flags = disk.number('state') & ~known;
  if (typeof role === 'number') {
    fill(disk, number, role, flags | DISK_STATE.active | DISK_STATE.sync);
  } else if (own || (number >= raidDisks && isPresent(raw, number))) {
    fill(disk, number, number, role === 'faulty' ? flags | DISK_STATE.faulty : flags);
  } else if (number < raidDisks) {
    fill(disk, number, number, DISK_STATE.faulty | DISK_STATE.removed);
  }
}

/** Whether some member has the number, of whatever kind. */
function isPresent(raw: Uint8Array, number: number): boolean {
  const disk = diskAt(raw, number);
  const state = disk.number('state');
  if ((state & DISK_STATE.removed) !== 0) return false;
  return state !== 0 || disk.number('major') !== 0 || disk.number('minor') !== 0;
}

function fill(disk: ReturnType<typeof diskAt>, number: number, raidDisk: number, state: number): void {
  disk.setNumber('number', number);
  disk.setNumber('raid_disk', raidDisk);
  disk.setNumber('state', state >>> 0);
}

function writeCounters(view: V090View, raw: Uint8Array, raidDisks: number): void {
  const roles = decodeRolesV090(raw);
  const ownNumber = DISK_V090.at(view.bytes('this_disk')).number('number');
  const active = roles.filter((role) => typeof role === 'number').length;
  const faulty = roles.filter((role, number) => role === 'faulty' && isPresent(raw, number)).length;
  const spare = roles.filter(
    (role, number) => role === 'spare' && (isPresent(raw, number) || number === ownNumber),
  ).length;
  view.setNumber('active_disks', active);
  view.setNumber('spare_disks', spare);
  view.setNumber('working_disks', active + spare);
  view.setNumber('failed_disks', Math.max(0, raidDisks - active));
  view.setNumber('nr_disks', active + spare + faulty);
}

function seal(raw: Uint8Array): Uint8Array {
  SUPERBLOCK_V090.at(raw).setNumber('sb_csum', checksumV090(raw));
  return raw;
}
