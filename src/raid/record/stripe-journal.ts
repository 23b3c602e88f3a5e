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
import { ExpectedRanges } from '../../device/expected-ranges.js';
import { type ListLimits, newestWithin } from '../../device/range-limits.js';
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
  readonly expected: ExpectedRanges;
  /** Writes that have begun since the volume was opened. */
  begun = 0;
  private readonly writing = new Set<Ticket>();
  /** Written, not flushed since. */
  private ended = new RangeSet();
  private readonly beingFlushed = new Set<Covered>();
  /** Clean, but listed: whoever writes them again needs no new record. The newest come last. */
  private recent: readonly Range[] = [];

  constructor(private readonly limits: JournalLimits) {
    const { expected, aheadStripes, stripes } = limits;
    this.marks = new StreamMarks(aheadStripes, stripes);
    this.expected = new ExpectedRanges(expected, stripes);
  }

  /** A write of these stripes begins (Corrado, paragraphs 23 and 24). */
  begin(stripes: readonly Range[]): Ticket {
    const ticket = { stripes };
    this.begun += 1;
    this.writing.add(ticket);
    for (const range of stripes) {
      this.marks.note(range.start, range.end);
      this.expected.begun(range);
    }
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

  /**
   * What the next record had better list too, the most useful last. Hot stripes save one record each, if the guess is
   * right. Those that are expected save as much, and are no guess. Streams are few, and each saves a record for every one
   * of its writes: they take no room that would be missed.
   */
  useful(): readonly Range[] {
    return [...this.recent, ...this.expected.list(), ...this.marks.ahead()];
  }

  /** Nothing is written any more: nothing clean needs to be listed. */
  forgetClean(): void {
    this.recent = [];
    this.marks.reset();
    this.expected.reset();
  }

  private keepUnflushed(stripes: readonly Range[]): void {
    for (const { start, end } of stripes) this.ended.add(start, end);
  }

  private keepRecent(stripes: readonly Range[]): void {
    const { recent } = this.limits;
    const fresh = stripes.slice(-recent.ranges);
    const overlaps = (a: Range) => fresh.some((b) => a.start < b.end && b.start < a.end);
    const kept = this.recent.filter((range) => !overlaps(range));
    this.recent = newestWithin([...kept, ...fresh], recent);
  }
}

export interface JournalLimits {
  /** Of the array. */
  readonly stripes: number;
  /** What is clean and stays listed. */
  readonly recent: ListLimits;
  /** What is listed because somebody above has told that it is written soon. */
  readonly expected: ListLimits;
  /** How far a stream is marked ahead at most. */
  readonly aheadStripes: number;
}
