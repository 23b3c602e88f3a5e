/**
 * What is in buffers goes to the journal extents: by memory and age (paragraph 46), and at the latest with the commit.
 *
 * A journal extent whose target fails before the commit (a write or a flush) is given up, and another one that does not
 * lie there takes its place (paragraph 51): what is still in memory is written into it, what is not is read from the
 * old one. Buffers that were written out are kept for that as long as there is room, until the epoch is hardened.
 *
 * Invariant: of an epoch one such pass is under way at a time, so no two writes of a block are on their way to the device.
 */

import type { BlockDevice } from '../device/contract.js';
import { SharedFlush } from '../device/shared-flush.js';
import { UserError } from '../errors.js';
import { clearBit, isEmpty, runsOf } from '../metadata/bits.js';
import { associate, retire } from './association.js';
import type { Epoch, Place } from './epoch.js';
import type { FileState } from './file-state.js';
import { spansOf } from './journal-reserve.js';
import { withdrawKept } from './kept-flags.js';
import { type FailedSegment, type Piece, type Segment, segmentsOf, writeSegments } from './segments.js';

/** Journal extents that are tried for a place, one after another. */
const MOST_MOVES = 3;
/** Bytes that are copied from one journal extent to another at a time. */
const MOVE_BYTES = 1024 * 1024;

/** Ends when what is in dirty buffers of the epoch by now is in journal extents. */
export function writeOut(state: FileState, epoch: Epoch): Promise<void> {
  epoch.passes ??= new SharedFlush(() => {
    epoch.pass = writePass(state, epoch);
    return epoch.pass;
  });
  return epoch.passes.run();
}

/** Writes it out, and flushes the targets of all that is marked: before the flags are hardened. */
export async function writeOutAndFlush(state: FileState, epoch: Epoch): Promise<void> {
  const { pool } = state.context;
  await writeOut(state, epoch);
  const flushed = new Set<BlockDevice>();
  for (let moves = 0; ; moves++) {
    const devices = new Set<BlockDevice>();
    for (const place of markedPlaces(epoch)) devices.add(pool.locate(place.journal!).device);
    const due = [...devices].filter((device) => !flushed.has(device));
    const outcomes = await Promise.allSettled(due.map((device) => device.flush()));
    let failure: unknown = null;
    for (const [at, outcome] of outcomes.entries()) {
      if (outcome.status === 'fulfilled') flushed.add(due[at]!);
      else {
        failure ??= outcome.reason;
        loseAll(state, epoch, due[at]!);
      }
    }
    if (failure === null) return;
    if (!(failure instanceof UserError) || moves === MOST_MOVES) throw failure;
    await writeOut(state, epoch);
    // What was moved went there after its flush, perhaps.
    flushed.clear();
  }
}

function markedPlaces(epoch: Epoch): Place[] {
  return [...epoch.places.values()].filter((place) => !isEmpty(place.marked));
}

function loseAll(state: FileState, epoch: Epoch, device: BlockDevice): void {
  for (const place of markedPlaces(epoch))
    if (state.context.pool.locate(place.journal!).device === device) place.isLost = true;
}

async function writePass(state: FileState, epoch: Epoch): Promise<void> {
  const { context } = state;
  for (let moves = 0; ; moves++) {
    for (const place of epoch.places.values()) if (place.isLost) await move(state, epoch, place);
    const segments = segmentsOf(dirtyPieces(state, epoch), context.pool);
    if (segments.length === 0) break;
    state.counts.deviceWrites += segments.length;
    const failed = await writeLeaving(segments);
    const lost = new Set(failed.map(({ segment }) => segment));
    for (const segment of segments) if (!lost.has(segment)) written(state, segment.pieces);
    if (failed.length === 0) break;
    if (moves === MOST_MOVES) throw failed[0]!.cause;
    losePlaces(failed);
  }
  if (context.memory.dirtyBytes + context.memory.cleanBytes > context.memory.limitBytes) {
    epoch.dropBuffers('clean');
  }
}

