/**
 * A damaged superblock of version 1, made whole from those of the other members; only where that can be proven.
 *
 * What all members have in common (UUID, shape, events, roles, ...) is taken from another member. If with it the
 * damaged one's own checksum, as it was found, is right again, then the damage lay in those fields and nowhere else:
 * what is the member's own (its number, its UUID, how far it is rebuilt) is whole, and it had the same events as
 * that other member. The proof is as good as the checksum itself. Where no checksum comes out right nothing is made up.
 *
 * The checksum is a sum, so two fields that were both replaced by wrong values may cancel out. Where the data lies and
 * how much of it there is do just that (on images of one size their sum is the same): they are never replaced.
 */

import { fieldBytes, UncheckedBytes } from '../../structure.js';
import { SUPERBLOCK_V1 } from './fields-superblock.js';
import { SECTOR_BYTES, type Superblock } from './model.js';
import { isDamaged, SUPERBLOCK_READ_BYTES, superblockPlaces } from './places.js';
import { checksumV1, decodeSuperblockV1 } from './superblock-v1.js';

type FieldName = (typeof SUPERBLOCK_V1)['fields'][number]['name'];

/** The same on all members of an array that runs (Linux drivers/md/md.c, super_1_sync). */
const SHARED: readonly FieldName[] = [
  'magic',
  'major_version',
  'pad0',
  'set_uuid',
  'set_name',
  'ctime',
  'level',
  'layout',
  'size',
  'chunksize',
  'raid_disks',
  'new_level',
  'reshape_position',
  'delta_disks',
  'new_layout',
  'new_chunk',
  'utime',
  'events',
  'resync_offset',
  'max_dev',
  'pad3',
];

/** The bitmap lies alike on all members; partial parity logs, in the same bytes, need not. */
const WITH_BITMAP: readonly FieldName[] = [...SHARED, 'bitmap_offset'];
/** Unless one is being rebuilt, or has bad blocks. */
const WITH_FEATURES: readonly FieldName[] = [...WITH_BITMAP, 'feature_map'];

/**
 * `found` was read at the place of `like`'s version in an image of that size; `donors` are good superblocks of the
 * array. null: it cannot be proven what it was.
 */
export function restoreSuperblockV1(
  found: UncheckedBytes,
  imageSizeBytes: number,
  donors: readonly Superblock[],
): Superblock | null {
  const proven = new Map<string, Superblock>();
  for (const donor of donors) {
    if (donor.version === '0.90') continue;
    const place = superblockPlaces(imageSizeBytes).find(({ version }) => version === donor.version);
    if (place === undefined || place.superOffset !== found.foundAt) continue;
    for (const names of [SHARED, WITH_BITMAP, WITH_FEATURES]) {
      const raw = overlaid(found, donor, names);
      const view = SUPERBLOCK_V1.at(raw);
      if (checksumV1(raw, view.number('max_dev')) !== view.number('sb_csum')) continue;
      const decoded = decodeSuperblockV1(new UncheckedBytes(raw, found.foundAt), place, imageSizeBytes);
      if (!isDamaged(decoded)) proven.set(Buffer.from(decoded.raw).toString('hex'), decoded);
    }
  }
  const [only, ...others] = proven.values();
  return only !== undefined && others.length === 0 ? only : null;
}

/** `found` with what the donor has of the fields named, of the roles, and the place where it was found. */
function overlaid(found: UncheckedBytes, donor: Superblock, names: readonly FieldName[]): Uint8Array {
  const raw = found.bytes.slice(0, SUPERBLOCK_READ_BYTES);
  for (const name of names) {
    const field = SUPERBLOCK_V1.field(name);
    const end = field.offset + fieldBytes(field);
    raw.set(donor.raw.subarray(field.offset, end), field.offset);
  }
  // The roles, and what is left of the last sector that the kernel writes.
  raw.set(donor.raw.subarray(SUPERBLOCK_V1.sizeBytes), SUPERBLOCK_V1.sizeBytes);
  SUPERBLOCK_V1.at(raw).setBig('super_offset', BigInt(found.foundAt / SECTOR_BYTES));
  return raw;
}
