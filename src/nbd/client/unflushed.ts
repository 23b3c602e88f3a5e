/**
 * What was written since the last answered flush: a server's cache dies with it, so all of it is kept to be sent
 * again to the server that comes after.
 *
 * Invariants
 * - Entries are in the order in which they were answered. Of two that overlap the later one was sent after the
 *   earlier one was answered (contract of a block device), so that order is theirs on the device too.
 * - An entry leaves by a flush that was sent after the entry had been answered, and was answered itself (proto.md,
 *   "Ordering of messages and writes").
 * - What a durable write lies on leaves too: sent again, even if only for a moment, it would lie on top of what was
 *   promised to be on disk.
 * - A trim is kept as well. What it left has been read since, maybe: the device must not change by itself.
 * - The memory is bounded: a change has its room before it is sent, and waits for it in the order of the calls.
 */
import { byteLength, gather } from '../../device/buffers.js';
import type { Buffers } from '../../device/contract.js';
import { type Range, RangeSet } from '../../device/range-set.js';
import { capacityFor, SpareBuffers } from './spare-buffers.js';

/** What changes the device; `data` is there for a write alone. */
export interface Change {
  readonly kind: 'write' | 'write-zeroes' | 'trim';
  readonly offset: number;
  readonly length: number;
  readonly data?: Buffers;
}

/** Bytes that an entry costs beside its data: without it a million small ones would count as nothing. */
const ENTRY_BYTES = 256;

/** Room for one change: given up, or kept, once. */
export interface Room {
  readonly bytes: number;
  /** Entries that were made of the change. */
  pieces: number;
  /** Where their data lie. */
  buffer: Buffer | null;
}

interface Waiter {
  readonly room: Room;
  admit(): void;
  refuse(error: Error): void;
}

interface Entry {
  readonly kind: Change['kind'];
  readonly offset: number;
  readonly length: number;
  readonly data?: Uint8Array;
  readonly room: Room;
  readonly sequence: number;
}

export class UnflushedWrites {
  readonly #limitBytes: number;
  #entries: Entry[] = [];
  #nextSequence = 0;
  /** Of changes in flight and of entries. */
  #usedBytes = 0;
  #keptBytes = 0;
  readonly #inFlight = new Map<Room, Change>();
  readonly #waiting: Waiter[] = [];
  readonly #spare = new SpareBuffers();
  #refused: Error | null = null;

  /** `limitBytes`: at least four times the data of the largest change. */
  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  get isEmpty(): boolean {
    return this.#entries.length === 0;
  }

  /** Half of the room is taken by entries, or somebody waits for it: time for a flush. */
  get wantsFlush(): boolean {
    return !this.isEmpty && (this.#waiting.length > 0 || this.#keptBytes * 2 > this.#limitBytes);
  }

  /** Bytes that entries and changes in flight take. */
  get usedBytes(): number {
    return this.#usedBytes;
  }

  /** Waits until there is room for the change. Rejects when there will be none any more. */
  async admit(change: Change): Promise<Room> {
    if (this.#refused !== null) throw this.#refused;
    const dataBytes = change.data === undefined ? 0 : capacityFor(byteLength(change.data));
    const room = { bytes: ENTRY_BYTES + dataBytes, pieces: 0, buffer: null };
    if (this.#waiting.length > 0 || !this.#fits(room)) await this.#wait(room);
    else this.#usedBytes += room.bytes;
    this.#inFlight.set(room, change);
    return room;
  }

  /** The change was answered. Copies its data: from here on its caller may do with them what it likes. */
  keep(room: Room): void {
    const { kind, offset, length, data } = this.#inFlight.get(room)!;
    this.#inFlight.delete(room);
    this.#keptBytes += room.bytes;
    const copy = data === undefined ? {} : { data: this.#copyOf(data, length, room) };
    room.pieces = 1;
    this.#entries.push({ kind, offset, length, ...copy, room, sequence: this.#nextSequence++ });
  }

  /** The change was answered, and is on disk. */
  durable(room: Room): void {
    const { offset, length } = this.#inFlight.get(room)!;
    this.giveUp(room);
    const end = offset + length;
    const isHit = (entry: Entry) => entry.offset < end && offset < entry.offset + entry.length;
    if (!this.#entries.some(isHit)) return;
    this.#entries = this.#entries.flatMap((entry) =>
      isHit(entry) ? this.#cut(entry, offset, end) : [entry],
    );
  }

  /** The change came to nothing. */
  giveUp(room: Room): void {
    this.#inFlight.delete(room);
    this.#free(room.bytes);
  }

  /** What a flush that is sent now covers, for `flushed`. */
  mark(): number {
    return this.#nextSequence;
  }

  /** A flush that was sent when `mark` was taken has been answered. */
  flushed(mark: number): void {
    const left = this.#entries.findIndex((entry) => entry.sequence >= mark);
    for (const entry of this.#entries.splice(0, left < 0 ? this.#entries.length : left)) this.#drop(entry);
  }

  /** What is kept, in the order in which it has to be sent again where it overlaps. */
  entries(): readonly Change[] {
    return this.#entries;
  }

  /** Every byte of which it is not known what a server that was started anew has there. */
  ranges(): Range[] {
    const set = new RangeSet();
    const changes: Iterable<Change>[] = [this.#entries, this.#inFlight.values()];
    for (const some of changes) for (const { offset, length } of some) set.add(offset, offset + length);
    return [...set.list()];
  }

  /** There will be no flush any more: who waits for room is told so, and who comes later too. */
  refuse(error: Error): void {
    this.#refused ??= error;
    for (const waiter of this.#waiting.splice(0)) waiter.refuse(this.#refused);
  }

  #copyOf(data: Buffers, length: number, room: Room): Uint8Array {
    room.buffer = this.#spare.take(capacityFor(length));
    this.#spare.shrinkTo(this.#limitBytes - this.#usedBytes);
    const copy = room.buffer.subarray(0, length);
    gather(data, 0, copy);
    return copy;
  }

  /** What of an entry lies before `start` and from `end` on. */
  #cut(entry: Entry, start: number, end: number): Entry[] {
    const parts = [
      [entry.offset, Math.min(start, entry.offset + entry.length)],
      [Math.max(end, entry.offset), entry.offset + entry.length],
    ].filter(([from, to]) => from! < to!) as [number, number][];
    entry.room.pieces += parts.length;
    this.#drop(entry);
    return parts.map(([from, to]) => {
      const data = entry.data?.subarray(from - entry.offset, to - entry.offset);
      return { ...entry, offset: from, length: to - from, ...(data === undefined ? {} : { data }) };
    });
  }

  #drop({ room }: Entry): void {
    room.pieces -= 1;
    if (room.pieces > 0) return;
    this.#keptBytes -= room.bytes;
    this.#free(room.bytes);
    // Nobody sends it any more: a flush was answered, or something durable lies on it.
    if (room.buffer !== null) this.#spare.give(room.buffer, this.#limitBytes - this.#usedBytes);
  }

  #fits(room: Room): boolean {
    return this.#usedBytes === 0 || this.#usedBytes + room.bytes <= this.#limitBytes;
  }

  #wait(room: Room): Promise<void> {
    return new Promise<void>((admit, refuse) => {
      this.#waiting.push({ room, admit, refuse });
    });
  }

  #free(bytes: number): void {
    this.#usedBytes -= bytes;
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.room); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#usedBytes += next.room.bytes;
      next.admit();
    }
  }
}
