/**
 * A device as all connections of an export see it: calls that overlap have an order (device/range-lock.ts), and any
 * bytes may be read and written (unaligned.ts). Claims are on whole blocks, so that what is read around an
 * unaligned write is not changed by others before it is written back.
 *
 * Offsets and lengths are bytes, within the device; lengths are 1 or more.
 */
import { promptOf } from '../../device/abilities.js';
import { allEnded } from '../../device/all-ended.js';
import type { BlockDevice, Extent, PromptDevice, WriteOptions } from '../../device/contract.js';
import { type Claim, RangeLock } from '../../device/range-lock.js';
import { blockEnd, blockStart, isAligned, readBytes, writeBytes, zeroBytes } from './unaligned.js';

/** Written where a hole is not wanted, as often as it takes. */
const ZEROES = new Uint8Array(1024 * 1024);
const ZEROES_AT_ONCE = 4;

/** A part of a read: `data` has been read, anything else reads as zeroes and its buffer was left alone. */
export interface ReadPart {
  readonly offset: number;
  readonly length: number;
  readonly isData: boolean;
}

export class OrderedDevice {
  readonly #lock = new RangeLock();

  /** The same device where it has prompt calls. */
  readonly #prompt: PromptDevice | null;

  constructor(readonly device: BlockDevice | PromptDevice) {
    this.#prompt = promptOf(device);
  }

  /** The same as `read`, done when it returns; false: it has to wait, or something is wrong. */
  readNow(offset: number, into: Uint8Array): boolean {
    return this.#isPrompt(offset, into.byteLength, false) && this.#prompt!.readNow(offset, into);
  }

  /** The same as `write`, volatile; false: `write` has to do it, all of it. */
  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    return this.#isPrompt(offset, length, true) && this.#prompt!.writeNow(offset, from, length);
  }

  /** Fills `into`. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    const claim = this.#enter(offset, into.byteLength, false);
    if (claim.blocked) await claim.turn();
    try {
      await this.#readNow(offset, into);
    } finally {
      this.#lock.leave(claim);
    }
  }

  /** Fills those parts of `into` that hold data, and says which they are: in order, without gaps. */
  async readParts(offset: number, into: Uint8Array): Promise<ReadPart[]> {
    const length = into.byteLength;
    const claim = this.#enter(offset, length, false);
    if (claim.blocked) await claim.turn();
    try {
      const parts = partsOf(await this.device.extents(claim.start, claim.end - claim.start), offset, length);
      const reads = parts
        .filter(({ isData }) => isData)
        .map((part) =>
          this.#readNow(part.offset, into.subarray(part.offset - offset, part.offset - offset + part.length)),
        );
      // All have ended before the claim and the buffer are given up, also when one fails.
      await allEnded(reads);
      return parts;
    } finally {
      this.#lock.leave(claim);
    }
  }

  async write(
    offset: number,
    from: readonly Uint8Array[],
    length: number,
    options: WriteOptions,
  ): Promise<void> {
    const claim = this.#enter(offset, length, true);
    if (claim.blocked) await claim.turn();
    try {
      if (isAligned(this.device, offset, length)) await this.device.write(offset, from, options);
      else await writeBytes(this.device, offset, from, length, options);
    } finally {
      this.#lock.leave(claim);
    }
  }

  /** The range reads as zeroes afterwards. */
  async zero(offset: number, length: number, options: WriteOptions): Promise<void> {
    const claim = this.#enter(offset, length, true);
    if (claim.blocked) await claim.turn();
    try {
      if (isAligned(this.device, offset, length)) await this.device.writeZeroes(offset, length, options);
      else await zeroBytes(this.device, offset, length, options);
    } finally {
      this.#lock.leave(claim);
    }
  }

  /** The same by writing zeroes: afterwards the range is allocated. */
  async writeZeroData(offset: number, length: number): Promise<void> {
    for (let at = offset; at < offset + length; ) {
      const bytes = Math.min(offset + length - at, ZEROES.byteLength * ZEROES_AT_ONCE);
      await this.write(at, zeroViews(bytes), bytes, {});
      at += bytes;
    }
  }

  /** Drops the content of the blocks that lie in the range as a whole. */
  async trim(offset: number, length: number): Promise<void> {
    const start = blockEnd(this.device, offset);
    const end = blockStart(this.device, offset + length);
    if (start >= end) return;
    const claim = this.#enter(start, end - start, true);
    if (claim.blocked) await claim.turn();
    try {
      await this.device.trim(start, end - start);
    } finally {
      this.#lock.leave(claim);
    }
  }

  /** All that was written, by whichever connection, and answered. */
  flush(): Promise<void> {
    return this.device.flush();
  }

  /** The range is claimed by nobody whom it would have to wait for. */
  #isPrompt(offset: number, length: number, exclusive: boolean): boolean {
    const isPossible = this.#prompt !== null && isAligned(this.device, offset, length);
    return isPossible && this.#lock.isFree(offset, offset + length, exclusive);
  }

  #enter(offset: number, length: number, exclusive: boolean): Claim {
    const { device } = this;
    return this.#lock.enter(blockStart(device, offset), blockEnd(device, offset + length), exclusive);
  }

  #readNow(offset: number, into: Uint8Array): Promise<void> {
    if (isAligned(this.device, offset, into.byteLength)) return this.device.read(offset, into);
    return readBytes(this.device, offset, into);
  }
}

/** The extents of the blocks, cut to the range; what reads as zeroes is joined. */
function partsOf(extents: readonly Extent[], offset: number, length: number): ReadPart[] {
  const parts: { offset: number; length: number; isData: boolean }[] = [];
  for (const extent of extents) {
    const start = Math.max(extent.offset, offset);
    const end = Math.min(extent.offset + extent.length, offset + length);
    if (start >= end) continue;
    const isData = extent.kind === 'data';
    const last = parts.at(-1);
    if (last?.isData === isData) last.length += end - start;
    else parts.push({ offset: start, length: end - start, isData });
  }
  return parts;
}

function zeroViews(bytes: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  for (let left = bytes; left > 0; left -= ZEROES.byteLength) {
    views.push(left < ZEROES.byteLength ? ZEROES.subarray(0, left) : ZEROES);
  }
  return views;
}
