/**
 * A range of another device, as a device. It stands for no more than its place: nothing is kept here, a flush is the other's, and closing it
 * leaves that open.
 */
import { byteLength } from './buffers.js';
import { CallGuard } from './call-guard.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from './contract.js';

export interface PartOptions {
  readonly name: string;
  /** Bytes; multiples of the other's block size, within it. */
  readonly offset: number;
  readonly length: number;
}

export class PartDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #offset: number;
  readonly #guard: CallGuard;

  constructor(
    private readonly lower: BlockDevice,
    { name, offset, length }: PartOptions,
  ) {
    this.name = name;
    this.size = length;
    this.blockSize = lower.blockSize;
    this.readOnly = lower.readOnly;
    this.#offset = offset;
    this.#guard = new CallGuard(this);
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.#guard.run('read', offset, byteLength(into), () => this.lower.read(this.#at(offset), into));
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    return this.#guard.run('write', offset, byteLength(from), () =>
      this.lower.write(this.#at(offset), from, options),
    );
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, () =>
      this.lower.writeZeroes(this.#at(offset), length, options),
    );
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, () => this.lower.trim(this.#at(offset), length));
  }

  flush(): Promise<void> {
    return this.#guard.flush(() => this.lower.flush());
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], async () =>
      (await this.lower.extents(this.#at(offset), length)).map((extent) => ({
        ...extent,
        offset: extent.offset - this.#offset,
      })),
    );
  }

  close(): Promise<void> {
    return this.#guard.close(async () => {});
  }

  #at(offset: number): number {
    return this.#offset + offset;
  }
}
