/**
 * What a scrub found, kept over the rounds of fsck: all data is read once, and after a repair only the rows that it may
 * have changed. What was found elsewhere is still so: nobody has made it right.
 *
 * - All is read anew where the scrub has not seen all of it: a member was missing then, or another serves since.
 * - Rows that were suspect are read again once they are made right: a mismatch there was no finding before.
 * - A finding goes as a whole: where some of its rows are read again, all of them are.
 */
import { type Finding, keyOf, type RepairName } from '../check/findings.js';
import { type Range, RangeSet } from '../device/range-set.js';
import type { Looked } from './fsck-look.js';

export interface ChosenRepair {
  readonly name: RepairName;
  readonly findings: readonly Finding[];
}

/** Rows of each member's data: all of them, some, or none. */
export type ScrubScope = 'all' | readonly Range[];

/** After these another member may serve than the one that was read. */
const CHANGES_MEMBERS: readonly RepairName[] = ['restore-superblock', 'finish-rebuild'];

export class ScrubLedger {
  private hasReadAll = false;
  private kept: readonly { readonly finding: Finding; readonly rows: Range }[] = [];
  private changed = new RangeSet();

  constructor(private readonly isWanted: boolean) {}

  /** What the next look has to read. */
  scope(): ScrubScope {
    if (!this.isWanted) return [];
    if (!this.hasReadAll) return 'all';
    const rows = new RangeSet(this.changed.list());
    for (const kept of this.kept)
      if (this.changed.overlaps(kept.rows.start, kept.rows.end)) rows.add(kept.rows.start, kept.rows.end);
    return rows.list();
  }

  /** All that is known after a look at `scope`: what it found, and what an earlier one found in rows that it left out. */
  after(looked: Looked, scope: ScrubScope): readonly Finding[] {
    if (looked.scrubbed !== null) {
      const isReadAgain = ({ rows }: { readonly rows: Range }): boolean =>
        scope === 'all' || new RangeSet(scope).overlaps(rows.start, rows.end);
      this.kept = [...this.kept.filter((each) => !isReadAgain(each)), ...looked.scrubbed];
      this.hasReadAll ||= scope === 'all';
      this.changed = new RangeSet();
    }
    const found = new Set(looked.findings.map(keyOf));
    const others = this.kept.map(({ finding }) => finding).filter((each) => !found.has(keyOf(each)));
    return [...looked.findings, ...others];
  }

  /** These are about to be repaired, after that look. */
  repairing({ suspect }: Looked, chosen: readonly ChosenRepair[]): void {
    if (chosen.some(({ name }) => CHANGES_MEMBERS.includes(name))) this.hasReadAll = false;
    // Whoever opens a dirty array for writing makes them right first.
    for (const { start, end } of suspect) this.changed.add(start, end);
    for (const { start, end } of this.mismatches(chosen)) this.changed.add(start, end);
  }

  /** Rows whose parity is to be made anew. */
  mismatches(chosen: readonly ChosenRepair[]): readonly Range[] {
    const wanted = chosen.filter(({ name }) => name === 'make-parity').flatMap(({ findings }) => findings);
    const keys = new Set(wanted.map(keyOf));
    const rows = this.kept.filter(({ finding }) => keys.has(keyOf(finding)));
    return new RangeSet(rows.map((each) => each.rows)).list();
  }
}
