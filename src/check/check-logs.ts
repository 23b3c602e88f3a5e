/** Checks what members keep beside their superblock: write-intent bitmap, partial parity log, bad-block log. */
import { BadBlocks, readBadBlocks } from '../raid/md/bad-blocks.js';
import { type BitmapCopy, readBitmapCopy } from '../raid/md/bitmap-copy.js';
import { readPpl } from '../raid/md/ppl.js';
import {
  type CheckContext,
  type CurrentMember,
  currentMembers,
  isDirty,
  isFinding,
  isWhole,
  readOr,
} from './context.js';
import { type Finding, finding } from './findings.js';

/**
 * All pages are written anew on all members where one copy cannot be used; so only where another one can. What an
 * array without any was about to write nobody knows.
 */
export async function* checkBitmaps(context: CheckContext): AsyncGenerator<Finding> {
  const good: { member: CurrentMember; copy: BitmapCopy }[] = [];
  const bad: { member: CurrentMember; reason: string }[] = [];
  for (const member of currentMembers(context)) {
    const { device, superblock, image } = member;
    if (superblock.bitmapOffset === null) continue;
    const copy = await readOr(image!, () => readBitmapCopy(device, superblock));
    if (copy === null) continue;
    if (isFinding(copy)) yield copy;
    else if ('reason' in copy) bad.push({ member, reason: copy.reason });
    else good.push({ member, copy });
  }
  const repair = isWhole(context) && good.length > 0 ? 'write-metadata' : null;
  for (const { member, reason } of bad) {
    yield finding('BITMAP_UNUSABLE', placeOf(member, member.superblock.bitmapOffset!), reason, {
      hint: good.length > 0 ? 'the next command that writes makes it anew from the others' : NO_BITMAP_HINT,
      repair,
    });
  }
  // In an array that was not closed they may differ: bits were being set or cleared.
  if (!isDirty(context)) yield* compareCopies(context, good);
}

const NO_BITMAP_HINT =
  'no member has one that can be used: the array can be read; to write it take the bitmap away (mdadm --assemble --update=no-bitmap, or --grow --bitmap=none)';

function* compareCopies(
  context: CheckContext,
  good: readonly { member: CurrentMember; copy: BitmapCopy }[],
): Generator<Finding> {
  const events = context.judgement?.set?.events ?? 0n;
  const repair = isWhole(context) ? 'write-metadata' : null;
  const hint = 'the next command that writes makes it anew';
  const current = good.filter(({ copy }) => !copy.markedStale && copy.events >= events);
  for (const { member, copy } of good) {
    const where = placeOf(member, member.superblock.bitmapOffset!);
    if (copy.markedStale || copy.events < events) {
      const why = copy.markedStale
        ? 'it says that it is stale'
        : `it has ${copy.events} events, the array ${events}`;
      yield finding('BITMAP_STALE', where, `${why}: after a crash the kernel would resync all`, {
        hint,
        repair,
      });
    } else if (Buffer.compare(copy.raw, current[0]!.copy.raw) !== 0) {
      const { image } = current[0]!.member;
      yield finding('BITMAP_COPIES_DIFFER', where, `it differs from that of ${image}`, { hint, repair });
    }
  }
}

/** In a dirty array a log that is damaged is part of what recovery deals with: without it all parity is suspect. */
export async function* checkPpl(context: CheckContext): AsyncGenerator<Finding> {
  for (const member of currentMembers(context)) {
    const { device, superblock, image } = member;
    if (superblock.ppl === null) continue;
    const log = await readOr(image!, () => readPpl(device, superblock));
    if (isFinding(log)) yield log;
    else if (!('entries' in log)) {
      yield finding('PPL_DAMAGED', placeOf(member, superblock.ppl.offset), log.reason, {
        hint: 'the next command that writes empties it',
        repair: isWhole(context) ? 'write-metadata' : null,
      });
    }
  }
}

export async function* checkBadBlocks(context: CheckContext): AsyncGenerator<Finding> {
  for (const member of currentMembers(context)) {
    const { device, superblock, image } = member;
    const found = await readOr(image!, () => readBadBlocks(device, superblock));
    if (isFinding(found)) yield found;
    else if (!(found instanceof BadBlocks)) {
      yield finding('BAD_BLOCK_LOG_DAMAGED', placeOf(member, superblock.badBlockLog!.offset), found.reason, {
        hint: 'leave this image out, and rebuild its slot on a new one: holdfast member add',
      });
    } else {
      for (const { start, end } of found.list()) {
        const where = { ...placeOf(member, superblock.dataOffset + start), lengthBytes: end - start };
        yield finding('BAD_BLOCKS', where, `${end - start} bytes of its data are noted as bad`, {
          hint: 'writing them anew through the volume makes them good; what they held is in the other members, if it is anywhere',
        });
      }
    }
  }
}

function placeOf(
  { image, slot }: CurrentMember,
  offsetBytes: number,
): { image: string; slot?: number; offsetBytes: number } {
  return { image: image!, ...(slot === null ? {} : { slot }), offsetBytes };
}
