/**
 * What a secondary has not got yet, in the order in which it was written to the primary (coordinated dirty block tracking,
 * paragraphs 45, 47 and 59). The bytes are private copies: whoever wrote may do with its own what it likes.
 */
import { type Change, heldBytes } from './changes.js';

/** What is put into the queue. */
export interface NewChange {
  /** Of its update (tracking/update-lists.ts). */
  readonly sequence: number;
  readonly change: Change;
  /** The flushes of the primary that had begun when it was written: the next one makes it durable there. */
  readonly stamp: number;
  readonly atMs: number;
}

export interface QueuedChange extends NewChange {
  /** In the queue, from 1: the order in which it is sent. Sequence numbers are those of the beginning of writes. */
  readonly position: number;
}

export interface QueueLimits {
  /** Of memory. */
  readonly bytes: number;
  readonly entries: number;
}

export class ReplicaQueue {
  readonly #entries: QueuedChange[] = [];
  #next = 0;
  /** What it holds, and what was taken out of it and is on its way. */
  #bytes = 0;
  #count = 0;
  #last = 0;

  constructor(private readonly limits: QueueLimits) {}

  /** The position of what was queued last, or 0. */
  get last(): number {
    return this.#last;
  }

  /** Not taken out yet. */
  get length(): number {
    return this.#entries.length - this.#next;
  }

  get heldBytes(): number {
    return this.#bytes;
  }

  /** The next one to be sent. */
  get first(): QueuedChange | null {
    return this.#entries[this.#next] ?? null;
  }

  /** Its position, or null: there is no room for it. */
  push(entry: NewChange): number | null {
    const bytes = heldBytes(entry.change);
    const isFull = this.#bytes + bytes > this.limits.bytes || this.#count >= this.limits.entries;
    // One alone has room, however long it is.
    if (isFull && this.#count > 0) return null;
    this.#last += 1;
    this.#entries.push({ ...entry, position: this.#last });
    this.#bytes += bytes;
    this.#count += 1;
    return this.#last;
  }

  /** It takes room until it is released. */
  take(): QueuedChange {
    const entry = this.#entries[this.#next]!;
    this.#next += 1;
    if (this.#next > 1024 && this.#next * 2 > this.#entries.length) {
      this.#entries.splice(0, this.#next);
      this.#next = 0;
    }
    return entry;
  }

  release(entry: QueuedChange): void {
    this.#bytes -= heldBytes(entry.change);
    this.#count -= 1;
  }
}
