/**
 * Reads the log from where the root says, record by record, until there is none: what an opening has to put on top of
 * the tree.
 *
 * A record that was being written when the power went may be good in one half, or in none. In one: it counts, and its
 * other copy is to be mended. In none: nobody was told that it is durable, and it is dropped; the next record takes its
 * place. A record is submitted when the one before it is durable in both halves, so that behind one that was torn there
 * is none: a good one there says that the bad one was durable and has rotted, and then nothing is guessed.
 *
 * A leftover is no successor: its position is of an earlier round, its sequence number does not follow, or its epoch is
 * below that of the root or of the record before it.
 */
import { UserError } from '../../errors.js';
import { damaged, type Half } from './findings.js';
import { type Checked, type Copy, HALVES, type Halves, type Place } from './halves.js';
import { BLOCK_BYTES, type Layout } from './layout.js';
import { decodeRecord, type LogRecord, recordLength } from './log-record.js';
import { type LogPlace, logPieces } from './log-writer.js';
import type { Root } from './root.js';

interface BadCopy {
  readonly copy: Copy<LogRecord>;
  readonly place: Place;
  readonly record: LogRecord;
  readonly good: Uint8Array;
}

export interface LogReading {
  /** In their order. */
  readonly records: readonly LogRecord[];
  readonly head: LogPlace;
  /** The highest there is. */
  readonly epoch: number;
  /** Records of which one copy is no good. */
  readonly badCopies: readonly BadCopy[];
}

/** Throws METADATA_DAMAGED where what was durable is good in neither half. */
export function readLog(halves: Halves, layout: Layout, uuid: Uint8Array, root: Root): Promise<LogReading> {
  return new LogReader(halves, layout, uuid, root).run();
}

class LogReader {
  private readonly images: Readonly<Record<Half, LogImage>>;

  constructor(
    private readonly halves: Halves,
    private readonly layout: Layout,
    private readonly uuid: Uint8Array,
    private readonly root: Root,
  ) {
    this.images = { A: new LogImage(halves, 'A', layout), B: new LogImage(halves, 'B', layout) };
  }

  async run(): Promise<LogReading> {
    const { root } = this;
    const records: LogRecord[] = [];
    const badCopies: BadCopy[] = [];
    let head: LogPlace = { position: root.logPosition, sequence: root.logSequence };
    let { epoch } = root;
    while (this.room(head.position) >= BLOCK_BYTES) {
      const copies = await this.copies(head, epoch);
      const good = copies.find(({ checked }) => 'good' in checked);
      if (good === undefined || !('good' in good.checked)) {
        await this.expectEnd(head, epoch, copies);
        break;
      }
      const record = good.checked.good;
      for (const copy of copies) {
        if ('bad' in copy.checked)
          badCopies.push({ copy, place: this.placeOf(record), record, good: good.bytes });
      }
      records.push(record);
      head = { position: head.position + record.lengthBytes, sequence: head.sequence + 1 };
      epoch = record.epoch;
    }
    this.expectRoot(records);
    return { records, head, epoch, badCopies };
  }

  /** Bytes of the log from a position on, if nothing is taken twice. */
  private room(position: number): number {
    return this.layout.logBytes - (position - this.root.logPosition);
  }

  private placeOf({ position, lengthBytes }: { position: number; lengthBytes: number }): Place {
    const [first] = logPieces(this.layout, position, lengthBytes);
    return {
      what: `the record of the log at ${position}`,
      code: 'LOG_COPY_DAMAGED',
      offset: first!.offset,
      length: lengthBytes,
    };
  }

  private copies(place: LogPlace, epoch: number): Promise<Copy<LogRecord>[]> {
    return Promise.all(HALVES.map((half) => this.copy(half, place, epoch)));
  }

  private async copy(half: Half, { position, sequence }: LogPlace, epoch: number): Promise<Copy<LogRecord>> {
    try {
      const { bytes, checked } = await this.recordAt(half, position);
      if ('good' in checked && (checked.good.sequence !== sequence || checked.good.epoch < epoch))
        return { half, bytes, checked: { bad: 'it does not follow the one before it' }, error: null };
      return { half, bytes, checked, error: null };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const bytes = new Uint8Array(0);
      return { half, bytes, checked: { bad: `it cannot be read: ${error.message}` }, error };
    }
  }

  private async recordAt(
    half: Half,
    position: number,
  ): Promise<{ bytes: Uint8Array; checked: Checked<LogRecord> }> {
    const image = this.images[half];
    const block = await image.block(position);
    const length = recordLength(block, this.uuid, position);
    if (length === null) return { bytes: block, checked: { bad: NONE } };
    const whole = Math.ceil(length / BLOCK_BYTES) * BLOCK_BYTES;
    if (whole > this.room(position)) return { bytes: block, checked: { bad: 'it is longer than the log' } };
    // What a record holds stays in memory, and is to keep no more than itself there.
    const bytes = await image.read(position, Math.max(whole, BLOCK_BYTES));
    return { bytes, checked: decodeRecord(bytes) };
  }

