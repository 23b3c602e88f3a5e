/**
 * Writes the epoch log: entries in the order of their calls, what came meanwhile in one write, and the end of an epoch with
 * what it ends.
 *
 * Invariants
 * - One write to the log at a time, each behind the one before it. So the last record of an epoch is submitted when all
 *   others of it have completed, and one flush makes the epoch durable.
 * - Nothing is written where a durable tail does not say that there is room. An epoch takes half of the log at most, and
 *   none that has ended needs room: so room comes, whatever waits for it.
 * - A header is written only when the one before it is durable, and flushed with whatever is flushed next: it costs no flush
 *   of its own but where room is waited for.
 * - A failure is final: what is in the log is not known any more.
 */

import { bufferList } from '../../device/buffers.js';
import type { Buffers } from '../../device/contract.js';
import { SharedFlush } from '../../device/shared-flush.js';
import { sameBytes } from '../checked-values.js';
import {
  chained,
  contentBytes,
  type Entry,
  encodeRecord,
  epochCost,
  headBytes,
  type RecordHead,
} from './epoch-record.js';
import type { Payload } from './layer.js';
import type { LogHeader } from './log-header.js';
import type { EpochPoint } from './marks.js';
import type { Ring } from './ring.js';
import type { Slots } from './slots.js';

/** Bytes of a write to the log, where it is not one entry alone that is longer. */
const MOST_AT_ONCE = 4 * 1024 * 1024;

/** An entry, or the end of an epoch. */
interface Call {
  readonly epoch: number;
  readonly entry: Entry | null;
  readonly content: readonly Uint8Array[];
  readonly payload: Payload | null;
  readonly atMs: number;
  /** With what else has to end. */
  readonly resolve: (also?: Promise<void>) => void;
  readonly reject: (error: unknown) => void;
}

export interface LogWriterOptions {
  readonly ring: Ring;
  /** Durable, in both slots. */
  readonly header: LogHeader;
  readonly slots: Slots<LogHeader>;
  /** All up to this epoch are durable. */
  readonly onDurable: (epoch: number) => void;
  readonly onFailure: (error: unknown) => void;
}

export class LogWriter {
  private readonly ring: Ring;
  private readonly flushes = new SharedFlush(() => this.flushOnce());
  private readonly mostAtOnce: number;
  private queue: Call[] = [];
  private isWriting = false;
  private failure: { readonly error: unknown } | null = null;
  /** Position of the next record. */
  private head: number;
  /** Of the epoch that the next record is of. */
  private records = 0;
  private chain = 0;
  /** Epochs whose end is in the log, and where they end. */
  private ends: { readonly epoch: number; readonly position: number }[] = [];
  private endWritten: number;
  private durable: number;
  /** The newest that is durable. */
  private header: LogHeader;
  /** Written, not flushed. */
  private written: LogHeader | null = null;
  /** What the next one says, and whether one is to be written. */
  private newest: LogHeader;
  private isStale = false;
  private putting: Promise<void> | null = null;
  private wake: (() => void) | null = null;

  constructor(private readonly options: LogWriterOptions) {
    this.ring = options.ring;
    this.header = options.header;
    this.newest = options.header;
    this.head = options.header.tail;
    this.endWritten = options.header.applied.epoch;
    this.durable = this.endWritten;
    this.mostAtOnce = Math.min(MOST_AT_ONCE, this.ring.bytes / 4);
  }

  /** Bytes of the log that are in use. */
  get usedBytes(): number {
    return this.head - this.header.tail;
  }

  get durableEpoch(): number {
    return this.durable;
  }

  /** Ends when it is in the log, which is not durable. The payload is found there. */
  add(
    epoch: number,
    entry: Entry,
    from: Buffers,
  ): { readonly payload: Payload | null; readonly done: Promise<void> } {
    const payload: Payload | null = entry.kind === 'data' ? { position: -1, written: null } : null;
    const content = bufferList(from).filter(({ byteLength: bytes }) => bytes > 0);
    const done = this.call({ epoch, entry, content, payload, atMs: 0 });
    if (payload !== null) payload.written = done;
    return { payload, done };
  }

  /** Ends when the epoch is durable. */
  end({ epoch, atMs }: EpochPoint): Promise<void> {
    return this.call({ epoch, entry: null, content: [], payload: null, atMs });
  }

  /** All up to the point is in the image, and flushed there. Nobody reads it in the log any more. */
  async advance(point: EpochPoint, kept: Pick<LogHeader, 'keptId' | 'keptGroups'>): Promise<void> {
    const end = this.ends.find(({ epoch }) => epoch === point.epoch);
    if (end === undefined) throw new Error(`epoch ${point.epoch} has no end in the log`);
    this.ends = this.ends.filter(({ epoch }) => epoch > point.epoch);
    this.newest = { ...this.newest, ...kept, tail: end.position, applied: point };
    this.isStale = true;
    if (this.written === null) await this.putHeader();
    this.wake?.();
  }

  /** The container has so many groups: durable when it returns. */
  async noteKept(kept: Pick<LogHeader, 'keptId' | 'keptGroups'>): Promise<void> {
    this.newest = { ...this.newest, ...kept };
    this.isStale = true;
    while (!isNoted(this.header, kept)) {
      if (this.failure !== null) throw this.failure.error;
      if (this.written !== null) await this.flushes.run();
      else await this.putHeader();
    }
  }

