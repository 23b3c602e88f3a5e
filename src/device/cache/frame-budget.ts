/**
 * The memory of the cache: a fixed number of frames, of which at most so many may be dirty. Who finds none
 * waits, first come, first served; readers and writers wait in lines of their own.
 *
 * Why nobody waits for ever: dirty frames are fewer than all, so readers always get theirs from clean ones;
 * nobody holds a pin while waiting here; and a write-back needs no frame to go down. When write-back fails,
 * the writers that wait are told so instead of waiting for what will not come.
 */
import { CACHE_BLOCK_BYTES } from './cache-block.js';

interface Waiter {
  readonly count: number;
  resolve(frames: Uint8Array[]): void;
  reject(error: unknown): void;
}

export class FrameBudget {
  readonly #free: Uint8Array[] = [];
  /** What no frame was cut from yet: many caches are closed before they need all of it. */
  #uncut: Uint8Array;
  readonly #readers: Waiter[] = [];
  readonly #writers: Waiter[] = [];
  #dirty = 0;

  /**
   * `slab` is cut into frames. `evict` gives the frame of a block that nobody uses, or null.
   */
  constructor(
    slab: Uint8Array,
    readonly dirtyLimit: number,
    private readonly evict: () => Uint8Array | null,
  ) {
    this.#uncut = slab;
  }

  /** Frames that are dirty, or on their way down. */
  get dirty(): number {
    return this.#dirty;
  }

  get hasWaitingWriters(): boolean {
    return this.#writers.length > 0;
  }

  tryTake(count: number): Uint8Array[] | null {
    return this.#readers.length > 0 ? null : this.#cut(count);
  }

  take(count: number): Promise<Uint8Array[]> {
    return wait(this.#readers, count);
  }

  /** A frame that counts as dirty from now on. */
  tryTakeDirty(): Uint8Array | null {
    return this.#writers.length > 0 ? null : this.#cutDirty();
  }

  async takeDirty(): Promise<Uint8Array> {
    const [frame] = await wait(this.#writers, 1);
    return frame!;
  }

  give(frames: readonly Uint8Array[]): void {
    this.#free.push(...frames);
    this.serve();
  }

  /** One dirty frame has become a clean one. */
  clean(): void {
    this.#dirty -= 1;
    this.serve();
  }

  /** Gives frames to those who wait, as far as there are any: to be called when a block became evictable. */
  serve(): void {
    for (let first = this.#writers[0]; first !== undefined; first = this.#writers[0]) {
      const frame = this.#cutDirty();
      if (frame === null) break;
      this.#writers.shift();
      first.resolve([frame]);
    }
    for (let first = this.#readers[0]; first !== undefined; first = this.#readers[0]) {
      const frames = this.#cut(first.count);
      if (frames === null) break;
      this.#readers.shift();
      first.resolve(frames);
    }
  }

  /** Write-back failed: who waits for it to make room would wait for ever. */
  refuseWriters(error: unknown): void {
    for (const writer of this.#writers.splice(0)) writer.reject(error);
  }

  #cutDirty(): Uint8Array | null {
    if (this.#dirty >= this.dirtyLimit) return null;
    const frame = this.#free.pop() ?? this.#newFrame() ?? this.evict();
    if (frame !== null) this.#dirty += 1;
    return frame;
  }

  /** null: all are in use. */
  #newFrame(): Uint8Array | null {
    if (this.#uncut.byteLength < CACHE_BLOCK_BYTES) return null;
    const frame = this.#uncut.subarray(0, CACHE_BLOCK_BYTES);
    this.#uncut = this.#uncut.subarray(CACHE_BLOCK_BYTES);
    return frame;
  }

  #cut(count: number): Uint8Array[] | null {
    while (this.#free.length < count) {
      const frame = this.#newFrame() ?? this.evict();
      if (frame === null) return null;
      this.#free.push(frame);
    }
    return this.#free.splice(this.#free.length - count, count);
  }
}

function wait(line: Waiter[], count: number): Promise<Uint8Array[]> {
  return new Promise((resolve, reject) => {
    line.push({ count, resolve, reject });
  });
}
