/**
 * Who is in an array: fail, remove, add and replace, with what md wants of each (drivers/md/md.c:
 * set_disk_faulty, hot_remove_disk, md_add_new_disk; raid5.c: raid5_add_disk, raid5_spare_active).
 *
 * Every change is durable, two events ahead of whoever is out, before it is answered.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { RaidArray } from './array.js';
import { newUuid } from './create.js';
import { BadBlocks } from './md/bad-blocks.js';
import { joinSuperblock, superblockBytes } from './md/superblock.js';
import { ArrayMember, type Slot } from './member.js';

export function slotOf(array: RaidArray, index: number): Slot {
  const slot = array.core.slots[index];
  if (slot !== undefined) return slot;
  throw new UserError(
    'USAGE',
    `${array.name} has slots 0 to ${array.core.slots.length - 1}, no slot ${index}`,
  );
}

/** Takes the member in a slot out of service. Refused where the array could not go on without it. */
export async function failMember(array: RaidArray, index: number): Promise<ArrayMember> {
  const slot = slotOf(array, index);
  const { member } = slot;
  if (member === null || member.isFaulty) {
    throw new UserError('REFUSED', `${array.name}: slot ${index} has no member that could fail`);
  }
  const others = array.core.degradedSlots.filter((other) => other !== index);
  if (others.length > 0 && slot.replacement?.isInSync !== true) {
    throw new UserError(
      'REFUSED',
      `${array.name}: the member in slot ${index} is needed: slot ${others.join(', ')} has no good member already`,
      {
        hint: 'rebuild first; RAID-5 makes good for one member alone',
      },
    );
  }
  array.core.fail(member, new UserError('REFUSED', 'failed by request'));
  await array.metadata.recordFaults();
  return member;
}

/**
 * Takes a member that is out of service, or a spare, out of the array, and forgets its device number: its role becomes
 * spare, which is what md shows of failed and removed members. Its device may be closed when this returns.
 *
 * `member` is null for an image that never was one since the array was opened.
 */
export async function forgetMember(
  array: RaidArray,
  member: ArrayMember | null,
  deviceNumber: number,
): Promise<void> {
  const { core, metadata } = array;
  if (member !== null) await assertOut(array, member);
  const others = core.liveMembers().filter((other) => other !== member);
  const forget = () => (member === null ? undefined : core.forget(member));
  // A number can have been given to another member since: that one's role is not to be touched.
  if (others.some(({ superblock }) => superblock.deviceNumber === deviceNumber)) return forget();
  await metadata.changeMembers((roles) => {
    forget();
    // That of a broken spare may be anything, and numbers behind the table are spare as they are.
    if (deviceNumber < roles.length) roles[deviceNumber] = 'spare';
  });
}

/** Takes a member that is out of service out of the array, whose image is to come in anew; its number stays out. */
export async function dropMember(array: RaidArray, member: ArrayMember): Promise<void> {
  await assertOut(array, member);
  array.core.forget(member);
}

/** Who fails is in its slot until all others say so durably: as long as it is there, writes wait for that. */
async function assertOut(array: RaidArray, member: ArrayMember): Promise<void> {
  if (array.core.slotMembers().includes(member)) throw new Error(`${member.image} serves`);
  await array.metadata.recordFaults();
}

/** The slot that a new member would fill: the one asked for, else the lowest that nobody fills. */
export function freeSlot(array: RaidArray, index: number | undefined): Slot | null {
  if (index === undefined) return array.core.slots.find((slot) => slot.writers().length === 0) ?? null;
  const slot = slotOf(array, index);
  return slot.writers().length === 0 ? slot : null;
}

/**
 * Makes `device` a member: of a slot that nobody fills (its content is to be rebuilt), a replacement of the
 * one that fills it, or, without a slot, a spare. Its superblock is durable before the others name it.
 */
export async function joinMember(
  array: RaidArray,
  device: BlockDevice,
  slot: Slot | null,
): Promise<ArrayMember> {
  const { core, metadata } = array;
  const like = core.liveMembers()[0]?.superblock;
  if (like === undefined) throw new UserError('NOT_ASSEMBLED', `${array.name} has no good member`);
  if (slot !== null) assertSeat(array, slot);
  const deviceNumber = metadata.roles.freeNumber();
  const superblock = joinChecked(array, device, deviceNumber);
  // Written anew, durably, before any other names it (prepareNewMember, or with all others where it is a spare).
  await device.write(superblock.superOffset, superblockBytes(superblock));
  const member = new ArrayMember(device, superblock, BadBlocks.none(superblock));
  if (slot === null) {
    core.spares.push(member);
    await metadata.changeMembers(() => undefined);
    return member;
  }
  await seat(array, member, slot);
  return member;
}

/** Puts a member without content into a slot: from now on it is rebuilt. */
export async function seat(array: RaidArray, member: ArrayMember, slot: Slot): Promise<void> {
  assertSeat(array, slot);
  await array.metadata.prepareNewMember(member);
  await array.metadata.changeMembers(() => {
    const at = array.core.spares.indexOf(member);
    if (at >= 0) array.core.spares.splice(at, 1);
    slot.take(member);
  });
}

/** Throws UNSUPPORTED for two members in one slot where 0.90 cannot say which of them is whole. */
export function assertSeat(array: RaidArray, slot: Slot): void {
  const [serving] = slot.writers();
  if (serving?.superblock.version !== '0.90') return;
  throw new UserError(
    'UNSUPPORTED',
    `${array.name} has metadata of version 0.90, which knows no replacement`,
    {
      hint: `fail the member in slot ${slot.index} first (holdfast member fail), then add another image`,
      details: { slot: slot.index, image: serving.image },
    },
  );
}

/** Throws REFUSED for a device that is too small to become a member. */
export function assertFits(array: RaidArray, device: BlockDevice): void {
  joinChecked(array, device, array.metadata.roles.freeNumber());
}

function joinChecked(array: RaidArray, device: BlockDevice, deviceNumber: number) {
  const like = array.core.liveMembers()[0]!.superblock;
  try {
    return joinSuperblock(like, { imageSizeBytes: device.size, deviceUuid: newUuid(), deviceNumber });
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UserError('REFUSED', `${device.name} cannot be a member of ${array.name}: ${error.message}`, {
      hint: `an image of at least ${like.dataOffset + like.memberSizeBytes} bytes is needed`,
      details: { image: device.name, neededBytes: like.dataOffset + like.memberSizeBytes },
      cause: error,
    });
  }
}
