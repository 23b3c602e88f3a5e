/**
 * Members that leave a volume: `member remove`, and images that leave it to come in anew.
 *
 * A volume may have been open for long, so what counts is what its array knows now. Of images that never were of the
 * array while it was open, stale ones above all, it is what was judged when they were opened.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { MemberState, Superblock } from '../raid/md/model.js';
import type { ArrayMember } from '../raid/member.js';
import { dropMember, forgetMember } from '../raid/membership.js';
import { sameFile } from './locate.js';
import { unlistImage } from './manifest-images.js';
import { arrayOf, type Volume } from './model.js';
import { absoluteImage } from './remote.js';

export interface RemovedMember {
  readonly image: string;
  readonly slot: number | null;
  /** What it was until now. */
  readonly state: MemberState;
}

/** An image that is open and does not serve. */
interface IdleImage extends RemovedMember {
  readonly device: BlockDevice;
  readonly superblock: Superblock;
  /** null: it never was of the array since that was opened. */
  readonly member: ArrayMember | null;
}

/**
 * Takes a member that is out of service, or a spare, off the list. It stays as it is, is stale from now on, and is
 * closed: others may have it.
 *
 * @throws UserError REFUSED where there is none such.
 */
export async function removeMember(
  volume: Volume,
  choose: { readonly slot?: number | undefined; readonly image?: string | undefined },
): Promise<RemovedMember> {
  const array = arrayOf(volume);
  const found = await chooseIdle(volume, choose);
  if (found === undefined) {
    throw new UserError(
      'REFUSED',
      `${array.name}: no member that could be removed is there${choose.slot === undefined ? '' : ` in slot ${choose.slot}`}`,
      {
        hint: 'a member that serves has to be failed first: holdfast member fail',
      },
    );
  }
  const { image, slot, state, device, superblock } = found;
  // First: where this fails, all is as it was, and the same command can be given again.
  await unlistImage(volume, image);
  await forgetMember(array, found.member, superblock.deviceNumber);
  try {
    // A spare holds nothing; left with its superblock it would be one again at the next opening.
    if (state === 'spare') await device.write(superblock.superOffset, new Uint8Array(512), { fua: true });
  } finally {
    await volume.held.release(device);
  }
  return { image, slot, state };
}

/** Closes an image of the volume that does not serve, if this is one, so that it can be made a member anew. */
export async function releaseImage(volume: Volume, image: string): Promise<void> {
  const array = arrayOf(volume);
  for (const device of volume.held.list()) {
    const serves = array.core.liveMembers().some((member) => member.device === device);
    if (serves || !(await isNamed(device.name, image))) continue;
    const out = array.core.outMembers().find(({ member }) => member.device === device);
    if (out !== undefined) await dropMember(array, out.member);
    await volume.held.release(device);
  }
}

async function chooseIdle(
  volume: Volume,
  { slot, image }: { readonly slot?: number | undefined; readonly image?: string | undefined },
): Promise<IdleImage | undefined> {
  for (const idle of idleImages(volume)) {
    if (slot !== undefined && idle.slot !== slot) continue;
    if (image === undefined || (await isNamed(idle.image, image))) return idle;
  }
  return undefined;
}

function idleImages(volume: Volume): IdleImage[] {
  const { core } = arrayOf(volume);
  const out = core.outMembers().map((each) => ({ ...each, state: 'faulty' as const }));
  const spares = core.spares
    .filter((member) => !member.isFaulty)
    .map((member) => ({ slot: null, member, state: 'spare' as const }));
  const known = [...out, ...spares].map(({ member, ...rest }) => {
    const { image, device, superblock } = member;
    return { ...rest, image, device, superblock, member };
  });
  const ofArray = new Set([...core.slotMembers(), ...known.map(({ member }) => member)].map(deviceOf));
  const judged = (volume.judgement?.members ?? []).flatMap(({ image, slot, state, device, superblock }) => {
    if (image === null || device === null || superblock === null || state === 'foreign') return [];
    if (ofArray.has(device) || !volume.held.has(device)) return [];
    return [{ image, slot, state, device, superblock, member: null }];
  });
  return [...known, ...judged];
}

function deviceOf({ device }: ArrayMember): BlockDevice {
  return device;
}

/** By any path that leads to it; an image that is not there any more, by its own. */
async function isNamed(own: string, name: string): Promise<boolean> {
  return absoluteImage(own) === absoluteImage(name) || sameFile(own, name);
}
