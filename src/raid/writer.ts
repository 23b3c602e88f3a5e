/**
 * Writes to an array.
 *
 * A batch is cut at windows, windows that lie together are worked on as a group, and each group goes through
 * the same steps, in this order:
 *   1. the write intent of the whole batch (record, bitmap) is begun: it names all its rows;
 *   2. the group's locks, exclusively: parity is made from rows that nobody else changes meanwhile;
 *   3. the plan and the reads it needs, and the new parity, in the pool's memory;
 *   4. the array is active and a list that names the rows is durable: asked for only now, so that those who came
 *      meanwhile share it;
 *   5. data and parity, to all members at the same time;
 *   6. members that failed are durably out; only then the write is answered.
 * Step 4 before step 5 is the barrier that the whole of crash recovery stands on: a stripe that may become
 * inconsistent is named on disk first.
 */

import { bufferList } from '../device/buffers.js';
import type { BatchWrite, WriteOptions } from '../device/contract.js';
import type { PoolBuffer } from '../device/pool.js';
import type { ArrayActivity } from './activity.js';
import { type ArrayCore, GROUP_BUFFER_BYTES, isMemberFault } from './core.js';
import type { Faults } from './faults.js';
import type { ArrayMetadata } from './metadata.js';
import { xorInto, xorOf } from './parity/index.js';
import { readTransfers, type Transfer, type TransferFailure, toSlot, writeTransfers } from './transfers.js';
import type { IntentTicket } from './write-intent.js';
import { type BandPlan, bandBuffers, planWindow, type WindowWrite } from './write-plan.js';

/** User bytes of a group: large enough for long runs on every member, small enough to keep several going. */
const GROUP_DATA_BYTES = 4 * 1024 * 1024;

/** Groups of one batch in flight: enough to keep every member busy; thousands would only keep memory. */
const GROUPS_IN_FLIGHT = 4;

/** A band with its buffers: `buffers[0]` takes the parity, the others what is read. */
interface BandWork {
  readonly plan: BandPlan;
  readonly buffers: readonly Uint8Array[];
}

