/**
 * Replays the partial parity logs of a dirty array before it is used, as the kernel does when it starts one:
 * onto the members where the array is to be written, into memory where it is only read.
 */
import type { BlockDevice } from '../device/contract.js';
import { OverlayDevice } from '../device/overlay.js';
import type { RaidArray } from './array.js';
import { Geometry } from './geometry.js';
import type { JudgedMember, Judgement, Superblock } from './md/model.js';
import { readPpl } from './md/ppl.js';
import { applyPplPlan, type PplMember, type PplPlan, planPplReplay } from './md/ppl-replay.js';

/** Whether there is anything to replay. */
function isDirtyWithPpl(judgement: Judgement): boolean {
  return (
    judgement.freshest !== null && judgement.freshest.ppl !== null && judgement.set?.resyncOffset !== null
  );
}

/**
 * The same verdict over devices that read as if the logs had been replayed; nothing is written. With all members
 * there parity is not needed for reading, and is shown as it is.
 */
export async function replayForReading(
  judgement: Judgement,
  warn: (message: string) => void,
): Promise<Judgement> {
  const complete = judgement.slots.every((slot) => slot.state === 'in-sync');
  if (complete || !isDirtyWithPpl(judgement)) return judgement;
  const overlays = new Map<BlockDevice, BlockDevice>();
  const over = <M extends JudgedMember | null>(member: M): M => {
    if (member === null || member.device === null) return member;
    const overlay = overlays.get(member.device) ?? new OverlayDevice(member.device);
    overlays.set(member.device, overlay);
    return { ...member, device: overlay };
  };
  const replayed: Judgement = {
    ...judgement,
    slots: judgement.slots.map(over),
    replacements: judgement.replacements.map(over),
    members: judgement.members.map(over),
  };
  const { plan, members } = await makePlan(replayed);
  await applyPplPlan(plan, members);
  warn(
    `it was not closed: ${plan.recoveredEntries} entries of the partial parity logs are applied in memory`,
  );
  return replayed;
}

/**
 * Replays onto the members, and makes that durable. Where the logs were whole, no parity is in doubt any
 * more; else all of it stays suspect. Returns how many entries were replayed.
 */
export async function replayPpl(array: RaidArray, judgement: Judgement): Promise<number> {
  if (!isDirtyWithPpl(judgement) || array.core.suspect.isEmpty) return 0;
  const { plan, members } = await makePlan(judgement);
  await applyPplPlan(plan, members);
  await array.metadata.flushMembers();
  if (plan.clean) {
    for (const { start, end } of [...array.core.suspect.list()]) array.core.suspect.remove(start, end);
    if (!array.core.isDegraded) await array.metadata.checkpoint();
  }
  return plan.recoveredEntries;
}

async function makePlan(judgement: Judgement): Promise<{ plan: PplPlan; members: PplMember[] }> {
  const members: PplMember[] = [];
  for (const [slot, { device, superblock }] of judgement.slots.entries()) {
    if (device === null || superblock === null) continue;
    members.push(await pplMember(slot, device, superblock));
  }
  const { layout, chunkBytes, raidDisks, memberSizeBytes } = judgement.set!;
  const geometry = new Geometry({ layout, chunkBytes, raidDisks, memberSizeBytes });
  return { plan: planPplReplay(members, geometry, judgement.set!.resyncOffset), members };
}

async function pplMember(slot: number, device: BlockDevice, superblock: Superblock): Promise<PplMember> {
  const { dataOffset, recoveryOffset } = superblock;
  return { slot, device, dataOffset, rebuiltUpTo: recoveryOffset, log: await readPpl(device, superblock) };
}
