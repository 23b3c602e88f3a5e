/**
 * Memory for the data of replies: from the process's pool, so that devices below work on it in place, and used
 * again for the next reply.
 *
 * Each buffer has room for a reply's header right before its data: header and data then leave as one piece.
 * Buffers come in powers of two. Where the pool has no room, ordinary memory serves: how much there is at a time
 * is the budget's business, which whoever takes a buffer has asked before.
 */
import { type Arena, BufferPool, POOL_PAGE_BYTES, type PoolBuffer } from '../../device/pool.js';
import { UserError } from '../../errors.js';

/** Before the data, so that data starts on a page; a header takes its end. */
const HEAD_BYTES = POOL_PAGE_BYTES;
const SMALLEST_BYTES = 4096;

export class ReplyBuffer {
  constructor(
    /** Headroom and data. */
    private readonly memory: Buffer,
    private readonly room: PoolBuffer | null,
  ) {}

  /** Bytes of data that it can hold. */
  get capacity(): number {
    return this.memory.byteLength - HEAD_BYTES;
  }

  get isPooled(): boolean {
    return this.room !== null;
  }

  /** The first `length` bytes of data. */
  data(length: number): Buffer {
    return this.memory.subarray(HEAD_BYTES, HEAD_BYTES + length);
  }

  /** The same with `header` bytes before them. */
  framed(header: number, length: number): Buffer {
    return this.memory.subarray(HEAD_BYTES - header, HEAD_BYTES + length);
  }

  /** Gives the room back to the pool for good. */
  drop(): void {
    this.room?.release();
  }
}

export class ReplyBuffers {
  readonly #arenaBytes: number;
  #arena: Arena | null = null;
  #tried = false;
  /** Not in use, by capacity. */
  readonly #free = new Map<number, ReplyBuffer[]>();
  #closed = false;

  constructor(arenaBytes: number) {
    this.#arenaBytes = arenaBytes;
  }

  /** For at least so many bytes of data; they hold whatever was in them before. */
  take(bytes: number): ReplyBuffer {
    const capacity = Math.max(SMALLEST_BYTES, 2 ** Math.ceil(Math.log2(bytes)));
    return this.#free.get(capacity)?.pop() ?? this.#make(capacity);
  }

  give(buffer: ReplyBuffer): void {
    if (!buffer.isPooled) return;
    if (this.#closed) {
      buffer.drop();
      return;
    }
    const free = this.#free.get(buffer.capacity);
    if (free === undefined) this.#free.set(buffer.capacity, [buffer]);
    else free.push(buffer);
  }

  /** The pool has its room back once the buffers that are in use are given. */
  close(): void {
    this.#closed = true;
    this.#dropFree();
    this.#arena?.close();
  }

  #make(capacity: number): ReplyBuffer {
    const bytes = HEAD_BYTES + capacity;
    const arena = this.#closed ? null : this.#pool();
    if (arena !== null && bytes <= arena.capacity) {
      let room = arena.tryAcquire(bytes);
      if (room === null) {
        // Buffers of other sizes that nobody uses may be in the way.
        this.#dropFree();
        room = arena.tryAcquire(bytes);
      }
      if (room !== null) {
        const { buffer, byteOffset } = room.bytes;
        return new ReplyBuffer(Buffer.from(buffer, byteOffset, bytes), room);
      }
    }
    return new ReplyBuffer(Buffer.allocUnsafeSlow(bytes), null);
  }

  #dropFree(): void {
    for (const buffers of this.#free.values()) for (const buffer of buffers) buffer.drop();
    this.#free.clear();
  }

  /** Reserved by the first reply with data; a pool that has no room for it is no reason not to serve. */
  #pool(): Arena | null {
    if (this.#tried) return this.#arena;
    this.#tried = true;
    try {
      this.#arena = BufferPool.shared().arena('NBD replies', this.#arenaBytes);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
    }
    return this.#arena;
  }
}
