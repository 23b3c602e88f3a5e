/**
 * From a verdict over images to an open array.
 *
 * Opening writes nothing. Refused is what the verdict refuses; dirty and degraded is the caller's to decide
 * (`force`), since what the missing member held in the suspect rows cannot be known.
 */
import type { BlockDevice } from '../device/contract.js';
import { RangeSet } from '../device/range-set.js';
import { UserError } from '../errors.js';
import { RaidArray } from './array.js';
import { BitmapIntent } from './bitmap-intent.js';
import { ArrayCore } from './core.js';
import { Geometry } from './geometry.js';
import { BadBlocks, readBadBlocks } from './md/bad-blocks.js';
import type { ArraySet, JudgedMember, Judgement, Refusal, Superblock } from './md/model.js';
import { ArrayMember, Slot } from './member.js';
import { ArrayMetadata } from './metadata.js';
import { PplFollower } from './ppl-follower.js';
import { type ArrayRecord, namedRows, noRecord, openRecord, recordIntent } from './record/open-record.js';
import { JoinedIntent } from './write-intent.js';

export interface OpenArrayOptions {
  readonly name: string;
  readonly readOnly: boolean;
  readonly warn: (message: string) => void;
  /** The dirty-stripe record is kept there, and not on the members. */
  readonly recordFile?: BlockDevice | undefined;
  /** For benches, which measure what a record costs: none is kept, and a crash means a full resync. */
  readonly withoutRecord?: boolean;
  /** Without a write for so long the array becomes clean. */
  readonly idleMs?: number;
}

export function geometryOf(set: ArraySet): Geometry {
  const { layout, chunkBytes, raidDisks, memberSizeBytes } = set;
  return new Geometry({ layout, chunkBytes, raidDisks, memberSizeBytes });
}

/** Throws NOT_ASSEMBLED with the first reason that forbids what is asked for. */
export function assertAllowed(judgement: Judgement, name: string, readOnly: boolean): void {
  const refusal = judgement.refusals.find((entry) => entry.forbids === 'all' || !readOnly);
  if (refusal !== undefined) throw refused(name, refusal);
  if (judgement.set === null || judgement.freshest === null) {
    throw new UserError('NOT_ASSEMBLED', `${name}: no image has an md superblock that counts`, {
      hint: 'look at the images with: holdfast examine IMAGE...',
    });
  }
}

function refused(name: string, refusal: Refusal): UserError {
  return new UserError('NOT_ASSEMBLED', `${name}: ${refusal.message}`, {
    hint: refusal.hint,
    details: { reason: refusal.code, forbids: refusal.forbids },
  });
}

export async function openArray(judgement: Judgement, options: OpenArrayOptions): Promise<RaidArray> {
  assertAllowed(judgement, options.name, options.readOnly);
  const set = judgement.set!;
  const freshest = judgement.freshest!;
  const slots = await Promise.all(
    judgement.slots.map(async (judged, index) => {
      const replacement = judgement.replacements[index] ?? null;
      return new Slot(
        index,
        await openMember(judged),
        replacement === null ? null : await openMember(replacement),
      );
    }),
  );
  const spares = await Promise.all(
    judgement.members
      .filter((member) => member.state === 'spare')
      .map(async (spare) => (await openMember(spare))!),
  );
  const geometry = geometryOf(set);
  const core = new ArrayCore({ ...options, geometry, slots, spares, suspect: new RangeSet() });
  const bitmap = await BitmapIntent.open(core, freshest);
  const record =
    options.withoutRecord === true
      ? noRecord('none is wanted')
      : await openRecord(core, options.recordFile ?? null);
  for (const { start, end } of suspectRows(core, freshest, bitmap, record).list())
    core.suspect.add(start, end);
  core.isRecovered = core.suspect.isEmpty || record.chosen.record?.dirty.length === 0;
  core.isDoubtKnown = record.chosen.record !== null;
  // Of the kernel's own it has one or the other: they lie in the same fields. The record is kept beside them.
  const beside = bitmap ?? (freshest.ppl === null ? null : new PplFollower(core));
  const kept = recordIntent(core, record);
  const lists = [kept, beside].filter((each) => each !== null);
  const metadata = new ArrayMetadata({ core, freshest, followers: lists, intent: new JoinedIntent(lists) });
  kept?.attach(() => metadata.flushMembers());
  return new RaidArray(core, metadata, record, kept, options.idleMs);
}

async function openMember(judged: JudgedMember): Promise<ArrayMember | null> {
  const { device, superblock } = judged;
  if (device === null || superblock === null || judged.state === 'missing') return null;
  return new ArrayMember(device, superblock, await checkedBadBlocks(device, superblock));
}

/** Throws for a log that cannot be understood: which of the member's blocks are bad is not known then. */
export async function checkedBadBlocks(device: BlockDevice, superblock: Superblock): Promise<BadBlocks> {
  const found = await readBadBlocks(device, superblock);
  if (found instanceof BadBlocks) return found;
  throw new UserError(
    'NOT_ASSEMBLED',
    `${device.name}: its bad-block log cannot be understood: ${found.reason}`,
    {
      hint: 'leave this image out, and rebuild its slot on a new one',
      details: { image: device.name, offsetBytes: superblock.badBlockLog?.offset },
    },
  );
}

/**
 * Rows whose parity may be wrong: what the record names, if one counts. Else none in a clean array, and in one that
 * is not what the bitmap lists, or all from where a resync stopped.
 */
function suspectRows(
  core: ArrayCore,
  freshest: Superblock,
  bitmap: BitmapIntent | null,
  { chosen }: ArrayRecord,
): RangeSet {
  if (chosen.record !== null) return new RangeSet(namedRows(core, chosen));
  const suspect = new RangeSet();
  if (freshest.resyncOffset === null) return suspect;
  const from = freshest.resyncOffset;
  const end = core.geometry.memberSizeBytes;
  const listed = bitmap === null ? [{ start: 0, end }] : bitmap.dirtyRows();
  for (const range of listed) suspect.add(Math.max(range.start, from), Math.min(range.end, end));
  return suspect;
}
