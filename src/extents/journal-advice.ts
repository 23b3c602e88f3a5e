/**
 * Tells devices which journal extents are written next (AdvisedDevice). They come from wherever extents were spent, so
 * nobody below can foresee them; and what RAID has to write before the first byte of one would stand behind the flush of
 * the commit that is under way.
 */
import { adviseWrite } from '../device/advice.js';
import type { BlockDevice } from '../device/contract.js';
import { RangeSet } from '../device/range-set.js';
import type { ExtentPool } from '../metadata/completion.js';

/**
 * Half of what RAID remembers (raid/record/record-intent.ts), should none lie beside another: those that were taken and
 * are not written yet are among it still.
 */
const MOST_EXTENTS = 32;
const MOST_BYTES = 32 * 1024 * 1024;

export class JournalAdvice {
  readonly #most: number;
  /** The last time, and not taken since. */
  #told = new Set<number>();

  constructor(
    private readonly pool: ExtentPool,
    private readonly extentBytes: number,
  ) {
    this.#most = Math.min(MOST_EXTENTS, Math.max(1, Math.floor(MOST_BYTES / extentBytes)));
  }

  /**
   * In the order in which they are taken. Nothing is told until half of those that are next are new, since each time may
   * cost a record; then all of them are, since who was told long ago may have forgotten.
   */
  ready(extents: readonly number[]): void {
    const next = extents.slice(0, this.#most);
    const news = next.filter((extent) => !this.#told.has(extent)).length;
    if (news === 0 || 2 * news < next.length) return;
    this.#told = new Set(next);
    const ranges = new Map<BlockDevice, RangeSet>();
    for (const extent of next) {
      const { device, offsetBytes } = this.pool.locate(extent);
      const ofDevice = ranges.get(device) ?? new RangeSet();
      ofDevice.add(offsetBytes, offsetBytes + this.extentBytes);
      ranges.set(device, ofDevice);
    }
    for (const [device, ofDevice] of ranges)
      for (const { start, end } of ofDevice.list()) adviseWrite(device, start, end - start);
  }

  taken(extents: readonly number[]): void {
    for (const extent of extents) this.#told.delete(extent);
  }
}
