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

export interface OpenArrayOptions {
  readonly name: string;
  readonly readOnly: boolean;
  readonly warn: (message: string) => void;
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
  for (const range of suspectRows(core, freshest, bitmap).list()) core.suspect.add(range.start, range.end);
  // md has one or the other: they lie in the same fields.
  const beside = bitmap ?? (freshest.ppl === null ? null : new PplFollower(core));
  const metadata = new ArrayMetadata({
    core,
    freshest,
    ...(beside === null ? {} : { followers: [beside], intent: beside }),
  });
  return new RaidArray(core, metadata);
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

/** Rows whose parity may be wrong: none in a clean array, what the bitmap lists, or all from where a resync stopped. */
function suspectRows(core: ArrayCore, freshest: Superblock, bitmap: BitmapIntent | null): RangeSet {
  const suspect = new RangeSet();
  if (freshest.resyncOffset === null) return suspect;
  const from = freshest.resyncOffset;
  const end = core.geometry.memberSizeBytes;
  const listed = bitmap === null ? [{ start: 0, end }] : bitmap.dirtyRows();
  for (const range of listed) suspect.add(Math.max(range.start, from), Math.min(range.end, end));
  return suspect;
}
