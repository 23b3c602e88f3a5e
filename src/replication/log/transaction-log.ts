/**
 * The circular transaction log: which blocks are being written, durable before their data (coordinated dirty block
 * tracking, paragraphs 49 to 54). A transaction is a sector with ranges; its number is the sector's.
 *
 * Invariants
 * - One log write is in flight; those who come meanwhile share the next (paragraph 62), and sectors of it.
 * - Sector n lies over sector n - `sectors`. It is written only where a durable sector says a start beyond that one. Until
 *   the write is durable that sector, which is itself not below its start, is found after a cut with all from its start
 *   on, whatever becomes of the sectors that are being overwritten. So no cut takes an active transaction.
 * - What a log write says to be DONE, by its start or by entries, was done when it was put together. So it may be believed
 *   wherever it is found, also if the rest of the write tore.
 * - After each log write, with its own start, one sector is free. So a log that is full can still say what is DONE, in one
 *   sector whose start is higher, and then it has room again.
 * - A number that was found is never written again with other content. What an opening finds is the end of the log, and it
 *   goes on behind that: what lies beyond was not acknowledged, is not to be seen any more, and a cut brings no version
 *   back that is not there. Of a last write that tore, the missing numbers below the end are filled with empty sectors, since
 *   all below the next `begins` must be durable; a cut amid that finds the same end. Before it a flush: what was found may
 *   have been in the page cache alone, and with a later write durable its loss would look like damage.
 * - A failed write or flush is final.
 */
import { randomBytes } from 'node:crypto';
import { allEnded } from '../../device/all-ended.js';
import type { BlockDevice } from '../../device/contract.js';
import type { BlockRange } from '../blocks.js';
import {
  CONTENT_OFFSET,
  encodeHeader,
  type HeaderKind,
  readHeader,
  SECTOR_BYTES,
  writeHeader,
} from '../file-header.js';
import { AGAIN, type Answer, Rounds } from '../rounds.js';
import { ActiveTransactions } from './active-transactions.js';
import { LOG_HEADER, LOG_MAGIC } from './fields.js';
import { type ActiveTransaction, offsetOf, readLog } from './log-reader.js';
import {
  ENTRIES_PER_SECTOR,
  encodeSector,
  entriesOf,
  type LogEntry,
  type LogSector,
  type LogShape,
  placeOf,
} from './sector.js';

const KIND: HeaderKind = { what: 'the transaction log', magic: LOG_MAGIC };
/** One that is being written, one that stays free, and two to have something between them. */
const FEWEST_SECTORS = 4;
const ZEROES = new Uint8Array(1024 * 1024);

/** Bytes of a file for a log of so many sectors. */
export function logFileBytes(sectors: number): number {
  return CONTENT_OFFSET + sectors * SECTOR_BYTES;
}

export interface LogOwner {
  readonly volumeUuid: string;
}

/** Since it was opened; exact. */
export interface LogCounts {
  /** Log writes, shared or not; also those that say what is DONE and nothing else. */
  logWrites: number;
  /** Calls of the device: a log write has two where it goes over the end of the file. */
  writes: number;
  sectors: number;
  bytes: number;
  flushes: number;
}

export type OpenedLog =
  | {
      readonly log: TransactionLog;
      readonly active: readonly ActiveTransaction[];
      readonly damage: null;
      /** For people; nothing is lost. */
      readonly warnings: readonly string[];
    }
  /** What it listed nobody can tell: every block counts as dirty. When the maps say so, durably, it is made anew. */
  | {
      readonly log: null;
      readonly active: readonly ActiveTransaction[];
      readonly damage: string;
      readonly warnings: readonly string[];
    };

/** What is to be put right before the first write of an opening. */
interface Unsettled {
  readonly torn: readonly LogSector[];
  readonly header: Uint8Array;
  readonly badCopies: readonly number[];
}

interface Place {
  /** Number of the next sector. */
  readonly head: number;
  /** The start that a durable sector says. */
  readonly start: number;
}

type Begun = readonly number[] | null;

/** `saysDone`: nothing to list; it wants said what is DONE. */
type Call = { readonly entries: readonly LogEntry[] } | 'saysDone';

export class TransactionLog {
  readonly counts: LogCounts = { logWrites: 0, writes: 0, sectors: 0, bytes: 0, flushes: 0 };
  readonly #device: BlockDevice;
  readonly #shape: LogShape;
  readonly #active = new ActiveTransactions();
  readonly #rounds = new Rounds<Call, Begun>((calls) => this.#round(calls));
  #place: Place;
  #unsettled: Unsettled | null;
  #failure: { readonly error: unknown } | null = null;

  private constructor(device: BlockDevice, shape: LogShape, place: Place, unsettled: Unsettled | null) {
    this.#device = device;
    this.#shape = shape;
    this.#place = place;
    this.#unsettled = unsettled;
  }

