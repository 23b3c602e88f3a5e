/**
 * A device that can hold changes back: what is written, zeroed and trimmed waits, while what had come before ends. So a moment
 * can be chosen at which no change is under way, and every one is wholly before it or wholly after.
 *
 * - Reads and flushes are never held: they change nothing.
 * - Who waits goes on in the order in which he came. Nothing fails because it was held.
 * - It costs a look at each call, and one promise for each change.
 *
 * While changes are held another device can be put between: what reads are under way below see what is there, since that has nothing
 * of its own yet.
 */
import { promptOf, writeAll } from './abilities.js';
import { adviseWrite } from './advice.js';
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

export class HoldingDevice implements PromptDevice, BatchDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  #lower: BlockDevice;
  #prompt: PromptDevice | null;
  /** While changes are held: when they may go on. */
  #gate: Promise<void> | null = null;
  #inFlight = 0;
  #idle: (() => void) | null = null;
  readonly #left = (): void => {
    this.#inFlight -= 1;
    if (this.#inFlight === 0) this.#idle?.();
  };

  constructor(lower: BlockDevice) {
    this.#lower = lower;
    this.name = lower.name;
    this.size = lower.size;
    this.blockSize = lower.blockSize;
    this.readOnly = lower.readOnly;
    this.#prompt = promptOf(lower);
  }

  get lower(): BlockDevice {
    return this.#lower;
  }

  /** What `make` gives stands over what is below, and takes all that this one takes. Ends when every call goes to it. */
  async putBetween(make: (lower: BlockDevice) => BlockDevice): Promise<void> {
    await this.held(async () => {
      const between = make(this.#lower);
      if (between.size !== this.size || this.blockSize % between.blockSize !== 0)
        throw new TypeError(`${between.name} does not take all that ${this.name} takes`);
      this.#lower = between;
      this.#prompt = promptOf(between);
    });
  }

  /** `body` runs while no change is under way, and none begins. One at a time. */
  async held<R>(body: () => Promise<R>): Promise<R> {
    while (this.#gate !== null) await this.#gate;
    let open!: () => void;
    this.#gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    try {
      if (this.#inFlight > 0)
        await new Promise<void>((resolve) => {
          this.#idle = resolve;
        });
      return await body();
    } finally {
      this.#idle = null;
      this.#gate = null;
      open();
    }
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.#lower.read(offset, into);
  }

  readNow(offset: number, into: Uint8Array): boolean {
    return this.#prompt?.readNow(offset, into) ?? false;
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.write(offset, from, options));
    return this.#counted(this.#lower.write(offset, from, options));
  }

  writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.writeBatch(batch));
    return this.#counted(writeAll(this.#lower, batch));
  }

  /** A call that ends at once is never under way when changes are held. */
  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    return this.#gate === null && (this.#prompt?.writeNow(offset, from, length) ?? false);
  }

  willWrite(offset: number, length: number): void {
    adviseWrite(this.#lower, offset, length);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.writeZeroes(offset, length, options));
    return this.#counted(this.#lower.writeZeroes(offset, length, options));
  }

  trim(offset: number, length: number): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.trim(offset, length));
    return this.#counted(this.#lower.trim(offset, length));
  }

  flush(): Promise<void> {
    return this.#lower.flush();
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#lower.extents(offset, length);
  }

  close(): Promise<void> {
    return this.#lower.close();
  }

  #counted(call: Promise<void>): Promise<void> {
    this.#inFlight += 1;
    call.then(this.#left, this.#left);
    return call;
  }
}
