/**
 * A device that passes its calls to what is below, until it is switched, once: from then on they go to another device, which
 * stands over the same. So a layer comes into a stack that is in use.
 *
 * - Each call goes to one of both, as a whole. Those that come while it is switched wait, until all that went below have
 *   ended: none of them is under way when the first goes to the other. So what keeps bytes in memory, or sectors whole, has
 *   nobody writing behind its back; and when `switchTo` has returned, nothing passes the new layer by.
 * - Those that wait go on in the order in which they came. None of them fails because of the switch: it has nothing that
 *   could fail, since the other device is ready before.
 * - It costs a look at each call, and one promise for those that do not end at once: the caller has the promise of
 *   the device below, and waits for nothing of ours. Once switched it costs the look.
 */
import { promptOf, writeAll } from './abilities.js';
import { adviseWrite } from './advice.js';
import type {
  AdvisedDevice,
  BatchDevice,
  BatchWrite,
  BlockDevice,
  Buffers,
  PromptDevice,
  WriteOptions,
} from './contract.js';

export class SwitchingDevice implements PromptDevice, BatchDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  #current: BlockDevice;
  #prompt: PromptDevice | null;
  #isSwitched = false;
  /** While it is switched: when calls may go on. */
  #gate: Promise<void> | null = null;
  /** Calls that have gone below, and not ended; not counted any more once it is switched. */
  #inFlight = 0;
  #idle: (() => void) | null = null;
  readonly #left = (): void => {
    this.#inFlight -= 1;
    if (this.#inFlight === 0) this.#idle?.();
  };

  constructor(lower: BlockDevice) {
    this.name = lower.name;
    this.size = lower.size;
    this.blockSize = lower.blockSize;
    this.readOnly = lower.readOnly;
    this.#current = lower;
    this.#prompt = promptOf(lower);
  }

  /** What calls go to now. */
  get current(): BlockDevice {
    return this.#current;
  }

  /** Once. `upper` takes all that this one takes. When it returns every call goes there, and none is under way elsewhere. */
  async switchTo(upper: BlockDevice): Promise<void> {
    if (this.#isSwitched || this.#gate !== null) throw new Error(`${this.name} is switched already`);
    if (upper.size !== this.size || this.blockSize % upper.blockSize !== 0)
      throw new TypeError(`${upper.name} does not take all that ${this.name} takes`);
    let open!: () => void;
    this.#gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    if (this.#inFlight > 0)
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    this.#current = upper;
    this.#prompt = promptOf(upper);
    this.#isSwitched = true;
    this.#gate = null;
    open();
  }

  read(offset: number, into: Buffers): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.read(offset, into));
    return this.#counted(this.#current.read(offset, into));
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.write(offset, from, options));
    return this.#counted(this.#current.write(offset, from, options));
  }

  writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.writeBatch(batch));
    return this.#counted(writeAll(this.#current, batch));
  }

  /** A call that ends at once is never under way when it is switched. */
  readNow(offset: number, into: Uint8Array): boolean {
    return this.#gate === null && this.#prompt !== null && this.#prompt.readNow(offset, into);
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    return this.#gate === null && this.#prompt !== null && this.#prompt.writeNow(offset, from, length);
  }

  willWrite(offset: number, length: number): void {
    adviseWrite(this.#current, offset, length);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.writeZeroes(offset, length, options));
    return this.#counted(this.#current.writeZeroes(offset, length, options));
  }

  trim(offset: number, length: number): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.trim(offset, length));
    return this.#counted(this.#current.trim(offset, length));
  }

  flush(): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.flush());
    return this.#counted(this.#current.flush());
  }

  extents(offset: number, length: number): ReturnType<BlockDevice['extents']> {
    if (this.#gate !== null) return this.#gate.then(() => this.extents(offset, length));
    return this.#counted(this.#current.extents(offset, length));
  }

  /** Of what calls go to: once it is switched, what it stood over before is its owner's to close. */
  close(): Promise<void> {
    if (this.#gate !== null) return this.#gate.then(() => this.close());
    return this.#current.close();
  }

  /** It has left before its caller goes on. */
  #counted<T>(call: Promise<T>): Promise<T> {
    if (this.#isSwitched) return call;
    this.#inFlight += 1;
    call.then(this.#left, this.#left);
    return call;
  }
}
