/**
 * What an opening begins with: the durable epochs of the log go into the image, what has no end is dropped, and a new log
 * begins.
 *
 * Why it can be cut anywhere: until both slots have the new header the old one counts, or both say the same of the image;
 * and all epochs that were durable are applied again, in order, whatever of them was already. Those up to the point of the
 * marks are left out: they are in the image and flushed, and of later ones there may be parts that only the container
 * undoes.
 */

import { allEnded } from '../../device/all-ended.js';
import { UserError } from '../../errors.js';
import { sameBytes } from '../checked-values.js';
import { Applier } from './applier.js';
import { KeptContainer } from './kept-container.js';
import { Layer } from './layer.js';
import { headerSlots, type LogHeader } from './log-header.js';
import { readLog } from './log-reader.js';
import { type EpochPoint, type Marks, MarksFile, newId } from './marks.js';
import { checkMarks, readHeader, type SecondaryParts } from './parts.js';
import { Ring } from './ring.js';
import type { Slots } from './slots.js';

/** What the log has that may not be in the image. */
export interface Looked {
  readonly header: LogHeader;
  readonly ring: Ring;
  readonly layer: Layer;
  /** The end of the last durable epoch. */
  readonly point: EpochPoint;
  readonly epochs: number;
  readonly droppedBytes: number;
}

/** Writes nothing. Throws METADATA_DAMAGED where a durable epoch is missing. */
export async function lookAtLog(parts: SecondaryParts, marks: Marks): Promise<Looked> {
  const header = await readHeader(parts, marks);
  const ring = new Ring(parts.epochs, header.ringBytes);
  const { epochs, point, droppedBytes } = await readLog(ring, header, marks.sizeBytes);
  const layer = new Layer();
  const waiting = epochs.filter((epoch) => epoch.point.epoch > marks.point.epoch);
  for (const epoch of waiting) layer.merge(epoch.layer);
  const last = point.epoch > marks.point.epoch ? point : marks.point;
  return { header, ring, layer, point: last, epochs: waiting.length, droppedBytes };
}

/** null: nothing is kept in this state. Throws METADATA_DAMAGED where what was kept is not all there. */
export async function openKept(
  parts: SecondaryParts,
  marks: Marks,
  header: LogHeader,
): Promise<KeptContainer | null> {
  const { state, keptId, sizeBytes, isKeptWhole } = marks;
  if ((state !== 'resyncing' && state !== 'promoting') || !isKeptWhole) return null;
  const sureGroups = sameBytes(header.keptId, keptId) ? header.keptGroups : 0;
  return KeptContainer.open(parts.kept, { keptId, sizeBytes, sureGroups });
}

export interface Recovered {
  readonly applier: Applier;
  readonly ring: Ring;
  readonly slots: Slots<LogHeader>;
  /** Of the new log; durable. */
  readonly header: LogHeader;
  readonly point: EpochPoint;
  readonly epochs: number;
  readonly droppedBytes: number;
}

/**
 * The marks of a secondary that is to be written. What a process left that was killed may be read and not be durable yet: what is
 * done because of it would outlast it. So it is made durable first. (Marks that are in one slot alone are written anew.)
 */
export async function openMarks(parts: SecondaryParts): Promise<MarksFile> {
  await allEnded([parts.epochs.flush(), parts.kept.flush()]);
  return MarksFile.open(parts.marks);
}

/** All that is durable is in the image, flushed, and the log is empty, when it returns. */
export async function recover(parts: SecondaryParts, marks: MarksFile): Promise<Recovered> {
  checkMarks(parts, marks.current, false);
  const { header, ring, layer, point, epochs, droppedBytes } = await lookAtLog(parts, marks.current);
  if (header.unknownRoCompat !== 0)
    throw new UserError(
      'UNSUPPORTED',
      `${parts.epochs.name}: the epoch log has features that are not known here`,
      {
        hint: 'Open it read only, or use the holdfast that wrote it.',
      },
    );
  const slots = headerSlots(parts.epochs);
  let newest = (await slots.read()).value;
  const noteKept = async ({ id, groupCount }: KeptContainer) => {
    newest = { ...newest, sequence: newest.sequence + 1, keptId: id, keptGroups: groupCount };
    await slots.putNext(newest);
    await parts.epochs.flush();
  };
  const applier = new Applier({ image: parts.image, ring, marks }, noteKept);
  await withKept(applier, parts, marks, header);
  if (!layer.isEmpty) await applier.apply(layer);
  const next: LogHeader = {
    ...newest,
    sequence: newest.sequence + 1,
    logId: newId(),
    tail: 0,
    applied: point,
    keptId: marks.current.keptId,
    keptGroups: applier.kept?.groupCount ?? 0,
  };
  await slots.putBoth(next);
  return { applier, ring, slots, header: next, point, epochs, droppedBytes };
}

async function withKept(
  applier: Applier,
  parts: SecondaryParts,
  marks: MarksFile,
  header: LogHeader,
): Promise<void> {
  try {
    applier.kept = await openKept(parts, marks.current, header);
  } catch (error) {
    // What is durable of the epochs counts all the same; but there is no going back to the point.
    if (!(error instanceof UserError)) throw error;
    await applier.giveUpKeeping(error);
  }
}
