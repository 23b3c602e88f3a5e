/**
 * The process-wide pool of I/O buffers, in one WebAssembly memory: file reads land in it, the parity kernels
 * work on it in place, and O_DIRECT takes it because every buffer starts on a page.
 *
 * Invariants
 * - The memory has its final size from the start. Growing one detaches every view of it.
 * - Address space is reserved at first use, not at import, and the operating system gives real memory to
 *   a page when it is first touched: what nobody uses costs nothing.
 * - Buffers hold whatever was in them before; who acquires one writes it before reading it.
 * - Two buffers in use never overlap, and a buffer's bytes cannot be had from it after its release.
 *
 * The rule against deadlock: an operation acquires all that it needs in one `acquire` (and cuts it up with
 * `subarray`), and every layer has an arena of its own. So nobody waits for room in an arena while holding
 * some of the same arena, and waits between layers run downwards only.
 *
 * Waiting is first come, first served: a large request is not overtaken by smaller ones, so it gets its turn
 * once those before it have released, however scattered the arena was. Buffers that are held for long (a
 * cache's) want an arena in which all buffers have one size, because nothing moves them together.
 */
import { UserError } from '../errors.js';

/** Buffers and arenas start and end on multiples of this many bytes. */
export const POOL_PAGE_BYTES = 4096;

const WASM_PAGE_BYTES = 65536;
const MIB = 1024 * 1024;
/** Reservations tried in turn, because strict overcommit counts memory that nobody has touched. */
const RESERVATIONS = [1024 * MIB, 512 * MIB, 256 * MIB, 128 * MIB, 64 * MIB];
/** No buffer lies in the first page: an address that was never set hits none, and the parity kernels need it. */
const RESERVED_BYTES = POOL_PAGE_BYTES;

export interface PoolBuffer {
  /** Exactly as long as was asked for; starts on a page. Throws after `release`. */
  readonly bytes: Uint8Array;
  /** Gives the room back. Releasing twice is a fault of the caller's and throws. */
  release(): void;
}

/** First fit over a range of addresses, in whole pages; free neighbours are joined. */
class FreeSpace {
  /** Ascending and never touching each other. */
  private readonly gaps: { start: number; end: number }[];

  constructor(start: number, end: number) {
    this.gaps = [{ start, end }];
  }

  /** The address of `bytes` (whole pages) in a row, or null. */
  take(bytes: number): number | null {
    const index = this.gaps.findIndex((gap) => gap.end - gap.start >= bytes);
    const gap = this.gaps[index];
    if (gap === undefined) return null;
    const { start } = gap;
    gap.start += bytes;
    if (gap.start === gap.end) this.gaps.splice(index, 1);
    return start;
  }

  give(start: number, bytes: number): void {
    const end = start + bytes;
    const index = this.firstGapFrom(start);
    const before = this.gaps[index - 1];
    const after = this.gaps[index];
    const joinsBefore = before?.end === start;
    const joinsAfter = after?.start === end;
    if (joinsBefore && joinsAfter) {
      before.end = after.end;
      this.gaps.splice(index, 1);
    } else if (joinsBefore) before.end = end;
    else if (joinsAfter) after.start = start;
    else this.gaps.splice(index, 0, { start, end });
  }

  /** Index of the first gap that starts at `address` or later. */
  private firstGapFrom(address: number): number {
    let low = 0;
    let high = this.gaps.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.gaps[middle]!.start < address) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

interface Waiter {
  readonly bytes: number;
  resolve(buffer: PoolBuffer): void;
  reject(error: Error): void;
}

/** A bounded part of the pool, for one layer. */
export class Arena {
  private readonly space: FreeSpace;
  private readonly waiters: Waiter[] = [];
  private used = 0;
  private closed = false;

  /** Arenas come from `BufferPool.arena`. */
  constructor(
    readonly name: string,
    /** Bytes; whole pages. */
    readonly capacity: number,
    private readonly memory: SharedArrayBuffer,
    start: number,
    private readonly giveBack: () => void,
  ) {
    this.space = new FreeSpace(start, start + capacity);
  }

  /** Bytes in use, rounded up to whole pages. */
  get inUse(): number {
    return this.used;
  }

  /** A buffer of `bytes` (1 or more) as soon as there is room and all who asked before have theirs. */
  async acquire(bytes: number): Promise<PoolBuffer> {
    const buffer = this.tryAcquire(bytes);
    if (buffer !== null) return buffer;
    return new Promise((resolve, reject) => {
      this.waiters.push({ bytes, resolve, reject });
    });
  }