export class ArrayWriter {
  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
    private readonly activity: ArrayActivity,
    private readonly faults: Faults,
  ) {}

  async write(batch: readonly BatchWrite[], options: WriteOptions): Promise<void> {
    this.core.assertUsable();
    const windows = this.windows(batch);
    // One intent names all rows of the batch, whatever it is cut into; those that come together share its record.
    const ticket = this.activity.begin(this.rangesOf(windows));
    let isDurable = false;
    try {
      await this.writeGroups(windows, ticket, options);
      isDurable = options.fua === true;
    } finally {
      this.activity.end(ticket, isDurable);
    }
    // What is answered as durable must not be in doubt should the power go.
    if (isDurable) await this.metadata.intent.shorten();
  }

  /** A failed group does not stop the others: when this ends, no buffer of the batch is in use any more. */
  private async writeGroups(
    windows: readonly WindowWrite[],
    ticket: IntentTicket,
    options: WriteOptions,
  ): Promise<void> {
    const groups = this.groups(windows).values();
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      for (const group of groups) {
        await this.writeGroup(group, ticket, options).catch((error: unknown) => {
          failures.push(error);
        });
      }
    };
    await Promise.all(Array.from({ length: GROUPS_IN_FLIGHT }, worker));
    if (failures.length > 0) throw failures[0];
  }

  private windows(batch: readonly BatchWrite[]): WindowWrite[] {
    const windows = new Map<number, WindowWrite>();
    for (const { offset, from } of batch) {
      let arrayOffset = offset;
      for (const bytes of bufferList(from)) {
        for (const piece of this.core.windowPieces(arrayOffset, bytes.length)) {
          const window = this.core.windowOf(piece.offsetInData);
          let entry = windows.get(window);
          if (entry === undefined) {
            entry = { window, stripe: piece.stripe, segments: [] };
            windows.set(window, entry);
          }
          const at = piece.arrayOffset - arrayOffset;
          entry.segments.push({
            dataIndex: piece.dataIndex,
            start: piece.offsetInData,
            bytes: bytes.subarray(at, at + piece.length),
          });
        }
        arrayOffset += bytes.length;
      }
    }
    return [...windows.values()].sort((a, b) => a.window - b.window);
  }

  private groups(windows: readonly WindowWrite[]): WindowWrite[][] {
    const perWindow = this.core.windowBytes * this.core.geometry.raidDisks;
    const maxWindows = Math.max(1, Math.floor(Math.min(GROUP_DATA_BYTES, GROUP_BUFFER_BYTES) / perWindow));
    const groups: WindowWrite[][] = [];
    for (let i = 0; i < windows.length; i += maxWindows) groups.push(windows.slice(i, i + maxWindows));
    return groups;
  }

  private async writeGroup(
    group: readonly WindowWrite[],
    ticket: IntentTicket,
    options: WriteOptions,
  ): Promise<void> {
    const locked = group.map((entry) => entry.window);
    await this.core.locks.acquire(locked, 'exclusive');
    try {
      while (!(await this.attempt(group, ticket, options)));
    } finally {
      this.core.locks.release(locked);
    }
  }

  private rangesOf(group: readonly WindowWrite[]): { start: number; end: number }[] {
    const { windowBytes } = this.core;
    return group.map(({ window }) => ({ start: window * windowBytes, end: (window + 1) * windowBytes }));
  }

  /** False: a member could not be read, and now counts as bad there; plan anew. */
  private async attempt(
    group: readonly WindowWrite[],
    ticket: IntentTicket,
    options: WriteOptions,
  ): Promise<boolean> {
    this.core.assertUsable();
    const plans = group.flatMap((entry) => planWindow(this.core, entry));
    const memory = await this.acquire(plans);
    try {
      const bands = this.assignBuffers(plans, memory);
      const failedReads = await readTransfers(bands.flatMap(readsOf));
      if (failedReads.length > 0) {
        await this.faults.settleReads(failedReads);
        return false;
      }
      for (const band of bands) this.makeParity(band);
      await this.activity.durable(ticket);
      this.activity.assertAllowed();
      await this.writeOut(group, bands, options);
      return true;
    } finally {
      memory?.release();
    }
  }

  private async acquire(plans: readonly BandPlan[]): Promise<PoolBuffer | null> {
    const bytes = plans.reduce((sum, plan) => sum + bandBuffers(plan) * (plan.end - plan.start), 0);
    return bytes === 0 ? null : await this.core.arena.acquire(bytes);
  }

  private assignBuffers(plans: readonly BandPlan[], memory: PoolBuffer | null): BandWork[] {
    let at = 0;
    return plans.map((plan) => {
      const length = plan.end - plan.start;
      const buffers = Array.from({ length: bandBuffers(plan) }, () => {
        at += length;
        return memory!.bytes.subarray(at - length, at);
      });
      return { plan, buffers };
    });
  }

  private makeParity({ plan, buffers }: BandWork): void {
    const [parity, ...read] = buffers;
    if (parity === undefined) return;
    if (plan.method === 'read-modify-write') {
      xorInto(parity, [...read, ...plan.fresh]);
      this.core.counters.readModifyWrites++;
    } else {
      xorOf(parity, [...read, ...plan.fresh]);
      if (read.length === 0) this.core.counters.fullBands++;
      else this.core.counters.reconstructWrites++;
    }
  }

  private async writeOut(
    group: readonly WindowWrite[],
    bands: readonly BandWork[],
    options: WriteOptions,
  ): Promise<void> {
    const transfers = [...this.dataTransfers(group), ...bands.flatMap(parityTransfers)];
    const failures = await writeTransfers(transfers, options);
    for (const { member, start, bytes } of transfers) {
      // What was written anew can be read again, if it was written.
      if (failures.some((failure) => failure.member === member)) continue;
      this.metadata.heal(member, start, start + bytes.length);
    }
    if (failures.every(({ error }) => isMemberFault(error))) this.trustNewParity(bands);
    else await this.undo(bands, failures);
    await this.faults.settleWrites(failures);
  }

  /** Parity that was made from all data of its rows is right, whatever it was before. */
  private trustNewParity(bands: readonly BandWork[]): void {
    for (const { plan } of bands)
      if (plan.method === 'reconstruct-write') this.core.suspect.remove(plan.start, plan.end);
  }

  private *dataTransfers(group: readonly WindowWrite[]): Generator<Transfer> {
    const { geometry, slots } = this.core;
    for (const { stripe, segments } of group) {
      for (const { dataIndex, start, bytes } of segments) {
        yield* toSlot(slots[geometry.dataMember(stripe, dataIndex)]!, start, bytes);
      }
    }
  }

  /**
   * The disk below a member is full (or a fault of ours stopped the write): some of data and parity was written
   * and some was not. The rows are suspect from now on: their parity is made anew before it is trusted, and with
   * a member missing, what it held there is not made up. Where nobody was writing that, it would be lost by
   * this: there what was read before is put back.
   */
  private async undo(bands: readonly BandWork[], failures: readonly TransferFailure[]): Promise<void> {
    for (const { member, error } of failures) if (isMemberFault(error)) this.core.fail(member, error);
    for (const { plan, buffers } of bands) {
      const degraded = this.core.slots.some((slot) => slot.reader(plan.start, plan.end) === null);
      // Of the parity alone, each sector is old or new, and so is what it stands for.
      const isParityAlone = degraded && plan.method === 'reconstruct-write' && plan.fresh.length === 1;
      const isUndone =
        degraded && plan.method === 'read-modify-write' && (await this.putBack({ plan, buffers }));
      if (!isParityAlone && !isUndone) this.core.suspect.add(plan.start, plan.end);
    }
  }

  private async putBack({ plan, buffers }: BandWork): Promise<boolean> {
    const [parity, ...old] = buffers;
    xorInto(parity!, [...old, ...plan.fresh]);
    const transfers = plan.reads.map(({ member, buffer }) => ({
      member,
      start: plan.start,
      bytes: buffers[buffer]!,
    }));
    const failures = await writeTransfers(transfers, {});
    for (const { member, start, length } of failures) {
      this.core.warn(
        `${member.image}: the old content of ${length} bytes at offset ${member.superblock.dataOffset + start} could not be put back; what the missing member held in these rows is lost`,
      );
    }
    return failures.length === 0;
  }
}

function readsOf({ plan, buffers }: BandWork): Transfer[] {
  return plan.reads.map(({ member, buffer }) => ({ member, start: plan.start, bytes: buffers[buffer]! }));
}

function parityTransfers({ plan, buffers }: BandWork): Transfer[] {
  const parity = buffers[0];
  if (parity === undefined) return [];
  return plan.paritySlot.writers().map((member) => ({ member, start: plan.start, bytes: parity }));
}
