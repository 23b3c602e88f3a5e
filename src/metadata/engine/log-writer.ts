/**
 * Appends transactions to the log. While one record is on its way, all that come gather in the next: so many writers
 * share one write, and a record is submitted only when the one before it is durable in both halves.
 *
 * Invariants
 * - Transactions are in records in the order of `append`, none of them in two.
 * - A transaction is answered when its record is durable in both halves.
 * - Room is reserved when a transaction is taken: a record that was promised never waits for room, so that a checkpoint
 *   can wait for records.
 * - After the first failure nothing is written.
 */
import { allEnded } from '../../device/all-ended.js';
import type { Halves } from './halves.js';
import { BLOCK_BYTES, type Layout } from './layout.js';
import { encodeRecord, RECORD_HEADER_BYTES } from './log-record.js';

/** So much of the log is told of before it is written. */
const ADVISED_BYTES = 128 * 1024;

/** Where the log goes on. */
export interface LogPlace {
  /** Bytes of the log since the making; whole blocks. */
  readonly position: number;
  readonly sequence: number;
}

export interface LogWriterOptions {
  readonly layout: Layout;
  readonly uuid: Uint8Array;
  readonly epoch: number;
  /** Bytes of the changes in one record, at most. */
  readonly recordLimitBytes: number;
  /** Generation of the newest root that is durable. */
  readonly rootGeneration: () => number;
  readonly failed: (error: unknown) => void;
}

interface Transaction {
  readonly encoded: Uint8Array;
  readonly changes: number;
  resolve(): void;
  reject(error: unknown): void;
}

interface Mark {
  reached(place: LogPlace): void;
  reject(error: unknown): void;
}

type Waiting = Transaction | Mark;

export class LogWriter {
  readonly #halves: Halves;
  readonly #options: LogWriterOptions;
  #start: number;
  #head: LogPlace;
  /** Of the changes of all that wait. */
  #waitingBytes = 0;
  #waiting: Waiting[] = [];
  #running: Promise<void> | null = null;
  #failure: { readonly error: unknown } | null = null;
  /** The devices below know that up to here is written soon. */
  #advisedTo = 0;

  /** The log is read from `start`, and `head` is where it goes on. */
  constructor(halves: Halves, start: number, head: LogPlace, options: LogWriterOptions) {
    this.#halves = halves;
    this.#options = options;
    this.#start = start;
    this.#head = head;
  }

  /** Behind all records that were written or are on their way. */
  get head(): LogPlace {
    return this.#head;
  }

  /** Bytes that are not free: records that are still read at an opening, and room that was promised. */
  get takenBytes(): number {
    return this.#takenWith(0);
  }

  hasRoomFor(changesBytes: number): boolean {
    return this.#takenWith(changesBytes) <= this.#options.layout.logBytes;
  }

  /**
   * All that waits goes into as few records as the longest one allows: two that follow one another are longer than that
   * together. And a mark may part what would go into one.
   */
  #takenWith(changesBytes: number): number {
    const bytes = this.#waitingBytes + changesBytes;
    const records = bytes === 0 ? 0 : Math.floor((2 * bytes) / this.#options.recordLimitBytes) + 3;
    return this.#head.position - this.#start + bytes + records * (RECORD_HEADER_BYTES + BLOCK_BYTES);
  }

  /** `hasRoomFor` was asked. Resolves when it is durable. */
  append(encoded: Uint8Array, changes: number): Promise<void> {
    this.#waitingBytes += encoded.byteLength;
    return this.#enqueue((resolve, reject) => ({ encoded, changes, resolve: () => resolve(), reject }));
  }

  /** The place behind all that was appended before, when that is durable. No record holds what came before and after. */
  mark(): Promise<LogPlace> {
    return this.#enqueue((reached, reject) => ({ reached, reject }));
  }

  /** All before `position` is in the tree of a durable root. */
  release(position: number): void {
    this.#start = position;
  }

  /** Ends when nothing waits and nothing is being written. */
  async idle(): Promise<void> {
    while (this.#running !== null) await this.#running;
  }

  #enqueue<T>(make: (resolve: (value: T) => void, reject: (error: unknown) => void) => Waiting): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#failure !== null) return reject(this.#failure.error);
      this.#waiting.push(make(resolve, reject));
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // Whoever calls in the same turn shares the first record.
    await null;
    while (this.#waiting.length > 0 && this.#failure === null) {
      const first = this.#waiting[0]!;
      if ('reached' in first) {
        this.#waiting.shift();
        first.reached(this.#head);
      } else await this.#write(this.#gather());
    }
    // In the same turn: who comes next begins anew.
    this.#running = null;
  }

  /** What goes into the next record: all that waits, up to a mark or the longest record. */
  #gather(): Transaction[] {
    const group: Transaction[] = [];
    let bytes = 0;
    for (const each of this.#waiting) {
      if ('reached' in each) break;
      bytes += each.encoded.byteLength;
      if (group.length > 0 && bytes > this.#options.recordLimitBytes) break;
      group.push(each);
    }
    this.#waiting.splice(0, group.length);
    return group;
  }

  async #write(group: readonly Transaction[]): Promise<void> {
    const { uuid, epoch, rootGeneration } = this.#options;
    const head = { ...this.#head, epoch, root: rootGeneration() };
    const bytes = encodeRecord(head, uuid, group);
    for (const { encoded } of group) this.#waitingBytes -= encoded.byteLength;
    this.#advise(head.position + bytes.byteLength);
    this.#head = { position: head.position + bytes.byteLength, sequence: head.sequence + 1 };
    try {
      await writeLog(this.#halves, this.#options.layout, head.position, bytes);
    } catch (error) {
      this.#fail(error, group);
      return;
    }
    for (const { resolve } of group) resolve();
  }

  /** It is known where the log goes on: what has to be written down below before that is written can be by then. */
  #advise(position: number): void {
    const aheadBytes = Math.min(ADVISED_BYTES, this.#options.layout.logBytes / 2);
    if (position + aheadBytes / 2 < this.#advisedTo) return;
    const from = Math.max(position, this.#advisedTo);
    this.#advisedTo = position + aheadBytes;
    for (const { offset, length } of logPieces(this.#options.layout, from, this.#advisedTo - from))
      this.#halves.advise(offset, length);
  }

  #fail(error: unknown, group: readonly Transaction[]): void {
    this.#failure = { error };
    this.#options.failed(error);
    for (const { reject } of [...group, ...this.#waiting]) reject(error);
    this.#waiting = [];
  }
}

/** Writes a record to both halves, durably; in two pieces where it goes over the end of the log's place. */
async function writeLog(halves: Halves, layout: Layout, position: number, bytes: Uint8Array): Promise<void> {
  const writes = logPieces(layout, position, bytes.byteLength).map(({ offset, start, length }) =>
    halves.write(offset, bytes.subarray(start, start + length), { fua: true }),
  );
  await allEnded(writes);
}

/** Where a part of the log lies in a half. */
export interface LogPiece {
  readonly offset: number;
  /** Within the part. */
  readonly start: number;
  readonly length: number;
}

export function logPieces({ logOffset, logBytes }: Layout, position: number, length: number): LogPiece[] {
  const at = position % logBytes;
  const first = Math.min(length, logBytes - at);
  const pieces = [{ offset: logOffset + at, start: 0, length: first }];
  if (first < length) pieces.push({ offset: logOffset, start: first, length: length - first });
  return pieces;
}
