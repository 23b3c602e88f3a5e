/**
 * A device that stops calls at the door until the test lets them in: for races that must happen, and not
 * only may.
 */
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../../../src/device/contract.js';

type Held = 'read' | 'write' | 'write-zeroes' | 'trim' | 'flush' | 'extents';

interface Waiting {
  readonly operation: Held;
  readonly offset: number;
  enter(): void;
}

export class HeldDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #held = new Set<Held>();
  #waiting: Waiting[] = [];
  #arrival: (() => void) | null = null;

  constructor(private readonly base: BlockDevice) {
    this.name = base.name;
    this.size = base.size;
    this.blockSize = base.blockSize;
    this.readOnly = base.readOnly;
  }

  /** From now on such calls wait. */
  hold(operation: Held): void {
    this.#held.add(operation);
  }

  /** How many calls wait. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** Ends when at least so many calls wait. */
  async arrived(count: number): Promise<void> {
    while (this.#waiting.length < count) {
      await new Promise<void>((resolve) => {
        this.#arrival = resolve;
      });
    }
  }

  /** Lets one in, by the order in which they came; later ones of that kind wait still. */
  letIn(at: number): void {
    const [call] = this.#waiting.splice(at, 1);
    call?.enter();
  }

  /** Lets those in that wait, and all later ones of that kind. */
  release(operation: Held): void {
    this.#held.delete(operation);
    const entering = this.#waiting.filter((call) => call.operation === operation);
    this.#waiting = this.#waiting.filter((call) => call.operation !== operation);
    for (const call of entering) call.enter();
  }

  async read(offset: number, into: Buffers): Promise<void> {
    await this.#door('read', offset);
    await this.base.read(offset, into);
  }

  async write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    await this.#door('write', offset);
    await this.base.write(offset, from, options);
  }

  async writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    await this.#door('write-zeroes', offset);
    await this.base.writeZeroes(offset, length, options);
  }

  async trim(offset: number, length: number): Promise<void> {
    await this.#door('trim', offset);
    await this.base.trim(offset, length);
  }

  async flush(): Promise<void> {
    await this.#door('flush', 0);
    await this.base.flush();
  }

  async extents(offset: number, length: number): Promise<Extent[]> {
    await this.#door('extents', offset);
    return this.base.extents(offset, length);
  }

  close(): Promise<void> {
    return this.base.close();
  }

  async #door(operation: Held, offset: number): Promise<void> {
    if (!this.#held.has(operation)) return;
    await new Promise<void>((enter) => {
      this.#waiting.push({ operation, offset, enter });
      this.#arrival?.();
    });
  }
}