  /** Whatever waits is refused with this. */
  fail(error: unknown): void {
    if (this.failure !== null) return;
    this.failure = { error };
    const calls = this.queue;
    this.queue = [];
    for (const { reject } of calls) reject(error);
    this.wake?.();
  }

  private call(call: Omit<Call, 'resolve' | 'reject'>): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.failure !== null) {
        reject(this.failure.error);
        return;
      }
      this.queue.push({ ...call, resolve, reject });
      if (!this.isWriting) void this.writeAll();
    });
  }

  private async writeAll(): Promise<void> {
    this.isWriting = true;
    // Who calls several times before anybody else has a turn gets one write.
    await Promise.resolve();
    while (this.queue.length > 0) {
      const calls = this.take();
      try {
        await this.write(calls);
      } catch (error) {
        for (const { reject } of calls) reject(error);
        this.broken(error);
      }
    }
    this.isWriting = false;
  }

  private broken(error: unknown): void {
    this.fail(error);
    this.options.onFailure(error);
  }

  private take(): Call[] {
    let bytes = 0;
    let count = 0;
    for (const { entry } of this.queue) {
      bytes += costOf(entry);
      if (count > 0 && bytes > this.mostAtOnce) break;
      count += 1;
    }
    return this.queue.splice(0, count);
  }

  private async write(calls: readonly Call[]): Promise<void> {
    await this.room(calls.reduce((sum, { entry }) => sum + costOf(entry), 0));
    const buffers: Uint8Array[] = [];
    let position = this.head;
    const ends: typeof this.ends = [];
    for (const record of recordsOf(calls)) {
      const built = this.build(record, position);
      buffers.push(...built.buffers);
      position += built.length;
      const last = record.at(-1)!;
      if (last.entry === null) ends.push({ epoch: last.epoch, position });
    }
    const from = this.head;
    this.head = position;
    await this.ring.write(from, buffers);
    if (this.failure !== null) throw this.failure.error;
    this.ends.push(...ends);
    this.endWritten = ends.at(-1)?.epoch ?? this.endWritten;
    const durable = ends.length > 0 ? this.flushes.run() : undefined;
    for (const { entry, payload, resolve } of calls) {
      if (payload !== null) payload.written = null;
      resolve(entry === null ? durable : undefined);
    }
  }

  /** Gives the payloads their places too. */
  private build(calls: readonly Call[], position: number): { buffers: Uint8Array[]; length: number } {
    const entries = calls.flatMap(({ entry }) => (entry === null ? [] : [entry]));
    const last = calls.at(-1)!;
    const head: RecordHead = {
      logId: this.header.logId,
      position,
      epoch: last.epoch,
      durable: this.durable,
      records: this.records,
      chain: this.chain,
      endedMs: last.entry === null ? last.atMs : null,
    };
    let content = position + headBytes(entries.length);
    for (const { entry, payload } of calls) {
      if (payload !== null) payload.position = content;
      if (entry !== null) content += contentBytes(entry);
    }
    const record = encodeRecord(
      head,
      entries,
      calls.flatMap((call) => call.content),
    );
    this.records = last.entry === null ? 0 : this.records + 1;
    this.chain = last.entry === null ? 0 : chained(this.chain, record.checksum);
    return record;
  }

  /** Ends when so many bytes may be written. */
  private async room(bytes: number): Promise<void> {
    for (;;) {
      if (this.failure !== null) throw this.failure.error;
      if (this.head + bytes <= this.header.tail + this.ring.bytes) return;
      if (this.written !== null) await this.flushes.run();
      else if (this.putting !== null || this.isStale) await this.putHeader();
      else await this.moved();
    }
  }

  private moved(): Promise<void> {
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  private putHeader(): Promise<void> {
    this.putting ??= this.putWanted().finally(() => {
      this.putting = null;
    });
    return this.putting;
  }

  private async putWanted(): Promise<void> {
    if (!this.isStale) return;
    this.isStale = false;
    const header = { ...this.newest, sequence: this.header.sequence + 1 };
    await this.options.slots.putNext(header);
    this.written = header;
  }

  private async flushOnce(): Promise<void> {
    const { endWritten, written } = this;
    try {
      await this.ring.device.flush();
    } catch (error) {
      this.broken(error);
      throw error;
    }
    if (written !== null) {
      this.header = written;
      this.written = null;
    }
    this.durable = endWritten;
    this.options.onDurable(endWritten);
    this.wake?.();
  }
}

function isNoted(
  header: LogHeader,
  { keptId, keptGroups }: Pick<LogHeader, 'keptId' | 'keptGroups'>,
): boolean {
  return header.keptGroups === keptGroups && sameBytes(header.keptId, keptId);
}

function costOf(entry: Entry | null): number {
  return epochCost(entry === null ? 0 : contentBytes(entry));
}

/** Calls of one epoch that follow one another are a record; its end ends the record. */
function recordsOf(calls: readonly Call[]): Call[][] {
  const records: Call[][] = [];
  for (const call of calls) {
    const last = records.at(-1);
    if (last?.at(-1)?.epoch === call.epoch) last.push(call);
    else records.push([call]);
  }
  return records;
}
