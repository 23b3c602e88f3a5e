/**
 * What is visible of a chain of backups: runs of bytes that are one layer's, in order and apart. The newest layer wins; what no
 * layer has is no run. A place is found in them by halving, however long the chain is.
 */
import type { PieceTable } from './piece-table.js';

export interface Run {
  readonly start: number;
  readonly end: number;
  /** 0: the newest. */
  readonly layer: number;
  readonly piece: number;
}

export class OverlayIndex {
  readonly #starts: Float64Array;
  readonly #ends: Float64Array;
  readonly #layers: Uint32Array;
  readonly #pieces: Uint32Array;
  #count = 0;

  private constructor(room: number) {
    this.#starts = new Float64Array(room);
    this.#ends = new Float64Array(room);
    this.#layers = new Uint32Array(room);
    this.#pieces = new Uint32Array(room);
  }

  /** Tables in the order in which they lie, the newest layer first. */
  static of(layers: readonly PieceTable[]): OverlayIndex {
    return layers.reduce((above, table, layer) => above.#over(table, layer), new OverlayIndex(0));
  }

  get count(): number {
    return this.#count;
  }

  run(index: number): Run {
    return {
      start: this.#starts[index]!,
      end: this.#ends[index]!,
      layer: this.#layers[index]!,
      piece: this.#pieces[index]!,
    };
  }

  /** The first run that ends behind `offset`; `count` where there is none. */
  firstEndingBehind(offset: number): number {
    let low = 0;
    let high = this.#count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#ends[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** With what shows of a layer beneath it. A piece shows in one run more than there are runs over it. */
  #over(table: PieceTable, layer: number): OverlayIndex {
    const both = new OverlayIndex(2 * this.#count + table.count);
    let above = 0;
    for (let piece = 0; piece < table.count; piece++) {
      const end = table.end(piece);
      for (let at = table.start(piece); at < end; ) {
        // Of what lies above, all that ends before this place is done with.
        for (; above < this.#count && this.#ends[above]! <= at; above++) both.#addFrom(this, above);
        const next = above < this.#count ? this.#starts[above]! : Number.POSITIVE_INFINITY;
        if (next <= at) at = Math.min(end, this.#ends[above]!);
        else {
          const stop = Math.min(end, next);
          both.#add(at, stop, layer, piece);
          at = stop;
        }
      }
    }
    for (; above < this.#count; above++) both.#addFrom(this, above);
    return both;
  }

  #add(start: number, end: number, layer: number, piece: number): void {
    const at = this.#count;
    this.#starts[at] = start;
    this.#ends[at] = end;
    this.#layers[at] = layer;
    this.#pieces[at] = piece;
    this.#count = at + 1;
  }

  #addFrom(other: OverlayIndex, index: number): void {
    this.#add(other.#starts[index]!, other.#ends[index]!, other.#layers[index]!, other.#pieces[index]!);
  }
}
