/**
 * Makes parity right from the partial parity logs after a crash, as the kernel does (Linux
 * drivers/md/raid5-ppl.c, ppl_recover_entry and ppl_init_log).
 *
 * Invariants
 * - Parity is written only where everything it is made from is there: the partial parity and all chunks that
 *   were being written. Where one of those is missing, parity stays as it is.
 * - The parity of an entry lies on the member that has the log; an entry that says otherwise is not used.
 * - The array counts as clean only if the kernel would call it so: every log was there and whole, and at
 *   least one entry was replayed. Else parity that no log names may be wrong, and a resync has to follow.
 */
import type { BlockDevice } from '../../device/contract.js';
import { ROW_BYTES, SECTOR_BYTES } from './model.js';
import type { NoPplLog, PplEntry, PplLog } from './ppl.js';

/** What the replay needs to know of the array; Geometry has it. */
export interface StripeGeometry {
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly memberSizeBytes: number;
  parityMember(stripe: number): number;
  dataMember(stripe: number, dataIndex: number): number;
}

/** A member as the replay sees it. */
export interface PplMember {
  readonly slot: number;
  readonly device: BlockDevice;
  /** In the image. */
  readonly dataOffset: number;
  /** Its data is right below this offset in data; null: all of it. */
  readonly rebuiltUpTo: number | null;
  readonly log: PplLog | NoPplLog;
}

/** One run of parity: what it is the XOR of, and where it goes. All offsets are in data but `partialAt`. */
export interface ParityStep {
  readonly offset: number;
  readonly length: number;
  readonly paritySlot: number;
  readonly dataSlots: readonly number[];
  /** In the image of the parity's member; null: whole stripes were written. */
  readonly partialAt: number | null;
}

/** Data of a missing member that was being written: what the others make of it may be neither old nor new. */
export interface InDoubt {
  readonly slot: number;
  /** In data. */
  readonly offset: number;
  readonly length: number;
}

export interface PplPlan {
  readonly steps: readonly ParityStep[];
  readonly inDoubt: readonly InDoubt[];
  readonly recoveredEntries: number;
  /** Logs without a header that counts, and entries that cannot be used. */
  readonly mismatches: number;
  /** What was wrong, one sentence each. */
  readonly reasons: readonly string[];
  /** What the kernel would say after it: superblocks clean. Only with a resync offset of 0. */
  readonly clean: boolean;
}

/**
 * `members` fill the slots; missing ones are absent. `resyncOffset` of the freshest superblock: null, a clean
 * array, needs no replay.
 */
export function planPplReplay(
  members: readonly PplMember[],
  geometry: StripeGeometry,
  resyncOffset: number | null,
): PplPlan {
  const bySlot = new Map(members.map((member) => [member.slot, member]));
  const steps: ParityStep[] = [];
  const inDoubt: InDoubt[] = [];
  const reasons: string[] = [];
  let recoveredEntries = 0;
  let mismatches = 0;
  if (resyncOffset === null) return { steps, inDoubt, recoveredEntries, mismatches, reasons, clean: true };
  for (const member of members) {
    const { log } = member;
    if (!('entries' in log)) {
      mismatches++;
      reasons.push(`${member.device.name}: ${log.reason}`);
      continue;
    }
    mismatches += log.unusable;
    if (log.reason !== '') reasons.push(`${member.device.name}: ${log.reason}`);
    for (const entry of log.entries) {
      const planned = planEntry(entry, member, bySlot, geometry);
      if (typeof planned === 'string') {
        mismatches++;
        reasons.push(`${member.device.name}: an entry of its partial parity log ${planned}`);
      } else {
        recoveredEntries++;
        steps.push(...planned.steps);
        inDoubt.push(...planned.inDoubt);
      }
    }
  }
  const clean = resyncOffset === 0 && recoveredEntries > 0 && mismatches === 0;
  return { steps, inDoubt, recoveredEntries, mismatches, reasons, clean };
}

/**
 * Carries the plan out. The parity is durable after the next flush of the members. Throws DeviceError of the
 * first read or write that fails; running it again does no harm as long as the logs are not emptied.
 */
export async function applyPplPlan(plan: PplPlan, members: readonly PplMember[]): Promise<void> {
  const bySlot = new Map(members.map((member) => [member.slot, member]));
  for (const step of plan.steps) {
    const target = bySlot.get(step.paritySlot)!;
    const parity = new Uint8Array(step.length);
    const piece = new Uint8Array(step.length);
    if (step.partialAt !== null) await target.device.read(step.partialAt, parity);
    for (const slot of step.dataSlots) {
      const member = bySlot.get(slot)!;
      await member.device.read(member.dataOffset + step.offset, piece);
      for (let at = 0; at < piece.byteLength; at++) parity[at]! ^= piece[at]!;
    }
    await target.device.write(target.dataOffset + step.offset, parity);
  }
}

interface EntryShape {
  readonly first: number;
  readonly last: number;
  readonly stripBytes: number;
  readonly dataDisks: number;
}

