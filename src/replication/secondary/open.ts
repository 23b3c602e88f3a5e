/** Opens a secondary, for its primary to write or for somebody to look at. */
import { UserError } from '../../errors.js';
import { SecondaryDevice } from './device.js';
import { Epochs } from './epochs.js';
import { type Marks, readMarks } from './marks.js';
import { checkMarks, type SecondaryParts } from './parts.js';
import { lookAtLog, openMarks, recover } from './recovery.js';
import { Ring } from './ring.js';

export interface OpenSecondaryOptions {
  /** Writes nothing; shows the durable epochs over the image. */
  readonly readOnly?: boolean;
  /** For the ends of epochs of which the primary's clock is not said. */
  readonly nowMs?: () => number;
}

/**
 * Recovers it first. Throws METADATA_DAMAGED where marks or log are no good, REFUSED where it was promoted (read only: where
 * a promote has begun and not ended), UNSUPPORTED where a later version wrote it.
 */
export async function openSecondary(
  parts: SecondaryParts,
  { readOnly = false, nowMs = Date.now }: OpenSecondaryOptions = {},
): Promise<SecondaryDevice> {
  if (readOnly) return look(parts, nowMs);
  const marks = await openMarks(parts);
  const { state } = marks.current;
  if (state === 'promoted' || state === 'promoting') throw promoted(parts, marks.current);
  const { applier, ring, slots, header, point } = await recover(parts, marks);
  const writing = { marks, applier, slots, header };
  return new SecondaryDevice({
    parts,
    marks: marks.current,
    ring,
    epochs: new Epochs(point),
    writing,
    nowMs,
  });
}

async function look(parts: SecondaryParts, nowMs: () => number): Promise<SecondaryDevice> {
  const marks = await readMarks(parts.marks);
  checkMarks(parts, marks, true);
  if (marks.state === 'promoting') throw promoted(parts, marks);
  const common = { parts, marks, writing: null, nowMs };
  // The log of what was promoted counts no more.
  if (marks.state === 'promoted')
    return new SecondaryDevice({
      ...common,
      ring: new Ring(parts.epochs, parts.epochs.size),
      epochs: new Epochs(marks.point),
    });
  const { ring, point, layer } = await lookAtLog(parts, marks);
  return new SecondaryDevice({ ...common, ring, epochs: new Epochs(point, layer) });
}

function promoted({ image }: SecondaryParts, { state, generation }: Marks): UserError {
  const details = { image: image.name, generation: generation.number };
  if (state === 'promoting')
    return new UserError('REFUSED', `${image.name}: its promotion has begun and not ended`, {
      hint: 'Run promote again: it goes on.',
      details,
    });
  const what = `${image.name}: it was promoted, and is a volume of its own (generation ${generation.number})`;
  return new UserError('REFUSED', what, {
    hint: 'Remove it, and add it anew: what was written to it since is lost then.',
    details,
  });
}
