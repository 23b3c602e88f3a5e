/**
 * Scrub: reads every row of every member, checks that parity matches data, counts rows as the kernel counts
 * them (drivers/md/raid5.c, handle_parity_checks5: a row is 4 KiB of each member, and its mismatch_cnt grows by
 * 8 sectors a row), and on request makes the parity of those rows anew. A mismatch tells that parity and data
 * disagree, not which is wrong; like md, repair believes the data.
 */
import type { Range } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { ArrayActivity } from './activity.js';
import type { ArrayCore } from './core.js';
import type { Faults } from './faults.js';
import { countStripes } from './geometry.js';
import { ROW_BYTES, SECTOR_BYTES } from './md/model.js';
import type { ArrayMember } from './member.js';
import type { ArrayMetadata } from './metadata.js';
import { firstMismatch, xorOf } from './parity/index.js';
import { type SweepOptions, sweep, visitSpans, withRows } from './sweep.js';
import { type Transfer, toSlot, writeTransfers } from './transfers.js';

export interface ScrubResult {
  readonly checkedStripes: number;
  readonly mismatchedStripes: number;
  /** Numbers of 4 KiB rows, counted from the data offset, ascending. */
  readonly mismatchedRows: number[];
  /** As the kernel's mismatch_cnt: sectors. */
  readonly mismatchCount: number;
  readonly repairedStripes: number;
  /** Rows with a bad block in some member: there is nothing to check. */
  readonly skippedRows: number;
}

export interface ScrubOptions extends Omit<SweepOptions, 'checkpoint'> {
  /** Of each member's data; absent: all of it. */
  readonly rows?: readonly Range[];
}

export class Scrub {
  private readonly mismatched = new Set<number>();
  private readonly repaired = new Set<number>();
  private skippedRows = 0;

  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
    private readonly activity: ArrayActivity,
    private readonly faults: Faults,
    private readonly repair: boolean,
  ) {}

  /** Every member must be in-sync: with one missing, there is nothing that could disagree. */
  async run(options: ScrubOptions = {}): Promise<ScrubResult> {
    const { geometry } = this.core;
    if (this.core.isDegraded) throw nothingToCheck(this.core);
    const wanted = options.rows ?? [{ start: 0, end: geometry.memberSizeBytes }];
    const flush = this.repair ? { checkpoint: () => this.metadata.flushMembers() } : {};
    await sweep(this.core, wanted, (rows) => visitSpans(this.core, rows, (span) => this.scrubSpan(span)), {
      ...options,
      ...flush,
    });
    const mismatchedRows = [...this.mismatched].sort((a, b) => a - b);
    const stripes = new Set(mismatchedRows.map((row) => this.stripeOf(row * ROW_BYTES)));
    return {
      checkedStripes: countStripes(geometry, wanted),
      mismatchedStripes: stripes.size,
      mismatchedRows,
      mismatchCount: (mismatchedRows.length * ROW_BYTES) / SECTOR_BYTES,
      repairedStripes: this.repaired.size,
      skippedRows: this.skippedRows,
    };
  }

  private async scrubSpan(rows: Range): Promise<unknown> {
    if (this.core.isDegraded) throw nothingToCheck(this.core);
    const readers = this.core.slots.map((slot) => slot.reader(rows.start, rows.end));
    if (readers.some((reader) => reader === null)) {
      this.skippedRows += Math.ceil((rows.end - rows.start) / ROW_BYTES);
      return;
    }
    return withRows(this.core, this.faults, readers as ArrayMember[], rows, (buffers) =>
      this.compare(rows, buffers),
    );
  }

  private async compare(rows: Range, buffers: readonly Uint8Array[]): Promise<void> {
    const length = rows.end - rows.start;
    const fixes: Transfer[] = [];
    for (let at = 0; at < length; ) {
      const mismatch = firstMismatch(buffers.map((bytes) => bytes.subarray(at)));
      if (mismatch < 0) break;
      const row = Math.floor((rows.start + at + mismatch) / ROW_BYTES);
      const start = Math.max(row * ROW_BYTES, rows.start);
      const end = Math.min((row + 1) * ROW_BYTES, rows.end);
      this.mismatched.add(row);
      if (this.repair) fixes.push(...this.fixRow(start, end, rows.start, buffers));
      at = end - rows.start;
    }
    if (fixes.length === 0) return;
    // Half a row of new parity must not be taken for a clean array after a cut.
    const ticket = this.activity.begin([rows]);
    try {
      await this.activity.durable(ticket);
      await this.faults.settleWrites(await writeTransfers(fixes, {}));
    } finally {
      this.activity.end(ticket);
    }
  }

  private fixRow(start: number, end: number, base: number, buffers: readonly Uint8Array[]): Transfer[] {
    const stripe = this.stripeOf(start);
    const slot = this.core.geometry.parityMember(stripe);
    const row = buffers.map((bytes) => bytes.subarray(start - base, end - base));
    const bytes = row[slot]!;
    xorOf(
      bytes,
      row.filter((_, index) => index !== slot),
    );
    this.repaired.add(stripe);
    return toSlot(this.core.slots[slot]!, start, bytes);
  }

  private stripeOf(offsetInData: number): number {
    return Math.floor(offsetInData / this.core.geometry.chunkBytes);
  }
}

function nothingToCheck(core: ArrayCore): UserError {
  const slots = core.degradedSlots.join(', ');
  return new UserError(
    'REFUSED',
    `${core.name} is degraded: without the member in slot ${slots} there is no redundancy that could be checked`,
    {
      hint: 'rebuild first (holdfast member add), then scrub',
    },
  );
}
