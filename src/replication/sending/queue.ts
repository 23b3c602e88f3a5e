/**
 * What a secondary has not got yet, in the order in which it was written to the primary (coordinated dirty block tracking,
 * paragraphs 45, 47 and 59). The bytes are private copies: whoever wrote may do with its own what it likes. A batch is in it as a
 * whole, one change after the other, and each knows where it ends.
 */
import { epochCost } from '../secondary/index.js';
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
  /** The position of the last of its batch: its own, where it is alone. */
  readonly batchEnd: number;
  /** What all of its batch counts for in an epoch, without the end of that. */
  readonly batchCost: number;
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
    if (!this.#hasRoom(bytes, 1)) return null;
    this.#add(entry, bytes, this.#last + 1, epochCost(bytes));
    return this.#last;
  }

  /** Changes that no epoch may part; at least one. The position of the last of them, or null: there is no room for all. */
  pushBatch(entries: readonly NewChange[]): number | null {
    const bytes = entries.map(({ change }) => heldBytes(change));
    const total = bytes.reduce((sum, each) => sum + each, 0);
    if (!this.#hasRoom(total, entries.length)) return null;
    const end = this.#last + entries.length;
    const cost = bytes.reduce((sum, each) => sum + epochCost(each), 0);
    for (const [at, entry] of entries.entries()) this.#add(entry, bytes[at]!, end, cost);
    return end;
  }

  /** One alone, or one batch, has room, however long it is. */
  #hasRoom(bytes: number, count: number): boolean {
    if (this.#count === 0) return true;
    return this.#bytes + bytes <= this.limits.bytes && this.#count + count <= this.limits.entries;
  }

  #add(entry: NewChange, bytes: number, batchEnd: number, batchCost: number): void {
    this.#last += 1;
    this.#entries.push({ ...entry, position: this.#last, batchEnd, batchCost });
    this.#bytes += bytes;
    this.#count += 1;
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
