/**
 * Makes a secondary a volume of its own, at its last consistent point.
 *
 * From `consistent`: the durable epochs are applied, what has no end is dropped, the marks say so. From `resyncing`: all that
 * is kept is read, and refused while nothing has been changed where some of it is no good; the marks say `promoting`; it is
 * put back and flushed; the marks say `promoted`. From then on no epoch of the log is ever applied. Cut anywhere and called
 * again it goes on, and gives the same.
 */
import { UserError } from '../../errors.js';
import { type BlockRange, blocksWithin } from '../blocks.js';
import type { KeptContainer } from './kept-container.js';
import { type EpochPoint, type Generation, type Marks, type MarksFile, readMarks } from './marks.js';
import { checkMarks, readHeader, type SecondaryParts } from './parts.js';
import { lookAtLog, openKept, openMarks, recover } from './recovery.js';

export interface PromoteOptions {
  /** Of the volume that it becomes; its parent is the one that it has. */
  readonly newGeneration: Generation;
  /** Where there is no consistent point: as the image is. */
  readonly force?: boolean;
}

export interface Promoted {
  /** What the image holds; null: no consistent point, by force. */
  readonly point: EpochPoint | null;
  readonly generation: Generation;
  readonly parent: Generation;
  /** Blocks of 4096 bytes that were put back, because a resync had overwritten them. */
  readonly restoredBlocks: number;
  /** It was already; nothing was changed. */
  readonly wasPromoted: boolean;
}

/**
 * Blocks that the primary may take for synchronized, and that `promote` takes back: those that were overwritten since the point,
 * and those of epochs that are not applied any more. Writes nothing, and says the same until `promote` has ended; null: nobody
 * can tell, or there is no point.
 */
export async function takenBack(parts: SecondaryParts): Promise<readonly BlockRange[] | null> {
  try {
    const marks = await readMarks(parts.marks);
    // Damage of the log shows here.
    const { header, layer } = await lookAtLog(parts, marks);
    if (marks.state === 'consistent') return [];
    const kept = await openKept(parts, marks, header);
    if (kept === null) return null;
    return [...kept.keptRanges(), ...layer.list().map(({ start, end }) => blocksWithin(start, end - start))];
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return null;
  }
}

/** Throws DATA_UNAVAILABLE where there is no consistent point; METADATA_DAMAGED where marks or log are no good. */
export async function promote(
  parts: SecondaryParts,
  { newGeneration, force = false }: PromoteOptions,
): Promise<Promoted> {
  const marks = await openMarks(parts);
  checkMarks(parts, marks.current, false);
  const { state, isKeptWhole } = marks.current;
  if (state === 'promoted') return answer(marks.current, 0, true);
  if (state === 'consistent') {
    await applied(parts, marks, newGeneration, force);
    return answer(marks.current, 0, false);
  }
  const kept = state !== 'initial' && isKeptWhole ? await wholeContainer(parts, marks.current, force) : null;
  if (kept === null) await asItIs(parts, marks, newGeneration, force);
  else await putBack(parts, marks, newGeneration, kept);
  return answer(marks.current, kept?.keptBlocks ?? 0, false);
}

/** With force a log that is no good is left alone. */
async function applied(
  parts: SecondaryParts,
  marks: MarksFile,
  generation: Generation,
  force: boolean,
): Promise<void> {
  const isForced = marks.current.state !== 'consistent';
  try {
    const { point } = await recover(parts, marks);
    await finish(marks, generation, { point, isForced });
  } catch (error) {
    if (!force || !(error instanceof UserError) || error.code !== 'METADATA_DAMAGED') throw error;
    await finish(marks, generation, { point: marks.current.point, isForced: true });
  }
}

/** All of it read; null, by force alone: it is no good, and is to be done without. */
async function wholeContainer(
  parts: SecondaryParts,
  marks: Marks,
  force: boolean,
): Promise<KeptContainer | null> {
  try {
    const kept = await openKept(parts, marks, await readHeader(parts, marks));
    await kept?.verify();
    return kept;
  } catch (error) {
    if (!force || !(error instanceof UserError)) throw error;
    return null;
  }
}

async function putBack(
  parts: SecondaryParts,
  marks: MarksFile,
  generation: Generation,
  kept: KeptContainer,
): Promise<void> {
  if (marks.current.state !== 'promoting') await marks.change({ state: 'promoting' });
  await kept.putBack(parts.image);
  await parts.image.flush();
  await finish(marks, generation, { point: marks.current.point, isForced: false });
}

async function asItIs(
  parts: SecondaryParts,
  marks: MarksFile,
  generation: Generation,
  force: boolean,
): Promise<void> {
  if (!force)
    throw new UserError(
      'DATA_UNAVAILABLE',
      `${parts.image.name}: there is no consistent point: ${whyNot(marks.current)}`,
      {
        hint: 'Let the resync end; or, where the primary is lost, take it as it is with --force, and check what is in it.',
        details: { image: parts.image.name, state: marks.current.state },
      },
    );
  // Some of it may be put back already: epochs of the log are not applied over that.
  if (marks.current.state === 'promoting')
    return finish(marks, generation, { point: marks.current.point, isForced: true });
  await applied(parts, marks, generation, force);
}

function whyNot({ state }: Marks): string {
  return state === 'initial'
    ? 'its first copy has not ended'
    : 'it is being made like its primary, and not all that this has overwritten could be kept';
}

async function finish(
  marks: MarksFile,
  generation: Generation,
  { point, isForced }: { point: EpochPoint; isForced: boolean },
): Promise<void> {
  const { generation: parent } = marks.current;
  await marks.change({ state: 'promoted', generation, parent, point, isForced, isKeptWhole: false });
}

function answer(marks: Marks, restoredBlocks: number, wasPromoted: boolean): Promoted {
  const { generation, parent, point, isForced } = marks;
  return { point: isForced ? null : point, generation, parent, restoredBlocks, wasPromoted };
}
