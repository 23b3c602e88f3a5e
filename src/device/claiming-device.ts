/**
 * A device of which ranges can be claimed by somebody who uses what is below by himself. To everybody above a claimed range is zeroes
 * that nobody changes: a read gives zeroes, the extents are holes, zeroing and trimming have nothing to do. So whoever looks at the
 * content, now or at a moment that is kept, need know nothing of what lies there.
 *
 * - A write of data is not refused: it has the claim given up first, by whoever made it, and waits for that; so do all that come
 *   meanwhile. Where that fails so do they.
 * - Without claims a call costs a look, and its caller has the promise of the device below.
 * - A claim begins while nothing is under way there.
 */
import { promptOf, writeAll } from './abilities.js';
import { adviseWrite } from './advice.js';
import { allEnded } from './all-ended.js';
import { byteLength, fillBuffers, sliceBuffers } from './buffers.js';
import { CallGuard } from './call-guard.js';
import type {
  AdvisedDevice,
  BatchDevice,
  BatchWrite,
  BlockDevice,
  Buffers,
  Extent,
  PromptDevice,
  WriteOptions,
} from './contract.js';
import { ExtentList } from './extent-list.js';

/** In bytes, whole blocks of the device. */
export interface ClaimedRange {
  readonly offset: number;
  readonly length: number;
}

export interface RangeClaim extends ClaimedRange {
  /** The range is as below from now on: zeroes. */
  end(): void;
}

/** Somebody writes there, first at this offset: ends the claim before it returns, or throws what the write is to fail with. */
export type GiveUp = (offset: number) => Promise<void>;

interface Held extends ClaimedRange {
  readonly giveUp: GiveUp;
  /** For all who wait. */
  givingUp: Promise<void> | null;
}

interface Piece extends ClaimedRange {
  readonly isClaimed: boolean;
}

