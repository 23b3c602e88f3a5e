/**
 * Flags kept at the metadata server (paragraph 31): with Harden_Extent_Flags that does not start a commit, and back with
 * Open_Client. There may be many: they go in parts, and the number after them is the size of the file.
 */
import { UserError } from '../../errors.js';
import { type FlagPlace, LEAST_UNKEPT_BYTES, saysNothing } from '../../metadata/flag-places.js';
import type { ExtentFlags } from '../../metadata/messages.js';
import type { Session } from '../session.js';
import type { Asked, FlagsPlace, FoundFlags, KeptRecord } from './contract.js';

/** Of one message: an engine takes so much in one commit (metadata/server/turn.ts). */
const PART_BYTES = 32 * 1024;
const EXTENT_BYTES = 500;

export class FlagsAtMetadata implements FlagsPlace {
  constructor(
    private readonly session: Session,
    private readonly client: string,
  ) {}

  async put({ sizeBytes, extents }: KeptRecord): Promise<number> {
    if (sizeBytes >= LEAST_UNKEPT_BYTES) throw tooLong(sizeBytes);
    await sendFlags(this.session, this.client, extents);
    return sizeBytes;
  }

  /** They lie there still, and nobody asks for them; the commit puts others in their place. */
  async gone(): Promise<void> {}

  async find({ file, number, journal }: Asked): Promise<FoundFlags> {
    const extents = journal.flatMap(({ extent, index, flags }) =>
      flags === null || saysNothing(flags) ? [] : [{ file, index, journal: extent, ...flags }],
    );
    const where: FlagPlace = 'metadata';
    return { kept: { file, sizeBytes: number, extents, where, flagsExtents: [] } };
  }
}

/** Kept, and seen by nobody else. What is not associated is from now on. */
export async function sendFlags(
  session: Session,
  client: string,
  flags: readonly ExtentFlags[],
): Promise<void> {
  for (const extents of partsOf(flags))
    await session.request({ type: 'Harden_Extent_Flags', client, extents, sizes: [], starts: false });
}

function* partsOf(flags: readonly ExtentFlags[]): Generator<ExtentFlags[]> {
  let part: ExtentFlags[] = [];
  let bytes = 0;
  for (const one of flags) {
    part.push(one);
    bytes += EXTENT_BYTES + one.marked.length + one.cleared.length;
    if (bytes < PART_BYTES) continue;
    yield part;
    part = [];
    bytes = 0;
  }
  if (part.length > 0) yield part;
}

function tooLong(sizeBytes: number): UserError {
  return new UserError(
    'OUT_OF_RANGE',
    `what is not committed of a file of ${sizeBytes} bytes cannot be kept at the metadata server`,
    { hint: 'Commit it, or keep it elsewhere (--flags local, --flags data).', details: { sizeBytes } },
  );
}
