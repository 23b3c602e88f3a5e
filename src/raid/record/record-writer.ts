/**
 * Makes generations of the record durable.
 *
 * Invariants
 * - One generation is in flight at a time, and all who ask meanwhile share the next (Corrado, paragraphs 26 to 28). It lists
 *   all that is dirty when it is put together: so what is in flight lists all that was begun before.
 * - A generation counts when two copies of it are durable, on two members: the loss of any one member leaves one.
 * - The newest record of a place is not overwritten: the next goes to the other slot. So of the newest durable
 *   generation there are always two whole copies, whatever a cut does to the one in flight.
 * - Records go round the members (Corrado, paragraphs 20 and 33), so that none wears more than others and none is special.
 */
import { type Range, RangeSet } from '../../device/range-set.js';
import { SharedFlush } from '../../device/shared-flush.js';
import { encodeRecord, entriesIn, isDamagedRecord, type RecordContent } from './codec.js';
import type { FoundRecord } from './find.js';
import { type RecordPlace, SLOTS } from './places.js';

/** Copies of each generation. */
export const COPIES = 2;

/** What is to be made durable, without its numbers. */
export type NextRecord = Omit<RecordContent, 'generation' | 'follows'>;

/** A place, and whose failure it is when it cannot be written. */
export interface WriterPlace extends RecordPlace {
  /** Whether it is there to be written: its member is in-sync and has not failed. */
  isUsable(): boolean;
  /** It could not be written. Throws where that is no failure of its member's (a full disk). */
  failed(error: unknown): void;
}

export interface RecordWriterOptions {
  readonly setUuid: Uint8Array;
  readonly places: readonly WriterPlace[];
  /** What lies in the places already. */
  readonly found: readonly FoundRecord[];
  /** No generation so far is higher. */
  readonly highest: bigint;
  /** What the record lists that counts now: nothing where none does. */
  readonly durable: readonly Range[];
  readonly follows: bigint;
  /** Asked before a generation is put together: resolves (never rejects) when those are in it who are worth waiting for; null: nobody is. */
  readonly gather: () => Promise<void> | null;
  /** Puts together what is to be written next: at most so many ranges, dirty and in doubt together. */
  readonly compose: (maxEntries: (superblocks: number) => number) => NextRecord;
  /** Throws where too few members are left. */
  readonly assertUsable: () => void;
}

export class RecordWriter {
  /** Records that were made durable: each is COPIES writes. */
  generations = 0;
  private readonly places: WriterPlace[];
  private generation: bigint;
  private follows: bigint;
  /** Stripes listed by the newest durable generation, and by the one that is being written. */
  private durable: RangeSet;
  private inFlight: RangeSet | null = null;
  /** The next generation has its turn, and waits for others before it is put together. */
  private isGathering = false;
  private landing: Promise<void> = Promise.resolve();
  private readonly newestSlot = new Map<WriterPlace, number>();
  private readonly reserved = new Set<WriterPlace>();
  private readonly shared = new SharedFlush(() => this.writeNext());

  constructor(private readonly options: RecordWriterOptions) {
    this.generation = options.highest;
    this.follows = options.follows;
    this.durable = new RangeSet(options.durable);
    this.places = [...options.places];
    for (const place of this.places) this.newestSlot.set(place, newestSlotOf(place, options.found));
  }

  /** A place that nothing counts of that lies there. */
  addPlace(place: WriterPlace): void {
    this.places.push(place);
    this.newestSlot.set(place, SLOTS - 1);
  }

  /** Resolves when all of these stripes are listed by whatever a crash from now on would find. */
  async list(stripes: readonly Range[]): Promise<void> {
    while (!this.isListed(stripes)) {
      if (this.inFlight !== null && covers(this.inFlight, stripes)) await this.landing;
      else await this.write();
    }
  }

  /** The newest durable generation names them, and the one in flight does: whichever a crash finds. */
  isListed(stripes: readonly Range[]): boolean {
    return covers(this.durable, stripes) && (this.inFlight === null || covers(this.inFlight, stripes));
  }

  /** Whether what a crash would find lists nothing but these stripes. */
  listsOnly(stripes: RangeSet): boolean {
    return (
      covers(stripes, this.durable.list()) &&
      (this.inFlight === null || covers(stripes, this.inFlight.list()))
    );
  }

  /** Makes a generation durable that says what is so now. */
  write(): Promise<void> {
    // What is not put together yet will say it.
    return this.isGathering ? this.landing : this.shared.run();
  }