/** Kernel: a partial parity of a whole chunk means a write of up to a stripe, less means as much of each chunk. */
function shapeOf(entry: PplEntry, geometry: StripeGeometry): EntryShape {
  const { chunkBytes } = geometry;
  const first = entry.dataOffset;
  if (entry.parityBytes >= chunkBytes) {
    return {
      first,
      last: first + entry.dataBytes,
      stripBytes: chunkBytes,
      dataDisks: geometry.raidDisks - 1,
    };
  }
  const partial = entry.parityBytes > 0;
  const dataDisks = partial ? Math.floor(entry.dataBytes / entry.parityBytes) : geometry.raidDisks - 1;
  const strip = partial ? entry.parityBytes : entry.dataBytes / dataDisks;
  const stripBytes = strip - (strip % SECTOR_BYTES);
  return { first, last: first + (dataDisks - 1) * chunkBytes + stripBytes, stripBytes, dataDisks };
}

/** The steps, or what is wrong with the entry. */
function planEntry(
  entry: PplEntry,
  own: PplMember,
  bySlot: ReadonlyMap<number, PplMember>,
  geometry: StripeGeometry,
): Pick<PplPlan, 'steps' | 'inDoubt'> | string {
  const shape = shapeOf(entry, geometry);
  const arrayBytes = geometry.memberSizeBytes * (geometry.raidDisks - 1);
  if (
    shape.last > arrayBytes ||
    shape.stripBytes > geometry.chunkBytes ||
    shape.dataDisks > geometry.raidDisks - 1
  ) {
    return `names bytes ${shape.first} to ${shape.last} of an array of ${arrayBytes}`;
  }
  const block = shape.first % ROW_BYTES === 0 && shape.last % ROW_BYTES === 0 ? ROW_BYTES : SECTOR_BYTES;
  const steps: ParityStep[] = [];
  const inDoubt: InDoubt[] = [];
  for (let at = 0; at < shape.stripBytes; at += block) {
    const step = planBlock(entry, shape, at, Math.min(block, shape.stripBytes - at), own, geometry);
    if (typeof step === 'string') return step;
    const lacking = step.dataSlots.filter((slot) => !isThere(bySlot.get(slot), step.offset));
    inDoubt.push(...lacking.map((slot) => ({ slot, offset: step.offset, length: step.length })));
    if (step.dataSlots.length > 0 && lacking.length === 0) steps.push(step);
  }
  return { steps: joined(steps), inDoubt };
}

/** What would have to be done; a block that no chunk of was being written has no `dataSlots`. */
function planBlock(
  entry: PplEntry,
  shape: EntryShape,
  at: number,
  length: number,
  own: PplMember,
  geometry: StripeGeometry,
): ParityStep | string {
  const place = placeOf(shape.first + at, geometry);
  const paritySlot = geometry.parityMember(place.stripe);
  if (paritySlot !== entry.paritySlot || paritySlot !== own.slot) {
    return `says that slot ${entry.paritySlot} holds the parity of byte ${shape.first + at}, which is in slot ${paritySlot}`;
  }
  const dataSlots: number[] = [];
  for (let disk = 0; disk < shape.dataDisks; disk++) {
    const arrayOffset = shape.first + at + disk * geometry.chunkBytes;
    if (arrayOffset >= shape.last) continue;
    const { stripe, dataIndex } = placeOf(arrayOffset, geometry);
    if (stripe !== place.stripe) return `reaches from stripe ${place.stripe} into stripe ${stripe}`;
    dataSlots.push(geometry.dataMember(stripe, dataIndex));
  }
  const partialAt = entry.parityBytes > 0 ? entry.parityAt + at : null;
  return { offset: place.offsetInData, length, paritySlot, dataSlots, partialAt };
}

function isThere(member: PplMember | undefined, offset: number): boolean {
  return member !== undefined && (member.rebuiltUpTo === null || offset < member.rebuiltUpTo);
}

function placeOf(
  arrayOffset: number,
  geometry: StripeGeometry,
): { stripe: number; dataIndex: number; offsetInData: number } {
  const chunk = Math.floor(arrayOffset / geometry.chunkBytes);
  const stripe = Math.floor(chunk / (geometry.raidDisks - 1));
  return {
    stripe,
    dataIndex: chunk - stripe * (geometry.raidDisks - 1),
    offsetInData: stripe * geometry.chunkBytes + (arrayOffset % geometry.chunkBytes),
  };
}

/** Neighbours that are made from the same members are one read and one write each. */
function joined(steps: readonly ParityStep[]): ParityStep[] {
  const out: ParityStep[] = [];
  for (const step of steps) {
    const last = out.at(-1);
    if (last !== undefined && follows(last, step))
      out[out.length - 1] = { ...last, length: last.length + step.length };
    else out.push(step);
  }
  return out;
}

function follows(last: ParityStep, step: ParityStep): boolean {
  const partial = last.partialAt === null ? null : last.partialAt + last.length;
  return (
    last.offset + last.length === step.offset &&
    partial === step.partialAt &&
    last.dataSlots.length === step.dataSlots.length &&
    last.dataSlots.every((slot, index) => slot === step.dataSlots[index])
  );
}
