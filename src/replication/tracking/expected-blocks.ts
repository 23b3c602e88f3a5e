/**
 * Blocks that are written soon, as somebody above says (AdvisedDevice): they are listed in the transaction log with what is listed
 * anyway, so that their own writes find them there. In an `extents` volume these are the journal extents that are taken next, and
 * what the metadata's log comes to: a commit then waits for no transaction of the tracker's own (coordinated dirty block tracking,
 * paragraph 52).
 *
 * Invariants
 * - It only adds to what is listed: a block is taken off only where nobody has it dirty.
 * - What is listed ahead and not written is as good as dirty after a crash, and bounded. Where the log is full, everything is
 *   said to be in sync, or the volume is closed, it is taken off first.
 */
import { ExpectedRanges } from '../../device/expected-ranges.js';
import type { Range } from '../../device/range-set.js';
import type { BlockRange } from '../blocks.js';

const LIMITS = { ranges: 64, units: 16384 };

export class ExpectedBlocks {
  readonly #ranges: ExpectedRanges;

  /** `forget`: they are not expected any more, whether they were listed or not. */
  constructor(
    blocks: number,
    private readonly forget: (range: BlockRange) => void,
  ) {
    this.#ranges = new ExpectedRanges(LIMITS, blocks);
  }

  expect({ from, count }: BlockRange): void {
    this.#forgetAll(this.#ranges.expect({ start: from, end: from + count }));
  }

  /** A write of these begins. */
  begun({ from, count }: BlockRange): void {
    this.#forgetAll(this.#ranges.begun({ start: from, end: from + count }));
  }

  /** To be listed with what is listed next; none where nothing has come since the last time. */
  take(): BlockRange[] {
    const due = this.#ranges.unconsidered().map(blocksOf);
    this.#ranges.considered();
    return due;
  }

  dropAll(): void {
    const dropped = this.#ranges.list();
    this.#ranges.reset();
    this.#forgetAll(dropped);
  }

  #forgetAll(ranges: readonly Range[]): void {
    for (const range of ranges) this.forget(blocksOf(range));
  }
}

function blocksOf({ start, end }: Range): BlockRange {
  return { from: start, count: end - start };
}