  /** A buffer of `bytes` (1 or more), or null when there is no room now or others wait for it. */
  tryAcquire(bytes: number): PoolBuffer | null {
    this.check(bytes);
    return this.waiters.length > 0 ? null : this.take(bytes);
  }

  /**
   * No more buffers from here: who waits is refused. The room goes back to the pool with the release of the
   * last buffer. Closing twice is allowed.
   */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    for (const waiter of this.waiters.splice(0)) waiter.reject(this.closedFault());
    if (this.used === 0) this.giveBack();
  }

  private check(bytes: number): void {
    if (this.closed) throw this.closedFault();
    if (!Number.isSafeInteger(bytes) || bytes < 1 || bytes > this.capacity)
      throw new RangeError(
        `The arena "${this.name}" has ${this.capacity} bytes; a buffer of ${bytes} was asked for.`,
      );
  }

  private closedFault(): Error {
    return new Error(`The arena "${this.name}" is closed.`);
  }

  private take(bytes: number): PoolBuffer | null {
    const room = roundUpToPages(bytes);
    const address = this.space.take(room);
    if (address === null) return null;
    this.used += room;
    let view: Uint8Array | null = new Uint8Array(this.memory, address, bytes);
    return {
      get bytes(): Uint8Array {
        if (view === null) throw new Error('A pool buffer was used after its release.');
        return view;
      },
      release: () => {
        if (view === null) throw new Error(`A buffer of the arena "${this.name}" was released twice.`);
        view = null;
        this.give(address, room);
      },
    };
  }

  private give(address: number, room: number): void {
    this.space.give(address, room);
    this.used -= room;
    if (this.closed && this.used === 0) this.giveBack();
    else this.serveWaiters();
  }

  private serveWaiters(): void {
    for (let first = this.waiters[0]; first !== undefined; first = this.waiters[0]) {
      const buffer = this.take(first.bytes);
      if (buffer === null) return;
      this.waiters.shift();
      first.resolve(buffer);
    }
  }
}

/** One memory and the arenas carved out of it. */
export class BufferPool {
  private static instance: BufferPool | null = null;

  private readonly space: FreeSpace;
  private readonly buffer: SharedArrayBuffer;

  /** Use `shared()`; a pool of one's own is for tests, and the parity kernels do not work in it. */
  constructor(readonly memory: WebAssembly.Memory) {
    this.buffer = memory.buffer;
    this.space = new FreeSpace(RESERVED_BYTES, this.buffer.byteLength);
  }

  /** The process's pool; reserved by the first call. */
  static shared(): BufferPool {
    BufferPool.instance ??= new BufferPool(reserveMemory());
    return BufferPool.instance;
  }

  /** Bytes; what all arenas together may have is one page less. */
  get size(): number {
    return this.buffer.byteLength;
  }

  /**
   * A bounded arena of `bytes`, rounded up to whole pages.
   *
   * @throws UserError REFUSED when the pool has no such room left.
   */
  arena(name: string, bytes: number): Arena {
    if (!Number.isSafeInteger(bytes) || bytes < 1)
      throw new RangeError(`An arena of ${bytes} bytes was asked for.`);
    const capacity = roundUpToPages(bytes);
    const start = this.space.take(capacity);
    if (start === null)
      throw new UserError(
        'REFUSED',
        `There are not ${capacity} bytes in a row left for the buffers of "${name}".`,
        {
          hint: 'Use smaller buffers or a smaller cache, or raise the limit on address space (ulimit -v).',
          details: { arena: name, wantedBytes: capacity, poolBytes: this.size },
        },
      );
    return new Arena(name, capacity, this.buffer, start, () => this.space.give(start, capacity));
  }

  /** Whether the view's bytes lie in the pool's memory. */
  contains(view: Uint8Array): boolean {
    return view.buffer === this.buffer;
  }

  /** Where the view starts in the pool's memory, in bytes. The view must lie in it. */
  address(view: Uint8Array): number {
    if (!this.contains(view)) throw new Error('The address of a view outside the pool was asked for.');
    return view.byteOffset;
  }
}

function roundUpToPages(bytes: number): number {
  return Math.ceil(bytes / POOL_PAGE_BYTES) * POOL_PAGE_BYTES;
}

function reserveMemory(): WebAssembly.Memory {
  let refusal: unknown;
  for (const bytes of RESERVATIONS) {
    const pages = bytes / WASM_PAGE_BYTES;
    try {
      return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      refusal = error;
    }
  }
  throw new UserError('REFUSED', 'No address space could be reserved for I/O buffers.', {
    hint: 'WebAssembly reserves about 10 GiB of address space, whatever its memory: ulimit -v unlimited',
    cause: refusal,
  });
}