  /** Makes an empty log of all that fits on the device, durably. Whatever was there is gone. */
  static async format(device: BlockDevice, { volumeUuid }: LogOwner): Promise<TransactionLog> {
    const sectors = Math.floor((device.size - CONTENT_OFFSET) / SECTOR_BYTES);
    if (sectors < FEWEST_SECTORS) throw new RangeError(`no log fits into ${device.size} bytes`);
    const shape = { id: randomBytes(8).readBigUInt64LE(), sectors };
    const header = encodeHeader(LOG_HEADER, KIND, { volumeUuid, id: shape.id }, (bytes) =>
      LOG_HEADER.at(bytes).setBig('sectors', BigInt(sectors)),
    );
    // Not holes: a log write must not meet a full disk, nor wait for the filesystem's own records.
    for (let offset = CONTENT_OFFSET; offset < logFileBytes(sectors); offset += ZEROES.byteLength) {
      await device.write(
        offset,
        ZEROES.subarray(0, Math.min(ZEROES.byteLength, logFileBytes(sectors) - offset)),
      );
    }
    await writeHeader(device, header);
    await device.flush();
    return new TransactionLog(device, shape, { head: 1, start: 1 }, null);
  }

  /**
   * Reads the log; writes nothing.
   *
   * @throws UserError REFUSED (of another volume), UNSUPPORTED (of a later holdfast).
   */
  static async open(device: BlockDevice, { volumeUuid }: LogOwner): Promise<OpenedLog> {
    const damaged = (damage: string) => ({ log: null, active: [], damage, warnings: [] });
    if (device.size < CONTENT_OFFSET)
      return damaged(`${device.name}: ${KIND.what} is cut short, to ${device.size} bytes`);
    const header = await readHeader(device, KIND, volumeUuid);
    if ('damage' in header) return damaged(header.damage);
    const { bytes, id, bad, warnings } = header;
    const sectors = Number(LOG_HEADER.at(bytes).big('sectors'));
    if (sectors < FEWEST_SECTORS || !(logFileBytes(sectors) <= device.size))
      return damaged(
        `${device.name}: ${KIND.what} is cut short: ${device.size} bytes for ${sectors} sectors`,
      );
    const shape = { id, sectors };
    const { newest, start, begins, torn, active, damage } = await readLog(device, shape);
    if (damage !== null) return { log: null, active, damage, warnings };
    const empty = torn.map((number) => ({ number, start, begins, entries: [] }));
    const log = new TransactionLog(
      device,
      shape,
      { head: newest + 1, start },
      { torn: empty, header: bytes, badCopies: bad },
    );
    for (const { transaction } of active) log.#active.hold(transaction);
    return { log, active, damage: null, warnings };
  }

  /** How many it has. */
  get sectors(): number {
    return this.#shape.sectors;
  }

  /** Those that may not be overwritten: from the durable start of the log to its end. */
  get usedSectors(): number {
    return this.#place.head - this.#place.start;
  }

  get activeTransactions(): number {
    return this.#active.count;
  }

