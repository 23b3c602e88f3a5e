/**
 * Resync: makes the parity of suspect rows anew from their data, after a crash (or a write that ran out of
 * space) left it in doubt. Data is never changed. Parity that is right already is not written.
 */
import type { Range } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import type { Faults } from './faults.js';
import { countStripes } from './geometry.js';
import type { ArrayMember } from './member.js';
import type { ArrayMetadata } from './metadata.js';
import { firstMismatch, xorInto, xorOf } from './parity/index.js';
import { type SweepOptions, sweep, visitSpans, withRows } from './sweep.js';
import { toSlot, writeTransfers } from './transfers.js';

export interface ResyncResult {
  /** Stripes with suspect rows. */
  readonly resyncedStripes: number;
  /** Array bytes whose parity was checked. */
  readonly resyncedBytes: number;
  /** Of those stripes, how many had wrong parity. */
  readonly correctedStripes: number;
  /** Rows that a bad block of some member kept from being judged. */
  readonly skippedBytes: number;
}

export class Resync {
  private readonly corrected = new Set<number>();
  private skippedBytes = 0;
  /** Rows whose parity can neither be made nor said to be bad: they stay suspect. */
  private readonly unsettled: Range[] = [];

  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
    private readonly faults: Faults,
  ) {}

  /** Works off all of `core.suspect`. Every member must be in-sync. */
  async run(options: Omit<SweepOptions, 'checkpoint'> = {}): Promise<ResyncResult> {
    const { core } = this;
    const ranges = core.suspect.list().map((range) => ({ ...range }));
    const stripes = countStripes(core.geometry, ranges);
    const bytes = core.suspect.totalBytes * core.geometry.dataDisks;
    const checkpoint = () => this.metadata.checkpoint();
    await sweep(core, ranges, (rows) => this.resyncRows(rows), { ...options, checkpoint });
    core.isRecovered = true;
    return {
      resyncedStripes: stripes,
      resyncedBytes: bytes,
      correctedStripes: this.corrected.size,
      skippedBytes: this.skippedBytes,
    };
  }

  /** Its rows are listed until a flush of what was made: a cut before that must find them suspect again. */
  private async resyncRows(rows: Range): Promise<void> {
    const { intent } = this.metadata;
    const ticket = intent.begin([rows]);
    try {
      await intent.durable(ticket);
      for (const part of byStripe(this.core, rows)) {
        await visitSpans(this.core, part, (span) => this.resyncSpan(span));
      }
    } finally {
      intent.end(ticket);
    }
    this.core.suspect.remove(rows.start, rows.end);
    for (const { start, end } of this.unsettled.splice(0)) this.core.suspect.add(start, end);
  }

  private async resyncSpan(rows: Range): Promise<unknown> {
    const { slots, geometry } = this.core;
    assertComplete(this.core);
    const readers = slots.map((slot) => slot.reader(rows.start, rows.end));
    const stripe = Math.floor(rows.start / geometry.chunkBytes);
    const parity = geometry.parityMember(stripe);
    if (readers.some((reader, slot) => reader === null && slot !== parity)) return this.skip(rows, parity);
    if (readers[parity] === null) return this.makeParity(rows, stripe, parity);
    return withRows(this.core, this.faults, readers as ArrayMember[], rows, async (buffers) => {
      if (firstMismatch(buffers) < 0) return;
      this.corrected.add(stripe);
      const bytes = buffers[parity]!;
      xorOf(
        bytes,
        buffers.filter((_, slot) => slot !== parity),
      );
      const transfers = toSlot(slots[parity]!, rows.start, bytes);
      await this.faults.settleWrites(await writeTransfers(transfers, {}));
    });
  }

  /** The parity cannot be read, but all data can: nothing is to be compared. */
  private makeParity(rows: Range, stripe: number, parity: number): Promise<unknown> {
    const { slots } = this.core;
    const others = slots.filter((slot) => slot.index !== parity);
    const readers = others.map((slot) => slot.reader(rows.start, rows.end) as ArrayMember);
    return withRows(this.core, this.faults, readers, rows, async (buffers) => {
      this.corrected.add(stripe);
      const bytes = buffers[0]!;
      xorInto(bytes, buffers.slice(1));
      const transfers = toSlot(slots[parity]!, rows.start, bytes);
      const failures = await writeTransfers(transfers, {});
      await this.faults.settleWrites(failures);
      for (const { member } of transfers) this.metadata.heal(member, rows.start, rows.end);
    });
  }

  /**
   * Some data cannot be read, so its parity is neither to be judged nor made. It is said to be bad, in the log on disk:
   * what cannot be read would else be made up from it. Where there is no log it stays suspect.
   */
  private skip(rows: Range, parity: number): void {
    this.skippedBytes += rows.end - rows.start;
    for (const member of this.core.slots[parity]!.writers()) {
      if (member.badBlocks.add(rows.start, rows.end)) this.metadata.noteBadBlocks(member);
      else this.unsettled.push(rows);
    }
  }
}

/** With a member gone there is nothing to make parity from: what is suspect stays so. */
function assertComplete(core: ArrayCore): void {
  const lost = core.degradedSlots;
  if (lost.length === 0) return;
  throw new UserError(
    'REFUSED',
    `${core.name}: the resync cannot go on: no good member in slot ${lost.join(', ')}`,
    {
      hint: 'bring the member back; with it away, what it held in the rows that are suspect is in doubt',
      details: { slots: lost, suspectBytes: core.suspect.totalBytes },
    },
  );
}

/** Cuts rows at stripes, as each has its parity elsewhere. */
export function* byStripe(core: ArrayCore, rows: Range): Generator<Range> {
  const { chunkBytes } = core.geometry;
  for (let at = rows.start; at < rows.end; ) {
    const end = Math.min(rows.end, (Math.floor(at / chunkBytes) + 1) * chunkBytes);
    yield { start: at, end };
    at = end;
  }
}
