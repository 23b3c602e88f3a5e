/**
 * Where records lie: in the gap between a member's metadata and its data, or in a file of their own.
 *
 * md uses that gap too (`mdadm --grow` moves the data offset into it, a bitmap or PPL may be added), so the place is
 * computed anew at every opening, from the front: behind all that md has there, and only if it ends before the
 * data. It depends on nothing but the member's own metadata: whoever opens the member finds it.
 *
 * A place has two slots, and what is newest in a place is never overwritten: the next record goes to the other slot.
 */
import type { BlockDevice } from '../../device/contract.js';
import { bitmapLengthBytes } from '../md/bitmap-copy.js';
import type { Superblock } from '../md/model.js';
import { recordBytes } from './codec.js';

export const SLOTS = 2;
const BLOCK_BYTES = 4096;
/** md's superblock and the bad-block log and bitmap that mdadm puts behind it by default. */
const MD_BYTES = 36 * 1024;
const MAX_SLOT_BYTES = 64 * 1024;
const MAX_HASHES = 3 * 64;

export interface RecordPlace {
  readonly device: BlockDevice;
  /** Of the first slot; the second follows it. */
  readonly offset: number;
  readonly slotBytes: number;
}

/** What says how many stripes there are. */
type StripeShape = Pick<Superblock, 'memberSizeBytes' | 'chunkBytes'>;

/** Enough for an entry for each stripe, but no more than 64 KiB: what is too much for that is joined. */
export function fullSlotBytes({ memberSizeBytes, chunkBytes }: StripeShape): number {
  const stripes = Math.floor(memberSizeBytes / chunkBytes);
  return Math.min(MAX_SLOT_BYTES, recordBytes(MAX_HASHES + 2 * stripes));
}

/** Where a member's records lie, or why it has none. */
export async function memberPlace(
  device: BlockDevice,
  superblock: Superblock,
): Promise<RecordPlace | { reason: string }> {
  const { superOffset, dataOffset, version, features, level } = superblock;
  if (level !== 5) return { reason: `an array of level ${level} has no record of ours` };
  if (superOffset > dataOffset)
    return { reason: `metadata of version ${version} has no room before the data` };
  if (features.reshape) return { reason: 'its data is being moved (reshape)' };
  const ends = [superOffset + MD_BYTES];
  if (superblock.badBlockLog !== null)
    ends.push(superblock.badBlockLog.offset + superblock.badBlockLog.lengthBytes);
  if (superblock.ppl !== null) ends.push(superblock.ppl.offset + superblock.ppl.lengthBytes);
  if (superblock.bitmapOffset !== null) {
    const lengthBytes = await bitmapLengthBytes(device, superblock);
    if (lengthBytes === null) return { reason: 'how long its bitmap is cannot be told' };
    ends.push(superblock.bitmapOffset + lengthBytes);
  }
  const offset = Math.ceil(Math.max(...ends) / BLOCK_BYTES) * BLOCK_BYTES;
  const room = Math.floor((dataOffset - offset) / SLOTS / BLOCK_BYTES) * BLOCK_BYTES;
  if (room < recordBytes(MAX_HASHES + 1)) {
    return { reason: `between its metadata and its data at ${dataOffset} is no room for two slots` };
  }
  return { device, offset, slotBytes: Math.min(room, fullSlotBytes(superblock)) };
}

/** A file has as many places as a record has copies: a sector that cannot be read does not cost both. */
export function filePlaces(file: BlockDevice, superblock: Superblock, copies: number): RecordPlace[] {
  const slotBytes = fullSlotBytes(superblock);
  return Array.from({ length: copies }, (_, index) => ({
    device: file,
    offset: index * SLOTS * slotBytes,
    slotBytes,
  }));
}

/** Bytes of a record file for an array. */
export function fileBytes(shape: StripeShape, copies: number): number {
  return copies * SLOTS * fullSlotBytes(shape);
}
