/**
 * Makes a promoted volume a secondary again, of the primary that it had: the opposite of promote. Its image stays as it is, and
 * counts as a consistent point, so that a promote before the next resync has ended goes back to it.
 *
 * Order: a new header of the log is durable in both slots before the marks: while they say `promoted` the log counts for
 * nothing, and with any other state what of it was never applied would be. The marks are one sector: a cut leaves a promoted
 * volume or a secondary.
 */
import { UserError } from '../../errors.js';
import { headerSlots } from './log-header.js';
import { type Generation, newId } from './marks.js';
import { checkMarks, NOTHING_KEPT, readHeader, type SecondaryParts } from './parts.js';
import { openMarks } from './recovery.js';

export interface DemoteOptions {
  /** Of the primary that it is to be like. */
  readonly generation: Generation;
  readonly parent: Generation;
  /** Milliseconds since 1970: of the moment that the image is. */
  readonly atMs: number;
}

/** Where it is a secondary already nothing is changed. Throws REFUSED amid a promote, METADATA_DAMAGED where marks or log are no good. */
export async function demote(
  parts: SecondaryParts,
  { generation, parent, atMs }: DemoteOptions,
): Promise<void> {
  const marks = await openMarks(parts);
  checkMarks(parts, marks.current, false);
  const { state, point: promotedAt } = marks.current;
  if (state === 'promoting')
    throw new UserError('REFUSED', `${parts.image.name}: its promotion has begun and not ended`, {
      hint: 'Run promote again: it goes on.',
      details: { image: parts.image.name },
    });
  if (state !== 'promoted') return;
  const point = { epoch: promotedAt.epoch + 1, atMs };
  // What its users wrote last is part of the point.
  await parts.image.flush();
  const header = await readHeader(parts, marks.current);
  const slots = headerSlots(parts.epochs);
  await slots.read();
  await slots.putBoth({
    ...header,
    sequence: header.sequence + 1,
    ...{ logId: newId(), tail: 0, applied: point, keptId: NOTHING_KEPT, keptGroups: 0 },
  });
  const nothingKept = { keptId: NOTHING_KEPT, isKeptWhole: false, isForced: false };
  await marks.change({ state: 'consistent', generation, parent, point, ...nothingKept });
  await parts.kept.trim(0, parts.kept.size);
}
