/**
 * The intermediate container of a backup (online backup, figures 10 to 12): the content that blocks had at its moment, until the
 * backup storage has it. Slots of a block each in a range of any device: a file, memory, a part of an image.
 *
 * - It costs no barrier, and nothing of it outlives the process: a crash fails the backup. So what is where is known in memory
 *   alone, with a CRC-32C of each slot: what comes back wrong is never put into a backup.
 * - Room is reserved before it is filled, so that nobody waits for room with a block half kept.
 * - Blocks that read as zeroes take no slot once that is known.
 */
import { crc32c } from '@node-rs/crc32';
import { allEnded } from '../../device/all-ended.js';
import type { BlockDevice, PromptDevice } from '../../device/contract.js';
import { isZero } from '../../device/zeroes.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange } from '../../replication/blocks.js';
import { BlockMap } from '../../replication/map/block-map.js';

/** Where the slots are, in bytes. */
export interface ContainerPlace {
  readonly device: BlockDevice;
  readonly offset: number;
  readonly length: number;
}

/** A block without a slot: it held zeroes. */
const ZEROES = -1;

export class SlotContainer {
  readonly #slots = new Map<number, number>();
  /** Of the slots that are in use. */
  readonly #checksums = new Map<number, number>();
  readonly #free: BlockMap;
  #next = 0;
  #reserved = 0;
  /** Blocks that were ever kept. */
  keptEver = 0;

  constructor(private readonly place: ContainerPlace) {
    const slots = Math.floor(place.length / BLOCK_BYTES);
    this.#free = new BlockMap(slots);
    if (slots > 0) this.#free.setAll();
  }

  get capacityBytes(): number {
    return this.#free.blocks * BLOCK_BYTES;
  }

  get usedBytes(): number {
    return (this.#free.blocks - this.#free.count) * BLOCK_BYTES;
  }

  /** False: there is not so much room now. */
  reserve(blocks: number): boolean {
    if (this.#reserved + blocks > this.#free.count) return false;
    this.#reserved += blocks;
    return true;
  }

  unreserve(blocks: number): void {
    this.#reserved -= blocks;
  }

  /** What was reserved for is kept; a block is kept once. Throws what the device throws: then none of it is. */
  async keep(range: BlockRange, content: Uint8Array): Promise<void> {
    this.#reserved -= range.count;
    const plan = this.#plan(range, content);
    try {
      const { device } = this.place;
      await allEnded(this.#writesOf(plan).map(({ offset, from }) => device.write(offset, from)));
    } catch (error) {
      this.#giveBack(plan.slots);
      throw error;
    }
    this.#note(range, plan);
  }

  /** Without a reserve, where nothing has to be waited for; false: nothing was kept. */
  keepNow(range: BlockRange, content: Uint8Array): boolean {
    const { device } = this.place;
    if (!('writeNow' in device) || !this.reserve(range.count)) return false;
    this.unreserve(range.count);
    const plan = this.#plan(range, content);
    const isKept = this.#writesOf(plan).every(({ offset, from }) =>
      (device as PromptDevice).writeNow(offset, from, from.length * BLOCK_BYTES),
    );
    if (isKept) this.#note(range, plan);
    else this.#giveBack(plan.slots);
    return isKept;
  }

  /** Blocks of the range that are kept, in ascending order: of a long one those that are kept are looked through. */
  within({ from, count }: BlockRange): number[] {
    const end = from + count;
    if (count > this.#slots.size)
      return [...this.#slots.keys()].filter((block) => block >= from && block < end).sort((a, b) => a - b);
    const kept: number[] = [];
    for (let block = from; block < end; block++) if (this.#slots.has(block)) kept.push(block);
    return kept;
  }

  /** The content of a block that is kept; shorter at the end of the volume. Throws METADATA_DAMAGED where it is not what was kept. */
  async read(block: number, into: Uint8Array): Promise<void> {
    const slot = this.#slots.get(block);
    if (slot === undefined) throw new Error(`block ${block} is not kept`);
    if (slot === ZEROES) {
      into.fill(0);
      return;
    }
    const { device, offset } = this.place;
    const whole = new Uint8Array(BLOCK_BYTES);
    await device.read(offset + slot * BLOCK_BYTES, whole);
    if (crc32c(whole) !== this.#checksums.get(slot)) {
      throw new UserError(
        'METADATA_DAMAGED',
        `${device.name}: what the container has at offset ${offset + slot * BLOCK_BYTES} is not what was kept there`,
        { details: { image: device.name, offsetBytes: offset + slot * BLOCK_BYTES } },
      );
    }
    into.set(whole.subarray(0, into.length));
  }

  /** Their slots are free. */
  release(blocks: Iterable<number>): void {
    for (const block of blocks) {
      const slot = this.#slots.get(block);
      if (slot === undefined) continue;
      this.#slots.delete(block);
      if (slot === ZEROES) continue;
      this.#checksums.delete(slot);
      this.#free.set({ from: slot, count: 1 });
    }
  }

  #giveBack(slots: readonly number[]): void {
    for (const slot of slots) this.#free.set({ from: slot, count: 1 });
  }

  /** Slots that lie together where that can be: what is kept together is written together. */
  #take(count: number): number[] {
    const taken: number[] = [];
    while (taken.length < count) {
      const run = this.#free.next(this.#next, count - taken.length);
      if (run === null) {
        this.#next = 0;
        continue;
      }
      this.#free.clear(run);
      this.#next = run.from + run.count;
      for (let at = 0; at < run.count; at++) taken.push(run.from + at);
    }
    return taken;
  }

  /** Blocks that are not zeroes, and a slot for each. */
  #plan({ from, count }: BlockRange, content: Uint8Array): Plan {
    const blocks: number[] = [];
    const parts: Uint8Array[] = [];
    for (let at = 0; at < count; at++) {
      const part = content.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES);
      if (isZero(part)) continue;
      blocks.push(from + at);
      parts.push(wholeBlock(part));
    }
    return { blocks, parts, slots: this.#take(blocks.length) };
  }

  /** Slots that lie together are one write. */
  #writesOf({ slots, parts }: Plan): { readonly offset: number; readonly from: readonly Uint8Array[] }[] {
    const writes: { offset: number; from: readonly Uint8Array[] }[] = [];
    for (let at = 0; at < slots.length; ) {
      let end = at + 1;
      while (end < slots.length && slots[end] === slots[end - 1]! + 1) end += 1;
      writes.push({ offset: this.place.offset + slots[at]! * BLOCK_BYTES, from: parts.slice(at, end) });
      at = end;
    }
    return writes;
  }

  #note({ from, count }: BlockRange, { blocks, parts, slots }: Plan): void {
    for (let block = from; block < from + count; block++) this.#slots.set(block, ZEROES);
    for (const [at, block] of blocks.entries()) {
      this.#checksums.set(slots[at]!, crc32c(parts[at]!));
      this.#slots.set(block, slots[at]!);
    }
    this.keptEver += count;
  }
}

interface Plan {
  readonly blocks: readonly number[];
  readonly parts: readonly Uint8Array[];
  readonly slots: readonly number[];
}

function wholeBlock(content: Uint8Array): Uint8Array {
  if (content.length === BLOCK_BYTES) return content;
  const whole = new Uint8Array(BLOCK_BYTES);
  whole.set(content);
  return whole;
}
