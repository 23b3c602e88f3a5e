/**
 * Pieces of a backup in memory, 64 bytes each: a terabyte in pieces of 1 MiB is a million of them, and an object each would
 * be ten times that.
 */
const HASH_BYTES = 32;
const FIRST_ROOM = 1024;
/** In place of where its content is. */
const ZEROES = -1;
const UNUSED = -2;

export interface Piece {
  readonly offset: number;
  readonly length: number;
  /** `zeroes`: it has none; `unused`: neither, and what is there is nobody's. Both read as zeroes. */
  readonly content: { readonly at: number; readonly hash: Uint8Array } | 'zeroes' | 'unused';
}

export class PieceTable {
  #count = 0;
  #offsets: Float64Array;
  #lengths: Float64Array;
  #contents: Float64Array;
  #hashes: Uint8Array;

  constructor(room = FIRST_ROOM) {
    this.#offsets = new Float64Array(room);
    this.#lengths = new Float64Array(room);
    this.#contents = new Float64Array(room);
    this.#hashes = new Uint8Array(room * HASH_BYTES);
  }

  get count(): number {
    return this.#count;
  }

  add({ offset, length, content }: Piece): void {
    const at = this.#count;
    if (at === this.#offsets.length) this.#grow(Math.max(FIRST_ROOM, at * 2));
    this.#offsets[at] = offset;
    this.#lengths[at] = length;
    this.#contents[at] = typeof content === 'string' ? (content === 'zeroes' ? ZEROES : UNUSED) : content.at;
    if (typeof content !== 'string') this.#hashes.set(content.hash, at * HASH_BYTES);
    this.#count = at + 1;
  }

  start(index: number): number {
    return this.#offsets[index]!;
  }

  end(index: number): number {
    return this.#offsets[index]! + this.#lengths[index]!;
  }

  /** It has no content. */
  isZero(index: number): boolean {
    return this.#contents[index]! < 0;
  }

  isUnused(index: number): boolean {
    return this.#contents[index] === UNUSED;
  }

  piece(index: number): Piece {
    const at = this.#contents[index]!;
    const hash = this.#hashes.subarray(index * HASH_BYTES, (index + 1) * HASH_BYTES);
    return {
      offset: this.#offsets[index]!,
      length: this.#lengths[index]!,
      content: at === ZEROES ? 'zeroes' : at === UNUSED ? 'unused' : { at, hash },
    };
  }

  /** Their indexes in the order in which they lie. */
  inOrder(): Uint32Array {
    const order = new Uint32Array(this.#count).map((_, index) => index);
    const offsets = this.#offsets;
    const isSorted = order.every((index) => index === 0 || offsets[index - 1]! <= offsets[index]!);
    if (isSorted) return order;
    return order.sort((a, b) => offsets[a]! - offsets[b]!);
  }

  #grow(room: number): void {
    const grown = <T extends Float64Array | Uint8Array>(into: T, from: T): T => {
      into.set(from);
      return into;
    };
    this.#offsets = grown(new Float64Array(room), this.#offsets);
    this.#lengths = grown(new Float64Array(room), this.#lengths);
    this.#contents = grown(new Float64Array(room), this.#contents);
    this.#hashes = grown(new Uint8Array(room * HASH_BYTES), this.#hashes);
  }
}
