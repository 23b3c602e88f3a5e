/**
 * Roles of what is written to a recorded volume's images, by where it lies: on a member of an array the superblock, the record of dirty stripes,
 * other metadata of md's, data or parity; elsewhere what the image is for, as its name says it.
 */
import { basename, extname } from 'node:path';
import type { RoleOf } from '../../crash/coverage.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import type { Geometry } from '../../raid/geometry.js';
import type { Superblock } from '../../raid/md/model.js';
import { memberPlace, SLOTS } from '../../raid/record/places.js';
import type { Volume } from '../../volume/model.js';

/** Of an image that is no member: by its name, or what comes behind its last dot. */
const IMAGES: Readonly<Record<string, string>> = {
  transactions: 'transaction log',
  '.dirty': 'dirty map',
  '.uncopied': 'uncopied map',
  '.kept': 'snapshot',
  epochs: 'secondary log',
  kept: 'secondary log',
  marks: 'secondary log',
};

interface Member {
  readonly slot: number | null;
  readonly superblock: Superblock;
  readonly record: { readonly start: number; readonly end: number } | null;
}

/** `volume`: open, from a state of the trace; `indexOf`: of its images in the trace. */
export async function rolesOf(
  { devices }: Pick<StoredTrace, 'devices'>,
  { array }: Volume,
  indexOf: (image: string) => number | undefined,
): Promise<RoleOf> {
  const members = new Map<number, Member>();
  const names = devices.map(({ name, versions }) => (versions === undefined ? roleOfImage(name) : 'list'));
  if (array === null) return ({ device }) => names[device]!;
  const { core } = array;
  for (const member of core.slotMembers()) {
    const { superblock, device, image } = member;
    const place = await memberPlace(device, superblock);
    const slot = core.slots.findIndex((each) => each.member === member);
    const record =
      'reason' in place ? null : { start: place.offset, end: place.offset + SLOTS * place.slotBytes };
    members.set(indexOf(image)!, { slot: slot < 0 ? null : slot, superblock, record });
  }
  return ({ device, offset }) => {
    const member = members.get(device);
    return member === undefined ? names[device]! : roleOnMember(member, core.geometry, offset);
  };
}

function roleOfImage(name: string): string {
  return IMAGES[basename(name)] ?? IMAGES[extname(name)] ?? basename(name);
}

/** A write that goes on into a chunk of another role counts as what it begins with. */
function roleOnMember({ slot, superblock, record }: Member, geometry: Geometry, offset: number): string {
  const { superOffset, dataOffset } = superblock;
  if (record !== null && offset >= record.start && offset < record.end) return 'record';
  const inData = offset - dataOffset;
  if (inData >= 0 && inData < geometry.memberSizeBytes && slot !== null)
    return geometry.arrayOffsetOf(slot, inData) === null ? 'parity' : 'data';
  return Math.floor(offset / 4096) === Math.floor(superOffset / 4096) ? 'superblock' : 'metadata';
}
