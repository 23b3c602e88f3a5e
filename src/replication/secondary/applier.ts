/**
 * Brings what durable epochs have gathered into the image.
 *
 * The order, while a resync runs: what is overwritten is durable in the container; the log's header says durably how many
 * groups that has, so that one that rots is not taken for one that was being written; or the marks say durably that it is not
 * whole; then the image is written, and flushed. Doing it again does no harm as long as all epochs behind it
 * are done again too: recovery does all of the log, in order.
 */

import { allEnded } from '../../device/all-ended.js';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import type { KeptContainer } from './kept-container.js';
import type { Layer } from './layer.js';
import { type Content, contentsOf } from './log-windows.js';
import type { MarksFile } from './marks.js';
import type { Ring } from './ring.js';

/** A write to the image. */
const MOST_AT_ONCE = 1024 * 1024;
const WRITES_IN_FLIGHT = 8;

export interface AppliedTo {
  readonly image: BlockDevice;
  readonly ring: Ring;
  readonly marks: MarksFile;
}

export class Applier {
  /** Why the container is not whole, since this opening; null: it is, or nothing is kept. */
  keptFailure: UserError | null = null;
  /** null: nothing is kept. */
  kept: KeptContainer | null = null;

  constructor(
    private readonly to: AppliedTo,
    /** Makes durable that the container has so many groups. */
    public noteKept: (kept: KeptContainer) => Promise<void>,
  ) {}

  /** In the image, and flushed, when it returns. */
  async apply(layer: Layer): Promise<void> {
    if (this.kept !== null && (await this.keep(this.kept, layer))) await this.noteKept(this.kept);
    const segments = layer.list();
    // A trim of the image might leave what it held: then it would read otherwise than the layer did.
    await eachOf(
      segments.filter(({ payload }) => payload === null),
      ({ start, end }) => this.to.image.writeZeroes(start, end - start),
    );
    for await (const contents of contentsOf(this.to.ring, segments))
      await eachOf(writesOf(contents), (write) => this.write(write));
    await this.to.image.flush();
  }

  /** From now on nothing is kept, and nobody goes back to the point. */
  async giveUpKeeping(why: UserError): Promise<void> {
    await this.to.marks.change({ isKeptWhole: false });
    this.kept = null;
    this.keptFailure = why;
  }

  /** Whether there is more in it now. */
  private async keep(kept: KeptContainer, layer: Layer): Promise<boolean> {
    const before = kept.groupCount;
    try {
      await kept.keep(this.to.image, layer);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      await this.giveUpKeeping(error);
      return false;
    }
    return kept.groupCount > before;
  }

  /** They lie side by side. */
  private write(contents: readonly Content[]): Promise<void> {
    const buffers = contents.map(({ bytes }) => bytes);
    return this.to.image.write(contents[0]!.start, buffers);
  }
}

/** A few at a time, until all have ended. */
async function eachOf<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  let at = 0;
  const next = async (): Promise<void> => {
    while (at < all.length) await work(all[at++]!);
  };
  await allEnded(Array.from({ length: Math.min(WRITES_IN_FLIGHT, all.length) }, next));
}

/** Those that lie side by side are one. */
function writesOf(contents: readonly Content[]): Content[][] {
  const writes: Content[][] = [];
  for (const content of contents) {
    const group = writes.at(-1);
    const isNext = group?.at(-1)?.end === content.start && content.end - group[0]!.start <= MOST_AT_ONCE;
    if (isNext) group.push(content);
    else writes.push([content]);
  }
  return writes;
}
