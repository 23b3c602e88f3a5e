/** Tells whether a range of a volume was changed while somebody looked at it: what it held is nobody's concern. */
import { BLOCK_BYTES, type BlockRange, blocksOf, blocksWithin } from '../../replication/blocks.js';
import { BlockMap } from '../../replication/map/block-map.js';
import type { Keeper } from '../../snapshot/gate.js';
import type { VolumeRange } from './places.js';

export class RangeWatch implements Keeper {
  readonly pending: BlockMap;
  #wasHit = false;

  constructor(
    /** Whole blocks. */
    readonly range: VolumeRange,
    sizeBytes: number,
  ) {
    this.pending = new BlockMap(blocksOf(sizeBytes));
    this.pending.set(blocksWithin(range.offset, range.length));
  }

  /** Something there was changed since it stands at the gate. */
  get wasHit(): boolean {
    return this.#wasHit;
  }

  get blocks(): BlockRange {
    return { from: this.range.offset / BLOCK_BYTES, count: this.range.length / BLOCK_BYTES };
  }

  reserve(): boolean {
    return true;
  }

  unreserve(): void {}

  note(range: BlockRange): void {
    this.#wasHit = true;
    this.pending.clear(range);
  }

  /** It has a `note`. */
  async keep(range: BlockRange): Promise<void> {
    this.note(range);
  }

  unreadable(range: BlockRange): void {
    this.note(range);
  }

  async relief(): Promise<void> {}
}
