/**
 * Where the bytes of a RAID-5 array lie on its members: pure arithmetic, no I/O.
 *
 * The array is cut into chunks; a stripe is one chunk of every member, at the same place in each member's
 * data area, and one of them holds the parity of the others. Which one, and in which order the data chunks
 * follow, is the layout, whose numbers and meaning are md's (Linux drivers/md/raid5.c,
 * raid5_compute_sector).
 *
 * `slot` is a member's place in the array; `dataIndex` counts the data chunks of one stripe, in the order of
 * the array's bytes. Offsets "in data" are counted from a member's data offset and are the same for every
 * member of a stripe: that is the address space in which locks, resyncs, bitmaps and bad blocks live.
 */

export const LAYOUTS = [
  'left-asymmetric',
  'right-asymmetric',
  'left-symmetric',
  'right-symmetric',
  'parity-first',
  'parity-last',
] as const;

/** md's number of a layout, or undefined for a name that is none. */
export function layoutNumber(name: string): number | undefined {
  const number = (LAYOUTS as readonly string[]).indexOf(name);
  return number < 0 ? undefined : number;
}

/** The name of md's number; a number that is none of RAID-5's gets a name that says so. */
export function layoutName(number: number): string {
  return LAYOUTS[number] ?? `unknown (${number})`;
}

export interface GeometryOptions {
  readonly layout: number;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  /** Used of each member; what is no whole chunk at its end is left unused, as md does. */
  readonly memberSizeBytes: number;
}

/** A run of array bytes within one chunk, and where it lies. */
export interface Piece {
  readonly arrayOffset: number;
  readonly length: number;
  readonly stripe: number;
  readonly dataIndex: number;
  readonly slot: number;
  /** On the member, in data. */
  readonly offsetInData: number;
}

export class Geometry {
  readonly layout: number;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly dataDisks: number;
  readonly stripes: number;
  /** Used of each member, whole chunks. */
  readonly memberSizeBytes: number;
  readonly arraySizeBytes: number;
  /** Data bytes of one stripe. */
  readonly stripeDataBytes: number;

  constructor(options: GeometryOptions) {
    this.layout = options.layout;
    this.chunkBytes = options.chunkBytes;
    this.raidDisks = options.raidDisks;
    this.dataDisks = options.raidDisks - 1;
    this.stripes = Math.floor(options.memberSizeBytes / options.chunkBytes);
    this.memberSizeBytes = this.stripes * options.chunkBytes;
    this.arraySizeBytes = this.memberSizeBytes * this.dataDisks;
    this.stripeDataBytes = this.chunkBytes * this.dataDisks;
  }

  /** The slot that holds the parity of a stripe. */
  parityMember(stripe: number): number {
    const turn = stripe % this.raidDisks;
    switch (this.layout) {
      case 0:
      case 2:
        return this.dataDisks - turn;
      case 1:
      case 3:
        return turn;
      case 4:
        return 0;
      case 5:
        return this.dataDisks;
      default:
        throw new Error(`layout ${this.layout} is not one of RAID-5's`);
    }
  }

  /** The slot that holds data chunk `dataIndex` of a stripe. */
  dataMember(stripe: number, dataIndex: number): number {
    const parity = this.parityMember(stripe);
    if (this.layout === 2 || this.layout === 3) return (parity + 1 + dataIndex) % this.raidDisks;
    return dataIndex < parity ? dataIndex : dataIndex + 1;
  }

  /** Which data chunk of a stripe a slot holds; null where it holds the parity. */
  dataIndexOf(stripe: number, slot: number): number | null {
    const parity = this.parityMember(stripe);
    if (slot === parity) return null;
    if (this.layout === 2 || this.layout === 3) return (slot - parity - 1 + this.raidDisks) % this.raidDisks;
    return slot < parity ? slot : slot - 1;
  }

  /** Cuts array bytes at chunk boundaries, in order. */
  *pieces(arrayOffset: number, length: number): Generator<Piece> {
    const end = arrayOffset + length;
    for (let at = arrayOffset; at < end; ) {
      const piece = this.pieceAt(at, end - at);
      yield piece;
      at += piece.length;
    }
  }

  /** The first of them: at most `length` bytes. */
  pieceAt(arrayOffset: number, length: number): Piece {
    const chunk = Math.floor(arrayOffset / this.chunkBytes);
    const inChunk = arrayOffset - chunk * this.chunkBytes;
    const stripe = Math.floor(chunk / this.dataDisks);
    const dataIndex = chunk - stripe * this.dataDisks;
    return {
      arrayOffset,
      length: Math.min(this.chunkBytes - inChunk, length),
      stripe,
      dataIndex,
      slot: this.dataMember(stripe, dataIndex),
      offsetInData: stripe * this.chunkBytes + inChunk,
    };
  }

  /** The array offset of what a slot holds at an offset in data; null where that is parity. */
  arrayOffsetOf(slot: number, offsetInData: number): number | null {
    const stripe = Math.floor(offsetInData / this.chunkBytes);
    const dataIndex = this.dataIndexOf(stripe, slot);
    if (dataIndex === null) return null;
    return (
      stripe * this.stripeDataBytes + dataIndex * this.chunkBytes + (offsetInData - stripe * this.chunkBytes)
    );
  }
}

/** How many stripes some of `ranges` (in data, ascending, disjoint) lie in. */
export function countStripes(geometry: Geometry, ranges: readonly { start: number; end: number }[]): number {
  let count = 0;
  let last = -1;
  for (const { start, end } of ranges) {
    const first = Math.max(Math.floor(start / geometry.chunkBytes), last + 1);
    const final = Math.floor((end - 1) / geometry.chunkBytes);
    if (final >= first) count += final - first + 1;
    last = Math.max(last, final);
  }
  return count;
}