/** A block that is cleared meanwhile has no buffer any more, and still nothing else may be written there. */
async function writeLeaving(segments: readonly Segment<Place>[]): Promise<FailedSegment<Place>[]> {
  const pieces = segments.flatMap((segment) => segment.pieces);
  for (const { place, start } of pieces) place.leaving.add(start);
  try {
    return await writeSegments(segments);
  } finally {
    for (const { place, start } of pieces) place.leaving.delete(start);
  }
}

export function losePlaces(failed: readonly FailedSegment<Place>[]): void {
  for (const { segment } of failed) for (const { place } of segment.pieces) place.isLost = true;
}

function dirtyPieces(state: FileState, epoch: Epoch): Piece<Place>[] {
  const { blockBytes } = state.context.shape;
  const pieces: Piece<Place>[] = [];
  for (const place of epoch.places.values()) {
    const dirty = [...place.buffers].filter(([, buffer]) => buffer.isDirty).sort(([a], [b]) => a - b);
    for (const [start, { bytes }] of dirty)
      pieces.push({ place, extent: place.journal!, start, from: [bytes], lengthBytes: blockBytes });
  }
  return pieces;
}

function written(state: FileState, pieces: readonly Piece<Place>[]): void {
  state.counts.writtenBlocks += pieces.length;
  for (const { place, start, from } of pieces) place.written(start, from[0]!);
}

/** Another journal extent for a place, not on the target that has failed. */
async function move(state: FileState, epoch: Epoch, place: Place): Promise<void> {
  const { context, file } = state;
  // What passes by the buffers is on its way to the old one still.
  await Promise.allSettled([...place.writes]);
  // From here on the flags that were kept name an extent that is going.
  if (epoch.isKept) await withdrawKept(state, epoch);
  const old = place.journal!;
  const [fresh] = await context.reserve.takeMakingRoom({ count: 1, file, avoid: avoided(state, old) });
  try {
    await copyMarked(state, place, old, fresh!);
  } catch (cause) {
    context.reserve.putBack([fresh!]);
    throw cause;
  }
  place.journal = fresh!;
  place.dirtyAll();
  place.isLost = false;
  state.counts.movedJournalExtents += 1;
  const wasAssociated = place.isAssociated;
  place.isAssociated = false;
  context.settings.warn(
    `${state.name}: a target failed, journal extent ${old} is replaced by ${fresh} before the commit`,
  );
  await retire(context, [{ extent: old, isAssociated: wasAssociated }], { toPool: true });
  if (context.settings.associates === 'at-once') await associate(state, epoch, [place]);
}

/** The whole target where there are others; else that extent alone, whose place on it may be bad. */
function avoided(state: FileState, extent: number) {
  const { pool } = state.context;
  const { device } = pool.locate(extent);
  const isOnly = pool.targets.every((target) => target.device === device);
  return isOnly ? [{ from: extent, count: 1 }] : spansOf(pool.targets, device);
}

/** What is marked and in no buffer any more. */
async function copyMarked(state: FileState, place: Place, old: number, fresh: number): Promise<void> {
  const { pool, shape } = state.context;
  const [from, to] = [pool.locate(old), pool.locate(fresh)];
  const missing = place.marked.slice();
  for (const block of place.buffers.keys()) clearBit(missing, block);
  const blocksAtOnce = Math.max(1, Math.floor(MOVE_BYTES / shape.blockBytes));
  for (const { start, count } of runsOf(missing)) {
    for (let at = start; at < start + count; at += blocksAtOnce) {
      const bytes = new Uint8Array(Math.min(blocksAtOnce, start + count - at) * shape.blockBytes);
      await from.device.read(from.offsetBytes + at * shape.blockBytes, bytes);
      await to.device.write(to.offsetBytes + at * shape.blockBytes, bytes);
    }
  }
}