export class ClaimingDevice implements PromptDevice, BatchDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #prompt: PromptDevice | null;
  /** Of calls that touch a claim. */
  readonly #guard: CallGuard;
  /** By their offsets; they do not overlap. */
  #held: readonly Held[] = [];

  constructor(readonly lower: BlockDevice) {
    this.name = lower.name;
    this.size = lower.size;
    this.blockSize = lower.blockSize;
    this.readOnly = lower.readOnly;
    this.#prompt = promptOf(lower);
    this.#guard = new CallGuard(this);
  }

  /** From now on. For who sees to it that nothing is under way there. */
  claim({ offset, length }: ClaimedRange, giveUp: GiveUp): RangeClaim {
    const isWhole = offset % this.blockSize === 0 && length % this.blockSize === 0;
    if (
      !isWhole ||
      length <= 0 ||
      offset < 0 ||
      offset + length > this.size ||
      this.isClaimed(offset, length)
    )
      throw new RangeError(`${this.name}: ${length} bytes at offset ${offset} cannot be claimed`);
    const held: Held = { offset, length, giveUp, givingUp: null };
    this.#held = [...this.#held, held].sort((a, b) => a.offset - b.offset);
    const end = () => {
      this.#held = this.#held.filter((one) => one !== held);
    };
    return { offset, length, end };
  }

  /** Some of it. */
  isClaimed(offset: number, length: number): boolean {
    return this.#first(offset, length) !== undefined;
  }

  read(offset: number, into: Buffers): Promise<void> {
    if (this.#held.length === 0) return this.lower.read(offset, into);
    const length = byteLength(into);
    if (!this.isClaimed(offset, length)) return this.lower.read(offset, into);
    return this.#guard.run('read', offset, length, () =>
      allEnded(
        this.#pieces(offset, length).map(async (piece) => {
          const at = piece.offset - offset;
          if (piece.isClaimed) fillBuffers(into, at, piece.length, 0);
          else await this.lower.read(piece.offset, sliceBuffers(into, at, piece.length));
        }),
      ),
    );
  }

  readNow(offset: number, into: Uint8Array): boolean {
    return (
      this.#prompt !== null && !this.isClaimed(offset, into.length) && this.#prompt.readNow(offset, into)
    );
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    const below = () => this.lower.write(offset, from, options);
    if (this.#held.length === 0) return below();
    const length = byteLength(from);
    if (!this.isClaimed(offset, length)) return below();
    return this.#guard.run('write', offset, length, async () => {
      await this.#freed([{ offset, length }]);
      await below();
    });
  }

  /** What is out of range is refused below, with nothing of the batch. */
  writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    const below = () => writeAll(this.lower, batch);
    if (this.#held.length === 0) return below();
    const ranges = batch.map(({ offset, from }) => ({ offset, length: byteLength(from) }));
    const first = ranges.find(({ offset, length }) => this.isClaimed(offset, length));
    if (first === undefined) return below();
    return this.#guard.run('write', first.offset, first.length, async () => {
      await this.#freed(ranges);
      await below();
    });
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    return (
      this.#prompt !== null && !this.isClaimed(offset, length) && this.#prompt.writeNow(offset, from, length)
    );
  }

  willWrite(offset: number, length: number): void {
    adviseWrite(this.lower, offset, length);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    if (!this.isClaimed(offset, length)) return this.lower.writeZeroes(offset, length, options);
    return this.#guard.run('write-zeroes', offset, length, () =>
      this.#outside(offset, length, (piece) => this.lower.writeZeroes(piece.offset, piece.length, options)),
    );
  }

  trim(offset: number, length: number): Promise<void> {
    if (!this.isClaimed(offset, length)) return this.lower.trim(offset, length);
    return this.#guard.run('trim', offset, length, () =>
      this.#outside(offset, length, (piece) => this.lower.trim(piece.offset, piece.length)),
    );
  }

  flush(): Promise<void> {
    return this.lower.flush();
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    if (!this.isClaimed(offset, length)) return this.lower.extents(offset, length);
    return this.#guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      for (const piece of this.#pieces(offset, length)) {
        if (piece.isClaimed) list.add(piece.offset, piece.length, 'hole');
        else list.addAll(await this.lower.extents(piece.offset, piece.length));
      }
      return list.list();
    });
  }

  close(): Promise<void> {
    return this.#guard.close(() => this.lower.close());
  }

  #first(offset: number, length: number): Held | undefined {
    return this.#held.find((held) => offset < held.offset + held.length && held.offset < offset + length);
  }

  /** No claim touches them any more. */
  async #freed(ranges: readonly ClaimedRange[]): Promise<void> {
    for (const { offset, length } of ranges)
      for (let held = this.#first(offset, length); held !== undefined; held = this.#first(offset, length))
        await this.#givenUp(held, Math.max(offset, held.offset));
  }

  async #givenUp(held: Held, offset: number): Promise<void> {
    held.givingUp ??= held.giveUp(offset).finally(() => {
      held.givingUp = null;
    });
    await held.givingUp;
    if (this.#held.includes(held)) throw new Error(`${this.name}: offset ${held.offset} is claimed still`);
  }

  #outside(offset: number, length: number, body: (piece: Piece) => Promise<void>): Promise<void> {
    const outside = this.#pieces(offset, length).filter(({ isClaimed }) => !isClaimed);
    return allEnded(outside.map(body));
  }

  /** In order, without gaps. */
  #pieces(offset: number, length: number): Piece[] {
    const end = offset + length;
    const pieces: Piece[] = [];
    let at = offset;
    const upTo = (stop: number, isClaimed: boolean) => {
      if (stop > at) pieces.push({ offset: at, length: stop - at, isClaimed });
      at = Math.max(at, stop);
    };
    for (const held of this.#held) {
      if (held.offset >= end) break;
      upTo(held.offset, false);
      upTo(Math.min(end, held.offset + held.length), true);
    }
    upTo(end, false);
    return pieces;
  }
}
