/** A secondary over a connection, which can be lost, and can leave calls without an answer. */
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../../../device/contract.js';

export class Connection implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = false;
  isUp = true;
  #cut: () => void = () => {};
  readonly #isCut = new Promise<void>((resolve) => {
    this.#cut = resolve;
  });

  constructor(
    private readonly lower: BlockDevice,
    /** Calls of this kind get no answer while the connection lasts. */
    private readonly hanging: () => 'flush' | 'write' | null,
  ) {
    this.name = lower.name;
    this.size = lower.size;
    this.blockSize = lower.blockSize;
  }

  read = (offset: number, into: Buffers): Promise<void> => this.#through(() => this.lower.read(offset, into));
  write = (offset: number, from: Buffers, options?: WriteOptions): Promise<void> =>
    this.#through(() => this.lower.write(offset, from, options), 'write');
  writeZeroes = (offset: number, length: number): Promise<void> =>
    this.#through(() => this.lower.writeZeroes(offset, length));
  trim = (offset: number, length: number): Promise<void> =>
    this.#through(() => this.lower.trim(offset, length));
  flush = (): Promise<void> => this.#through(() => this.lower.flush(), 'flush');
  extents = (offset: number, length: number): Promise<Extent[]> => this.lower.extents(offset, length);
  async close(): Promise<void> {
    this.isUp = false;
    this.#cut();
  }

  /** What was done when the connection is lost is done, though nobody hears of it. */
  async #through(call: () => Promise<void>, kind?: 'flush' | 'write'): Promise<void> {
    if (!this.isUp) throw new Error('the connection is lost');
    await (kind !== undefined && kind === this.hanging() ? this.#isCut : call());
    if (!this.isUp) throw new Error('the connection is lost');
  }
}