  /**
   * Lists the blocks; when it returns, that is durable. Gives the transactions that hold them, which may hold those of others
   * who came at the same time: each of them calls `done` for itself. null: there is no room, and nothing is written.
   */
  async begin(ranges: readonly BlockRange[]): Promise<readonly number[] | null> {
    if (this.#failure !== null) throw this.#failure.error;
    const entries = [...entriesOf('range', ranges)];
    return entries.length === 0 ? [] : this.#rounds.add({ entries });
  }

  /**
   * The caller's blocks of this transaction are durable on both sides, or in a map. Once for each time that `begin`, or the
   * opening, gave it. It is written with the next log write (paragraph 77).
   */
  done(transaction: number): void {
    this.#active.release(transaction);
  }

  /** Writes down, durably, what is DONE: a log of which all is done has nothing active then, whatever becomes of the process. */
  async sayDone(): Promise<void> {
    if (this.#failure !== null) throw this.#failure.error;
    await this.#rounds.add('saysDone');
  }

  async #round(calls: readonly Call[]): Promise<readonly Answer<Begun>[]> {
    if (this.#failure !== null) throw this.#failure.error;
    try {
      await this.#settle(calls);
      return await this.#write(calls);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
  }

  /** Before the first write of an opening. */
  async #settle(calls: readonly Call[]): Promise<void> {
    const unsettled = this.#unsettled;
    if (unsettled === null || !this.#hasWork(calls)) return;
    const { header, badCopies, torn } = unsettled;
    await writeHeader(this.#device, header, badCopies);
    this.#count(badCopies.length, 0, badCopies.length * SECTOR_BYTES);
    await this.#flush();
    for (const sector of torn) await this.#writeSectors([sector], false);
    if (torn.length > 0) await this.#flush();
    this.#unsettled = null;
  }

  #hasWork(calls: readonly Call[]): boolean {
    return this.#active.hasUnsaid || calls.some((call) => call !== 'saysDone');
  }

  async #write(calls: readonly Call[]): Promise<readonly Answer<Begun>[]> {
    // Nothing is awaited until the sectors are made: they say what is done now.
    const start = this.#active.startOfLog(this.#place.head);
    const listed: LogEntry[] = [];
    const answers: (Begun | undefined)[] = [];
    for (const call of calls) answers.push(this.#admit(call, listed, start));
    const waits = this.#waiting(calls, answers, listed.length, start);
    const done = [...entriesOf('done', this.#active.unsaidFrom(start))];
    const sectors = this.#sectorsFor(calls, listed.length, done.length, waits.size > 0, start);
    if (sectors > 0) {
      const said = done.slice(0, sectors * ENTRIES_PER_SECTOR - listed.length);
      await this.#writeLog(sectors, [...listed, ...said], start);
      this.#active.said(start, said);
    }
    for (const numbers of answers) for (const number of numbers ?? []) this.#active.hold(number);
    return calls.map((_, index) => (waits.has(index) ? AGAIN : (answers[index] ?? null)));
  }

  /** The numbers of the sectors that a call's entries are in; null: not in this write. */
  #admit(call: Call, listed: LogEntry[], start: number): Begun {
    if (call === 'saysDone') return [];
    const { head } = this.#place;
    const first = listed.length;
    if (!this.#fits(sectorsOf(first + call.entries.length), start)) return null;
    listed.push(...call.entries);
    const numbers: number[] = [];
    for (let at = Math.floor(first / ENTRIES_PER_SECTOR); at < sectorsOf(listed.length); at++)
      numbers.push(head + at);
    return numbers;
  }

  /**
   * Those without room now that have it when this write, which may be for them alone and say nothing but what is DONE, is
   * durable.
   */
  #waiting(
    calls: readonly Call[],
    answers: readonly (Begun | undefined)[],
    entries: number,
    start: number,
  ): ReadonlySet<number> {
    const waits = new Set<number>();
    const isFreed = start > this.#place.start;
    const head = this.#place.head + Math.max(1, sectorsOf(entries));
    for (const [index, call] of calls.entries()) {
      if (!isFreed || call === 'saysDone' || answers[index] !== null) continue;
      if (head + sectorsOf(call.entries.length) - start < this.sectors) waits.add(index);
    }
    return waits;
  }

  /** How many are written: as few as hold what is listed; more only for who closes, and wants all said. */
  #sectorsFor(
    calls: readonly Call[],
    listed: number,
    done: number,
    someWait: boolean,
    start: number,
  ): number {
    const least = sectorsOf(listed);
    if (!calls.includes('saysDone') || !this.#active.hasUnsaid) return someWait ? Math.max(1, least) : least;
    let sectors = Math.max(1, sectorsOf(listed + done));
    while (sectors > least && !this.#fits(sectors, start)) sectors -= 1;
    return sectors;
  }

  /** Nothing active is overwritten, and one sector is free when the write is durable. */
  #fits(sectors: number, start: number): boolean {
    const end = this.#place.head + sectors;
    return end - this.#place.start <= this.sectors && end - start < this.sectors;
  }

  async #writeLog(count: number, entries: readonly LogEntry[], start: number): Promise<void> {
    const { head } = this.#place;
    const sectors = Array.from({ length: count }, (_, index) => ({
      number: head + index,
      start,
      begins: head,
      entries: entries.slice(index * ENTRIES_PER_SECTOR, (index + 1) * ENTRIES_PER_SECTOR),
    }));
    this.counts.logWrites += 1;
    await this.#writeSectors(sectors, true);
    this.#place = { head: head + count, start };
  }

  /** Sectors that follow one another; in two pieces where they go over the end of the file. */
  async #writeSectors(sectors: readonly LogSector[], fua: boolean): Promise<void> {
    const bytes = new Uint8Array(sectors.length * SECTOR_BYTES);
    for (const [index, sector] of sectors.entries())
      encodeSector(bytes, index * SECTOR_BYTES, this.#shape.id, sector);
    const first = sectors[0]!.number;
    const untilEnd = Math.min(sectors.length, this.sectors - placeOf(first, this.#shape)) * SECTOR_BYTES;
    const pieces = [bytes.subarray(0, untilEnd), bytes.subarray(untilEnd)].filter(
      (piece) => piece.length > 0,
    );
    this.#count(pieces.length, sectors.length, bytes.byteLength);
    await allEnded(
      pieces.map((piece, index) =>
        this.#device.write(index === 0 ? offsetOf(first, this.#shape) : CONTENT_OFFSET, piece, { fua }),
      ),
    );
  }

  #count(writes: number, sectors: number, bytes: number): void {
    this.counts.writes += writes;
    this.counts.sectors += sectors;
    this.counts.bytes += bytes;
  }

  async #flush(): Promise<void> {
    this.counts.flushes += 1;
    await this.#device.flush();
  }
}

function sectorsOf(entries: number): number {
  return Math.ceil(entries / ENTRIES_PER_SECTOR);
}
