/**
 * Superblocks of any version: changing one, and making one for a member that joins an array.
 *
 * Invariant: what is to be written is decoded again before it is handed out, so that no write of ours ever
 * leaves a superblock that our own checks, which are at least the kernel's, would refuse.
 */

import { UncheckedBytes } from '../../structure.js';
import type { DeviceRole, Superblock, SuperblockChange } from './model.js';
import { isDamaged, type SuperblockPlace } from './places.js';
import { decodeSuperblockV1 } from './superblock-v1.js';
import { encodeSuperblockV1, type JoinOptions, joinSuperblockV1 } from './superblock-v1-encode.js';
import { decodeSuperblockV090 } from './superblock-v090.js';
import { encodeSuperblockV090, joinSuperblockV090 } from './superblock-v090-encode.js';

export { type FormatOptions, formatSuperblock, type JoinOptions } from './superblock-v1-encode.js';

/** What is written at `superOffset`: whole sectors, all of the superblock and nothing behind it. */
export function superblockBytes(superblock: Superblock): Uint8Array {
  return superblock.raw;
}

/**
 * The superblock after the change, with its bytes; `superblock` stays as it is. Throws RangeError for what
 * the format cannot hold. In 0.90 a member with a recovery offset becomes a spare.
 */
export function changeSuperblock(superblock: Superblock, change: SuperblockChange): Superblock {
  const raw =
    superblock.version === '0.90'
      ? encodeSuperblockV090(superblock, change)
      : encodeSuperblockV1(superblock, change);
  return decodeOwn(raw, superblock);
}

/**
 * A superblock for a new member of the array that `like`, an in-sync member, is of. It has the events and
 * roles of `like`: change them (its number among the roles, its recovery offset) before it is written.
 */
export function joinSuperblock(like: Superblock, options: JoinOptions): Superblock {
  const joined =
    like.version === '0.90' ? joinSuperblockV090(like, options) : joinSuperblockV1(like, options);
  return decodeOwn(
    joined.raw,
    { version: like.version, superOffset: joined.superOffset },
    options.imageSizeBytes,
  );
}

/** Without a size, the places were checked against the image when the superblock was read. */
function decodeOwn(
  raw: Uint8Array,
  place: SuperblockPlace,
  imageSizeBytes = Number.MAX_SAFE_INTEGER,
): Superblock {
  const found = new UncheckedBytes(raw, place.superOffset);
  const decode = place.version === '0.90' ? decodeSuperblockV090 : decodeSuperblockV1;
  const decoded = decode(found, { version: place.version, superOffset: place.superOffset }, imageSizeBytes);
  if (isDamaged(decoded)) throw new RangeError(`the change makes no valid superblock: ${decoded.reason}`);
  return decoded;
}

/** What the member's own copy says it is. A number outside the table is a spare, as the kernel has it. */
export function ownRole(superblock: Superblock): DeviceRole {
  return roleOf(superblock, superblock.deviceNumber);
}

/** What a superblock says of a device number. */
export function roleOf(superblock: Superblock, deviceNumber: number): DeviceRole {
  return superblock.roles[deviceNumber] ?? 'spare';
}
