/**
 * Where the content of kept blocks lies, and its checksum: of any number of blocks, wherever they are. A Map of objects takes some
 * 300 bytes for each, and no more than 16.7 million.
 *
 * Blocks are of regions of 128 MiB. Each region is a table of its own with open addressing, which doubles: so no call does more
 * than 32,768 steps. One that has a place for each block of its region is looked up by the number of the block.
 */

export interface Place {
  /** Of the content's first byte. */
  readonly position: number;
  /** CRC-32C. */
  readonly checksum: number;
}

const REGION_BLOCKS = 32_768;
const SMALLEST_SLOTS = 4;
/** 2^32 divided by the golden ratio: numbers that follow one another, or have the same distance, are spread. */
const SPREAD = 0x9e37_79b1;
/** Of a slot. */
const SLOT_BYTES = 8 + 4 + 2;

class Region {
  size = 0;
  /** 1 more than the position; 0: the slot is free. Bytes of the largest file are no whole number of 32 bits. */
  #positions: Float64Array;
  #checksums: Uint32Array;
  /** Which block of the region it is of. */
  #numbers: Uint16Array;

  constructor(private slots = SMALLEST_SLOTS) {
    [this.#positions, this.#checksums, this.#numbers] = tables(slots);
  }

  get bytes(): number {
    return this.slots * SLOT_BYTES;
  }

  get(number: number): Place | undefined {
    const slot = this.#slotOf(number);
    const position = this.#positions[slot]!;
    return position === 0 ? undefined : { position: position - 1, checksum: this.#checksums[slot]! };
  }

  set(number: number, { position, checksum }: Place): void {
    // A quarter stays free, so that no search is long; where each block has its own slot there is none.
    if (this.size >= this.slots * 0.75 && this.slots < REGION_BLOCKS) this.#grow();
    this.#put(number, position + 1, checksum);
  }

  #put(number: number, position: number, checksum: number): void {
    const slot = this.#slotOf(number);
    if (this.#positions[slot] === 0) this.size += 1;
    this.#positions[slot] = position;
    this.#checksums[slot] = checksum;
    this.#numbers[slot] = number;
  }

  /** Where it is, or is to be. */
  #slotOf(number: number): number {
    if (this.slots === REGION_BLOCKS) return number;
    const mask = this.slots - 1;
    let slot = (Math.imul(number, SPREAD) >>> 16) & mask;
    while (this.#positions[slot] !== 0 && this.#numbers[slot] !== number) slot = (slot + 1) & mask;
    return slot;
  }

  #grow(): void {
    const [positions, checksums, numbers] = [this.#positions, this.#checksums, this.#numbers];
    this.slots *= 2;
    this.size = 0;
    [this.#positions, this.#checksums, this.#numbers] = tables(this.slots);
    for (const [slot, position] of positions.entries())
      if (position !== 0) this.#put(numbers[slot]!, position, checksums[slot]!);
  }
}

function tables(slots: number): [Float64Array, Uint32Array, Uint16Array] {
  const bytes = new ArrayBuffer(slots * SLOT_BYTES);
  return [
    new Float64Array(bytes, 0, slots),
    new Uint32Array(bytes, slots * 8, slots),
    new Uint16Array(bytes, slots * 12, slots),
  ];
}

export class PlaceTable {
  readonly #regions = new Map<number, Region>();

  get size(): number {
    return this.#sum(({ size }) => size);
  }

  /** Of its slots. */
  get bytes(): number {
    return this.#sum(({ bytes }) => bytes);
  }

  get(block: number): Place | undefined {
    const number = block % REGION_BLOCKS;
    return this.#regions.get((block - number) / REGION_BLOCKS)?.get(number);
  }

  set(block: number, place: Place): void {
    const number = block % REGION_BLOCKS;
    const at = (block - number) / REGION_BLOCKS;
    const region = this.#regions.get(at) ?? new Region();
    this.#regions.set(at, region);
    region.set(number, place);
  }

  #sum(of: (region: Region) => number): number {
    return [...this.#regions.values()].reduce((sum, region) => sum + of(region), 0);
  }
}