  /** At `head` there is no good record. Nor is there one behind it, or what was there has rotted. */
  private async expectEnd(head: LogPlace, epoch: number, copies: readonly Copy<LogRecord>[]): Promise<void> {
    const place = this.placeOf({ position: head.position, lengthBytes: BLOCK_BYTES });
    const unread = copies.filter(({ error }) => error !== null);
    // Of a copy that cannot be read nobody knows whether it is a record; the other one tells that there is none.
    if (unread.length > 0 && !copies.some(({ checked }) => 'bad' in checked && checked.bad === NONE))
      throw this.halves.damage(copies, place);
    for (
      let position = head.position + BLOCK_BYTES;
      this.room(position) >= BLOCK_BYTES;
      position += BLOCK_BYTES
    ) {
      for (const half of HALVES) {
        if (!(await this.isLater(half, position, head.sequence, epoch))) continue;
        const found = `good ones follow it, from ${position} on`;
        throw damaged(
          this.halves.range,
          this.halves.offsetIn('A', place.offset),
          `${place.what} is damaged in both copies, and ${found}`,
        );
      }
    }
  }

  private async isLater(half: Half, position: number, sequence: number, epoch: number): Promise<boolean> {
    try {
      const { checked } = await this.recordAt(half, position);
      return 'good' in checked && checked.good.sequence > sequence && checked.good.epoch >= epoch;
    } catch (error) {
      // The other half may have it; that nothing can be read there does not make it a record.
      if (error instanceof UserError) return false;
      throw error;
    }
  }

  /** A record knows the newest root of its time: where that is not found, it has rotted in both halves. */
  private expectRoot(records: readonly LogRecord[]): void {
    const { generation } = this.root;
    const later = records.find(({ root }) => root > generation);
    if (later === undefined) return;
    throw damaged(
      this.halves.range,
      this.halves.range.offset,
      `the newest good root of the metadata's tree is of generation ${generation}, and the log knows one of ${later.root}: it is damaged in both copies, in the half that begins`,
    );
  }
}

const NONE = 'there is none';
const CHUNK_BYTES = 256 * 1024;

/** The log of one half, read a chunk at a time. */
class LogImage {
  private readonly chunks = new Map<number, Uint8Array | null>();

  constructor(
    private readonly halves: Halves,
    private readonly half: Half,
    private readonly layout: Layout,
  ) {}

  async read(position: number, length: number): Promise<Uint8Array> {
    const bytes = new Uint8Array(length);
    for (const piece of logPieces(this.layout, position, length)) {
      await this.fill(
        piece.offset - this.layout.logOffset,
        bytes.subarray(piece.start, piece.start + piece.length),
      );
    }
    return bytes;
  }

  /** As `read`, of one block; not to be changed, nor kept. Most of those that are looked at are no record's. */
  async block(position: number): Promise<Uint8Array> {
    const at = position % this.layout.logBytes;
    const number = Math.floor(at / CHUNK_BYTES);
    const chunk = await this.chunk(number);
    if (chunk === null) return this.read(position, BLOCK_BYTES);
    const start = at - number * CHUNK_BYTES;
    return chunk.subarray(start, start + BLOCK_BYTES);
  }

  /** `at`: within the log. */
  private async fill(at: number, into: Uint8Array): Promise<void> {
    for (let done = 0; done < into.byteLength; ) {
      const number = Math.floor((at + done) / CHUNK_BYTES);
      const start = at + done - number * CHUNK_BYTES;
      const length = Math.min(into.byteLength - done, CHUNK_BYTES - start);
      const part = into.subarray(done, done + length);
      const chunk = await this.chunk(number);
      if (chunk !== null) part.set(chunk.subarray(start, start + length));
      else await this.readDevice(at + done, part);
      done += length;
    }
  }

  /** null: not all of it can be read. */
  private async chunk(number: number): Promise<Uint8Array | null> {
    const known = this.chunks.get(number);
    if (known !== undefined) return known;
    const at = number * CHUNK_BYTES;
    const bytes = new Uint8Array(Math.min(CHUNK_BYTES, this.layout.logBytes - at));
    let chunk: Uint8Array | null = bytes;
    try {
      await this.readDevice(at, bytes);
    } catch (error) {
      // A record beside the bad place is read by itself.
      if (!(error instanceof UserError)) throw error;
      chunk = null;
    }
    this.chunks.set(number, chunk);
    return chunk;
  }

  private readDevice(at: number, into: Uint8Array): Promise<void> {
    return this.halves.range.device.read(this.halves.offsetIn(this.half, this.layout.logOffset + at), into);
  }
}
