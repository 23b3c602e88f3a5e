/**
 * A small log-structured store: each value that is put is a record at the head of a log, and durable when `put` returns. The log goes through
 * the segments of the disk in a circle. When the last free one is begun, what still counts of the oldest is copied there, the superblock
 * moves the log's beginning behind the oldest, and that one is free.
 *
 * Its barriers
 * - a record is flushed before it is acknowledged;
 * - copies are flushed before the superblock leaves behind what they were made of. `isHasty` leaves this one out: the known fault that the
 *   crash lab is to find;
 * - the superblock needs no flush of its own: the segment that it frees is written when the head has come to its end, and until then
 *   one record at least was put there, and flushed. At an opening, where that is not so, it has one.
 */
import type { BlockDevice } from '../../device/contract.js';
import {
  encodeRecord,
  encodeSuperblock,
  type LogRecord,
  type LogStart,
  placeOf,
  readLog,
  SECTOR_BYTES,
  SEGMENT_BYTES,
  segmentsOf,
} from './records.js';

const LARGEST_SECTORS = 2;
/** Of what counts, so that the copies and one record more have room in one segment. */
const MOST_SECTORS = SEGMENT_BYTES / SECTOR_BYTES - LARGEST_SECTORS;

export class LogStore {
  readonly #segments: number;
  /** By key: the newest. */
  readonly #live = new Map<string, LogRecord>();
  /** Of the log's segments, the tail first. */
  readonly #starts: LogStart[] = [];
  #usedBytes = 0;
  #next = { sequence: 1, chain: 0 };

  private constructor(
    private readonly disk: BlockDevice,
    private readonly isHasty: boolean,
  ) {
    this.#segments = segmentsOf(disk.size);
    if (this.#segments < 3)
      throw new RangeError(`a log store wants 3 segments, and ${disk.name} has ${this.#segments}`);
  }

  /** Ends what a power cut has interrupted. A blank disk becomes an empty store. */
  static async open(disk: BlockDevice, { isHasty = false } = {}): Promise<LogStore> {
    const store = new LogStore(disk, isHasty);
    const bytes = new Uint8Array(disk.size);
    await disk.read(0, bytes);
    const found = readLog(bytes);
    for (const record of found.records) store.#live.set(record.key, record);
    store.#starts.push(...found.starts);
    store.#usedBytes = found.usedBytes;
    store.#next = { ...found.next };
    if (found.records.length === 0) await disk.write(0, encodeSuperblock(found.tail));
    else if (store.#isFull) {
      await store.#clean();
      await disk.flush();
    }
    return store;
  }

  async put(key: string, value: string): Promise<void> {
    const sectors = encodeRecord(key, value, this.#next).bytes.length / SECTOR_BYTES;
    const others = [...this.#live.values()].filter((record) => record.key !== key);
    const needed = others.reduce((sum, record) => sum + record.sectors, sectors);
    if (sectors > LARGEST_SECTORS || needed > MOST_SECTORS)
      throw new RangeError(`${key}: there is no room for that`);
    if (this.#usedBytes + sectors * SECTOR_BYTES > SEGMENT_BYTES) {
      const segment = (this.#head + 1) % this.#segments;
      this.#starts.push({ segment, ...this.#next });
      this.#usedBytes = 0;
      if (this.#isFull) await this.#clean();
    }
    await this.#append(key, value);
    await this.disk.flush();
  }

  get #head(): number {
    return this.#starts.at(-1)!.segment;
  }

  get #isFull(): boolean {
    return this.#starts.length === this.#segments;
  }

  /** The oldest segment becomes free. */
  async #clean(): Promise<void> {
    const oldest = this.#starts[0]!.segment;
    const copied = [...this.#live.values()].filter(({ segment }) => segment === oldest);
    for (const { key, value } of copied) await this.#append(key, value);
    if (copied.length > 0 && !this.isHasty) await this.disk.flush();
    this.#starts.shift();
    await this.disk.write(0, encodeSuperblock(this.#starts[0]!));
  }

  async #append(key: string, value: string): Promise<void> {
    const { bytes, checksum } = encodeRecord(key, value, this.#next);
    const segment = this.#head;
    await this.disk.write(placeOf(segment) + this.#usedBytes, bytes);
    this.#live.set(key, { key, value, segment, sectors: bytes.length / SECTOR_BYTES });
    this.#usedBytes += bytes.length;
    this.#next = { sequence: this.#next.sequence + 1, chain: checksum };
  }
}
