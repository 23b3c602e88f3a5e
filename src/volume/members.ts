/**
 * Members of a volume: the images behind `member add | replace`; how they leave it is removal.ts's. What happens to the
 * array is src/raid/membership.ts.
 */

import { stat } from 'node:fs/promises';
import type { BlockDevice } from '../device/contract.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import { examineImage } from '../raid/md/examine.js';
import type { ExaminedImage } from '../raid/md/model.js';
import type { ArrayMember, Slot } from '../raid/member.js';
import { assertFits, assertSeat, freeSlot, joinMember, seat, slotOf } from '../raid/membership.js';
import type { RebuildResult } from '../raid/rebuild.js';
import type { SweepOptions } from '../raid/sweep.js';
import { firstContent } from './blank.js';
import { sameFile } from './locate.js';
import { listImage } from './manifest-images.js';
import { arrayOf, type Volume } from './model.js';
import { isRemote } from './remote.js';
import { releaseImage } from './removal.js';

export interface AddMemberOptions {
  /** The image to add; made if it is not there. Without one, what is begun goes on, or a spare is taken. */
  readonly image?: string | undefined;
  readonly slot?: number | undefined;
  /** The slot's member serves until the new one is whole. */
  readonly replace: boolean;
  /** Overwrite an image that holds something else. */
  readonly force: boolean;
  readonly sweep?: Omit<SweepOptions, 'checkpoint'>;
}

export interface AddedMember {
  readonly image: string;
  readonly slot: number | null;
  /** null: it became a spare. */
  readonly rebuild: RebuildResult | null;
}

/** Members that were begun and not finished, in slots. */
export function unfinished(array: RaidArray): { slot: Slot; member: ArrayMember }[] {
  return array.core.slots.flatMap((slot) =>
    slot
      .writers()
      .flatMap((member) => (member.isRebuilding || member === slot.replacement ? [{ slot, member }] : [])),
  );
}

/** Rebuilds that a stop or a crash has left go on from where they were. */
export async function finishRebuilds(
  volume: Volume,
  sweep: AddMemberOptions['sweep'] = {},
): Promise<RebuildResult[]> {
  const results: RebuildResult[] = [];
  if (volume.array === null) return results;
  for (const { slot, member } of unfinished(volume.array))
    results.push(await volume.array.rebuild(slot, member, sweep));
  return results;
}

export async function addMember(volume: Volume, options: AddMemberOptions): Promise<AddedMember> {
  const array = arrayOf(volume);
  const begun = await findBegun(array, options);
  if (begun !== null) return finish(array, begun.slot, begun.member, options);
  const slot = chooseSlot(array, options);
  const spare = slot === null ? null : await chooseSpare(array, options.image);
  if (slot !== null && spare !== null) {
    await seat(array, spare, slot);
    return finish(array, slot, spare, options);
  }
  if (options.image === undefined) throw noImage(volume);
  if (slot !== null) assertSeat(array, slot);
  await releaseImage(volume, options.image);
  const device = await openNewMember(array, options.image, options.force);
  // Whatever happens from here on, the array may write to it until it is closed.
  volume.held.add(device);
  const member = await joinMember(array, device, slot);
  await listImage(volume, options.image);
  if (slot === null) return { image: options.image, slot: null, rebuild: null };
  return finish(array, slot, member, options);
}

async function finish(
  array: RaidArray,
  slot: Slot,
  member: ArrayMember,
  options: AddMemberOptions,
): Promise<AddedMember> {
  return { image: member.image, slot: slot.index, rebuild: await array.rebuild(slot, member, options.sweep) };
}

/** What was begun for this slot (and of this image) goes on from where it was. */
async function findBegun(array: RaidArray, options: AddMemberOptions) {
  for (const begun of unfinished(array)) {
    if (options.slot !== undefined && begun.slot.index !== options.slot) continue;
    if (options.image === undefined || (await sameFile(begun.member.image, options.image))) return begun;
  }
  return null;
}

/** The slot that the image would come into; null: none is free, it would be a spare. Throws where it could not. */
export function chooseSlot(
  array: RaidArray,
  options: Pick<AddMemberOptions, 'slot' | 'replace'>,
): Slot | null {
  if (!options.replace) {
    const slot = freeSlot(array, options.slot);
    if (slot === null && options.slot !== undefined) {
      throw new UserError('REFUSED', `${array.name}: slot ${options.slot} has a member already`, {
        hint: `holdfast member replace --slot ${options.slot} puts another image in its place`,
      });
    }
    return slot;
  }
  if (options.slot === undefined)
    throw new UserError('USAGE', 'replace wants --slot: which member is to be replaced?');
  const slot = slotOf(array, options.slot);
  if (slot.replacement?.isFaulty === false) {
    throw new UserError(
      'REFUSED',
      `${array.name}: slot ${slot.index} is being replaced already, by ${slot.replacement.image}`,
      {
        hint: `holdfast member replace --slot ${slot.index} --image ${slot.replacement.image} goes on with it`,
      },
    );
  }
  return slot;
}

async function chooseSpare(array: RaidArray, image: string | undefined): Promise<ArrayMember | null> {
  for (const spare of array.core.spares) {
    if (!spare.isFaulty && (image === undefined || (await sameFile(spare.image, image)))) return spare;
  }
  return null;
}

async function openNewMember(array: RaidArray, image: string, force: boolean): Promise<BlockDevice> {
  const exists = isRemote(image) || (await stat(image).catch(() => null)) !== null;
  const size = Math.max(...array.core.liveMembers().map((member) => member.device.size));
  const device = await openImage(image, { readOnly: false, ...(exists ? {} : { create: { size } }) });
  try {
    const examined = await examineImage(device);
    if (exists && !force && !isOurs(array, examined)) await refuseContent(device);
    assertFits(array, device);
    await wipeSuperblocks(examined);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** A member of this very set that is out of it: what it holds is old content of this array. */
function isOurs(array: RaidArray, examined: ExaminedImage): boolean {
  const set = array.core.liveMembers()[0]?.superblock.setUuid;
  return examined.superblocks[0]?.setUuid === set;
}

async function refuseContent(device: BlockDevice): Promise<void> {
  const offset = await firstContent(device);
  if (offset === null) return;
  throw new UserError('NOT_BLANK', `${device.name} is not blank: it holds data at offset ${offset}`, {
    hint: 'name another image; --force --yes overwrites this one, and what it holds is lost',
    details: { image: device.name, offsetBytes: offset },
  });
}

/** A superblock that stays at another place would make the image a member of two arrays. */
async function wipeSuperblocks(examined: ExaminedImage): Promise<void> {
  const places = [...examined.superblocks, ...examined.damaged].map((found) => found.superOffset);
  for (const place of places) await examined.device.write(place, new Uint8Array(512), { fua: true });
}

function noImage(volume: Volume): UserError {
  return new UserError(
    'USAGE',
    `${volume.label}: nothing is begun and there is no spare: which image is to be added?`,
    {
      hint: 'holdfast member add VOLUME --image FILE (a file that is not there yet is made)',
    },
  );
}