  private async writeNext(): Promise<void> {
    this.landing = this.writeGeneration();
    await this.landing;
  }

  private async writeGeneration(): Promise<void> {
    const gathering = this.options.gather();
    if (gathering !== null) {
      this.isGathering = true;
      await gathering;
      this.isGathering = false;
    }
    this.options.assertUsable();
    const places = this.places.filter((place) => place.isUsable());
    const smallest = Math.min(...places.map((place) => place.slotBytes));
    // No await from here to the end of compose: what begins later is in the next generation, and in no part of this.
    const next = this.options.compose((superblocks) => entriesIn(smallest) - superblocks);
    this.generation += 1n;
    const { generation, follows } = this;
    const bytes = encodeRecord({ ...next, generation, follows }, this.options.setUuid);
    // What lies behind the slot is the other slot, or the data.
    if (bytes.length > smallest)
      throw new Error(`a record of ${bytes.length} bytes has no room in a slot of ${smallest}`);
    this.inFlight = new RangeSet(next.dirty);
    try {
      await this.writeCopies(places, bytes);
      this.durable = this.inFlight;
      this.follows = generation;
      this.generations += 1;
    } catch (error) {
      // It may be on a member all the same, and then be found: only what both list is listed.
      this.durable = common(this.durable, this.inFlight);
      throw error;
    } finally {
      this.inFlight = null;
    }
  }

  /**
   * A member that fails has another take its copy, and so has one whose disk is full: that alone is thrown, where too
   * few others are left.
   */
  private async writeCopies(places: readonly WriterPlace[], bytes: Uint8Array): Promise<void> {
    if (places.length === 0) throw new Error('a record has no place on any member');
    const first = Number((this.generation * BigInt(COPIES)) % BigInt(places.length));
    const queue = [...places.slice(first), ...places.slice(0, first)];
    let landed = 0;
    let refused: { error: unknown } | null = null;
    while (landed < COPIES && queue.length > 0) {
      const chosen = queue.splice(0, COPIES - landed);
      const outcomes = await Promise.allSettled(chosen.map((place) => this.writeCopy(place, bytes)));
      for (const [index, outcome] of outcomes.entries()) {
        if (outcome.status === 'fulfilled') landed += 1;
        else refused = refusalOf(chosen[index]!, outcome.reason) ?? refused;
      }
      this.options.assertUsable();
    }
    if (landed < COPIES && refused !== null) throw refused.error;
    if (landed === 0) throw new Error('no place took the record');
  }

  private async writeCopy(place: WriterPlace, bytes: Uint8Array): Promise<void> {
    await this.reserve(place);
    const slot = (this.newestSlot.get(place)! + 1) % SLOTS;
    await place.device.write(place.offset + slot * place.slotBytes, bytes, { fua: true });
    this.newestSlot.set(place, slot);
  }

  /**
   * Gives a place its room on the disk below, once: a record must not meet a full disk, and writes into a hole make
   * the filesystem write its own records too. Only a slot that nothing lies in is touched.
   */
  private async reserve(place: WriterPlace): Promise<void> {
    if (this.reserved.has(place)) return;
    const length = SLOTS * place.slotBytes;
    const extents = await place.device.extents(place.offset, length);
    for (const { offset, length: bytes, kind } of extents) {
      if (kind === 'hole') await place.device.write(offset, new Uint8Array(bytes));
    }
    this.reserved.add(place);
  }
}

function common(a: RangeSet, b: RangeSet): RangeSet {
  return new RangeSet(a.list().flatMap(({ start, end }) => b.within(start, end)));
}

function covers(set: RangeSet, stripes: readonly Range[]): boolean {
  return stripes.every(({ start, end }) => set.covers(start, end));
}

/** What keeps a place from taking a copy though its member has not failed; null: the member has. */
function refusalOf(place: WriterPlace, reason: unknown): { error: unknown } | null {
  try {
    place.failed(reason);
    return null;
  } catch (error) {
    return { error };
  }
}

/** The slot whose record is the newest of this place, good or not: the other one is written next. */
function newestSlotOf(place: RecordPlace, found: readonly FoundRecord[]): number {
  let newest = { slot: SLOTS - 1, generation: -1n };
  for (const { place: at, slot, record } of found) {
    if (at.device !== place.device || at.offset !== place.offset || record === null) continue;
    // What is damaged is of no use: it is the one to be overwritten.
    if (isDamagedRecord(record) || record.generation <= newest.generation) continue;
    newest = { slot, generation: record.generation };
  }
  return newest.slot;
}
