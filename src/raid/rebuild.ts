/**
 * Rebuild: makes the content of a member anew, from all others, or from the member that it is to replace as
 * long as that can be read. It runs while the array is used: writes go to the new member from the start, each
 * group of rows is made under its locks, and reads use what is done.
 *
 * How far it came is in the new member's superblock (recovery_offset, with its feature bit), never ahead of
 * what was flushed; after a stop or a crash it goes on from there, here or under the kernel.
 */
import type { Range } from '../device/range-set.js';
import { UserError } from '../errors.js';
import type { ArrayCore } from './core.js';
import type { Faults } from './faults.js';
import type { ArrayMember, Slot } from './member.js';
import type { ArrayMetadata } from './metadata.js';
import { xorInto } from './parity/index.js';
import { byStripe, Resync } from './resync.js';
import { type SweepOptions, sweep, visitSpans, withRows } from './sweep.js';
import { writeTransfers } from './transfers.js';

export interface RebuildResult {
  readonly slot: number;
  readonly image: string;
  readonly rebuiltBytes: number;
  /** Where it went on from, in data; 0 for a whole rebuild. */
  readonly fromBytes: number;
  /** What could not be made, because another member has bad blocks there; noted as bad on the new member. */
  readonly lostBytes: number;
}

export class Rebuild {
  private lostBytes = 0;

  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
    private readonly faults: Faults,
    private readonly slot: Slot,
    private readonly target: ArrayMember,
  ) {}

  /** Ends with the member in-sync and durably so (and the one that it replaced out). */
  async run(options: Omit<SweepOptions, 'checkpoint'> = {}): Promise<RebuildResult> {
    const end = this.core.geometry.memberSizeBytes;
    // A replacement may be whole already, and a cut have kept it from taking over.
    const fromBytes = this.target.rebuiltUpTo ?? end;
    const checkpoint = () => this.checkpoint();
    await sweep(this.core, [{ start: fromBytes, end }], (rows) => this.rebuildRows(rows), {
      ...options,
      checkpoint,
    });
    await this.finish();
    await this.settleSuspect();
    const { slot, lostBytes } = this;
    return {
      slot: slot.index,
      image: this.target.image,
      rebuiltBytes: end - fromBytes,
      fromBytes,
      lostBytes,
    };
  }

  private async rebuildRows(rows: Range): Promise<void> {
    // Which rows hold parity matters only where parity is suspect.
    const parts = this.core.parityTrusted(rows.start, rows.end) ? [rows] : byStripe(this.core, rows);
    for (const part of parts) await visitSpans(this.core, part, (span) => this.rebuildSpan(span));
    this.target.markRebuilt(rows.start, rows.end);
  }

  private async rebuildSpan(rows: Range): Promise<unknown> {
    this.core.assertUsable();
    if (this.target.isFaulty) throw targetFailed(this.target);
    if (this.target.readable(rows.start, rows.end)) return;
    const sources = this.sources(rows);
    if (sources === null) return this.lose(rows);
    return withRows(this.core, this.faults, sources, rows, async (buffers) => {
      const bytes = buffers[0]!;
      xorInto(bytes, buffers.slice(1));
      await this.put(rows, bytes);
    });
  }

  private async put(rows: Range, bytes: Uint8Array): Promise<void> {
    const failures = await writeTransfers([{ member: this.target, start: rows.start, bytes }], {});
    await this.faults.settleWrites(failures);
    if (failures.length === 0) this.metadata.heal(this.target, rows.start, rows.end);
  }

  /**
   * The member that is replaced, if it can be read there; else everyone else; null: not enough of them, or data
   * would be made from parity that is suspect.
   */
  private sources(rows: Range): ArrayMember[] | null {
    const { core, slot } = this;
    const old = slot.member;
    if (old !== null && old !== this.target && old.readable(rows.start, rows.end)) return [old];
    const isParity =
      core.geometry.parityMember(Math.floor(rows.start / core.geometry.chunkBytes)) === slot.index;
    if (!core.parityTrusted(rows.start, rows.end) && !isParity) return null;
    const others = core.slots.filter((other) => other !== slot);
    const readers = others.map((other) => other.reader(rows.start, rows.end));
    return readers.some((reader) => reader === null) ? null : (readers as ArrayMember[]);
  }

  /**
   * Two bad blocks in one row, or suspect parity: what nobody has is said to be bad on the new member, never made up.
   * Suspect parity is said to be bad as well: else this array, the kernel's too, would make it up from that.
   */
  private lose(rows: Range): void {
    this.lostBytes += rows.end - rows.start;
    this.sayBad(this.target, rows);
    if (this.core.parityTrusted(rows.start, rows.end)) return;
    const { geometry, slots } = this.core;
    const parity = geometry.parityMember(Math.floor(rows.start / geometry.chunkBytes));
    for (const member of slots[parity]!.writers()) this.sayBad(member, rows);
  }

  private sayBad(member: ArrayMember, rows: Range): void {
    if (member.badBlocks.add(rows.start, rows.end)) {
      this.metadata.noteBadBlocks(member);
      return;
    }
    throw new UserError(
      'DATA_UNAVAILABLE',
      `${this.target.image}: ${rows.end - rows.start} bytes at ${rows.start} of its data area cannot be made, and the bad-block log of ${member.image} has no room to say so`,
      { hint: 'make the others readable in these rows first, or write the rows anew' },
    );
  }

  /** What was in doubt is said to be bad on the new member by now: with all members there, nothing else is suspect. */
  private async settleSuspect(): Promise<void> {
    const { core, metadata, faults } = this;
    if (core.isDegraded || core.suspect.isEmpty) return;
    await new Resync(core, metadata, faults).run();
  }

  private async checkpoint(): Promise<void> {
    if (this.target.isFaulty) throw targetFailed(this.target);
    await this.metadata.checkpoint();
  }

  /**
   * After the last checkpoint: all of it is made and flushed. A member that it replaces goes only when this one is
   * durably in-sync: else a cut in between would leave neither.
   */
  private async finish(): Promise<void> {
    const { slot, target } = this;
    if (target.isFaulty) throw targetFailed(target);
    if (!target.isInSync) await this.metadata.changeMembers(() => target.markInSync());
    if (target.isFaulty) throw targetFailed(target);
    const replaced = slot.member;
    if (replaced === null || replaced === target) return;
    await this.metadata.changeMembers((roles) => {
      slot.member = target;
      slot.replacement = null;
      slot.leaving = replaced;
      roles[replaced.superblock.deviceNumber] = 'faulty';
    });
    slot.retire(replaced);
  }
}

function targetFailed(target: ArrayMember): UserError {
  return new UserError('IO_ERROR', `${target.image} failed while it was being rebuilt`, {
    hint: 'the array is as it was before; add another image',
    details: { image: target.image },
    cause: target.cause,
  });
}
