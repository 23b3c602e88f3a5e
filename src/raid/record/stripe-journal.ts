/**
 * The journal manager's own list of dirty stripes, in memory: who writes what, what has been written and not been
 * flushed, what stays listed though it is clean (Corrado, US patent application "Method, system, and program for
 * managing data updates", paragraphs 19, 24 to 30, 37 and 38). It knows no disk: record-writer.ts makes generations of
 * it durable.
 *
 * Invariants
 * - A stripe is listed from the moment that a write of it begins until a flush that began after that write had
 *   ended has ended well. What cannot be told apart (a stripe written anew meanwhile) stays.
 * - An entry that is listed too long is only work after a crash, as long as all members are there; one that is missing
 *   is loss.
 */
import { type Range, RangeSet } from '../../device/range-set.js';
import { StreamMarks } from './stream-marks.js';

/** One write, from its beginning to its end: the stripes that it names. */
export interface Ticket {
  readonly stripes: readonly Range[];
}

/** A flush under way: the stripes that will be clean when it has ended well. */
type Covered = RangeSet;

export class StripeJournal {
  readonly marks: StreamMarks;
  /** Writes that have begun since the volume was opened. */
  begun = 0;
  private readonly writing = new Set<Ticket>();
  /** Written, not flushed since. */
  private ended = new RangeSet();
  private readonly beingFlushed = new Set<Covered>();
  /** Clean, but listed: whoever writes them again needs no new record. The newest come last. */
  private recent: Range[] = [];

  constructor(private readonly limits: JournalLimits) {
    this.marks = new StreamMarks(limits.aheadStripes, limits.stripes);
  }

  /** A write of these stripes begins (Corrado, paragraphs 23 and 24). */
  begin(stripes: readonly Range[]): Ticket {
    const ticket = { stripes };
    this.begun += 1;
    this.writing.add(ticket);
    for (const { start, end } of stripes) this.marks.note(start, end);
    return ticket;
  }

  /**
   * It has ended, well or not; what it wrote is not flushed (Corrado, paragraph 37; there a stripe is clean at once).
   * What was written with fua is: of its stripes only those stay that others have written too.
   */
  end(ticket: Ticket, isDurable = false): void {
    this.writing.delete(ticket);
    if (isDurable) this.keepRecent(ticket.stripes);
    else this.keepUnflushed(ticket.stripes);
  }

  /** Several writes are under way. */
  get isShared(): boolean {
    return this.writing.size > 1;
  }

  /** One write is under way, and no other. */
  get isAlone(): boolean {
    return this.writing.size === 1;
  }

  /** Stripes that a flush would take off the list. */
  get unflushedStripes(): number {
    return this.ended.totalBytes;
  }

  /** A flush of all members begins. To be called when it has ended: whether it ended well. */
  flushing(): (isDurable: boolean) => void {
    const covered: Covered = this.ended;
    this.ended = new RangeSet();
    this.beingFlushed.add(covered);
    return (isDurable) => {
      this.beingFlushed.delete(covered);
      if (isDurable) this.keepRecent(covered.list());
      else this.keepUnflushed(covered.list());
    };
  }

  /** What the next record has to list. */
  dirty(): RangeSet {
    const listed = new RangeSet(this.ended.list());
    for (const { stripes } of this.writing) for (const { start, end } of stripes) listed.add(start, end);
    for (const covered of this.beingFlushed)
      for (const { start, end } of covered.list()) listed.add(start, end);
    return listed;
  }

  /** What the next record had better list too, the most useful last: hot stripes, and what streams come to. */
  useful(): readonly Range[] {
    return [...this.recent, ...this.marks.ahead()];
  }

  /** Nothing is written any more: nothing clean needs to be listed. */
  forgetClean(): void {
    this.recent = [];
    this.marks.reset();
  }

  private keepUnflushed(stripes: readonly Range[]): void {
    for (const { start, end } of stripes) this.ended.add(start, end);
  }

  private keepRecent(stripes: readonly Range[]): void {
    const fresh = stripes.slice(-this.limits.recentRanges);
    const overlaps = (a: Range) => fresh.some((b) => a.start < b.end && b.start < a.end);
    const kept = this.recent.filter((range) => !overlaps(range));
    this.recent = [...kept, ...fresh].slice(-this.limits.recentRanges);
    let room = this.limits.recentStripes;
    const from = this.recent.findLastIndex((range) => {
      room -= range.end - range.start;
      return room < 0;
    });
    this.recent = this.recent.slice(from + 1);
  }
}

export interface JournalLimits {
  /** Of the array. */
  readonly stripes: number;
  /** How many clean ranges stay listed, and stripes in them. */
  readonly recentRanges: number;
  readonly recentStripes: number;
  /** How far a stream is marked ahead at most. */
  readonly aheadStripes: number;
}
