/**
 * A walk along a trace: what is durable and what is volatile for a cut at each event (docs/crash-model.md).
 *
 * Durable on a device are the writes that completed before the submission of a flush that completed, and FUA
 * writes that completed. Every other submitted write is volatile, one that failed too: it has no completion.
 * A flush orders nothing on another device.
 *
 * Invariants
 * - `durable` holds of each sector the newest durable version, in the order of submission.
 * - A sector of a volatile write is live while no later version of it is durable. A write without live sectors makes
 *   no difference to any cut and is volatile no more.
 */
import { type CrashProfile, PowerLoss } from './profiles.js';
import type { StateContent } from './state-content.js';
import { HASH_WORDS, hashSector, SECTOR_BYTES } from './state-hash.js';
import type { Operation, Trace } from './trace.js';

/** A write that a cut may lose. */
export interface VolatileWrite {
  readonly operation: Operation;
  readonly firstSector: number;
  /** Of each sector that it writes; 0 where a later version is durable. */
  readonly live: Uint8Array;
  /** Of each sector's new content. */
  readonly hashes: Int32Array;
  isComplete: boolean;
}

export class CutWalk {
  /** Of each device. To be forked, not written. */
  readonly durable: readonly StateContent[];
  readonly loss: PowerLoss;
  private pending: VolatileWrite[] = [];
  private readonly covered = new Map<Operation, readonly VolatileWrite[]>();
  private next = 0;

  constructor(
    readonly trace: Trace,
    initial: readonly StateContent[],
    loss: CrashProfile | PowerLoss,
  ) {
    this.loss = loss instanceof PowerLoss ? loss : new PowerLoss(loss);
    this.durable = initial.map((content) => content.fork());
  }

  /** The power is cut before this event happens. */
  get cut(): number {
    return this.next;
  }

  /** In the order of submission. */
  get volatile(): readonly VolatileWrite[] {
    return this.pending;
  }

  /** Goes on to a later cut. True if a cut there may leave something else than one before its last event. */
  advance(to: number): boolean {
    let changed = false;
    while (this.next < to) {
      changed = this.step();
      this.next += 1;
    }
    return changed;
  }

  private step(): boolean {
    const event = this.trace.events[this.next]!;
    if (event.kind === 'mark') return true;
    const { operation } = event;
    if (event.kind === 'submit') return this.submit(operation);
    return operation.kind === 'flush' ? this.flushed(operation) : this.completed(operation);
  }

  private submit(operation: Operation): boolean {
    if (operation.kind !== 'flush') {
      this.pending.push(volatileWrite(operation));
      return true;
    }
    const { device } = operation;
    this.covered.set(
      operation,
      this.pending.filter((write) => write.isComplete && write.operation.device === device),
    );
    return false;
  }

  private completed(operation: Operation): boolean {
    const write = this.pending.find((each) => each.operation === operation);
    // A later version of all its sectors is durable already.
    if (write === undefined) return false;
    write.isComplete = true;
    if (!operation.fua && !this.loss.of(operation.device).keepsCompleted) return false;
    this.harden([write]);
    return true;
  }

  private flushed(operation: Operation): boolean {
    const covered = this.covered.get(operation)!.filter((write) => this.pending.includes(write));
    this.covered.delete(operation);
    this.harden(covered);
    return covered.length > 0;
  }

  /** `writes` in the order of submission. */
  private harden(writes: readonly VolatileWrite[]): void {
    for (const write of writes) {
      this.settle(write);
      for (const earlier of this.pending) {
        if (earlier === write) break;
        outlive(earlier, write);
      }
    }
    this.pending = this.pending.filter((write) => !writes.includes(write) && write.live.includes(1));
  }

  private settle({ operation, live }: VolatileWrite): void {
    const content = this.durable[operation.device]!;
    for (let sector = 0; sector < live.length; sector++) {
      if (live[sector] === 0) continue;
      const bytes = sectorBytes(operation, sector);
      const offset = operation.offset + sector * SECTOR_BYTES;
      if (bytes === null) content.zero(offset, SECTOR_BYTES);
      else content.write(offset, bytes);
    }
  }
}

/** What an operation writes into its sector of this number, counted from its first; null: zeroes. */
export function sectorBytes(operation: Operation, sector: number): Uint8Array | null {
  return operation.bytes?.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES) ?? null;
}

function volatileWrite(operation: Operation): VolatileWrite {
  const firstSector = operation.offset / SECTOR_BYTES;
  const sectors = operation.length / SECTOR_BYTES;
  if (!Number.isInteger(firstSector) || !Number.isInteger(sectors)) {
    throw new RangeError(`operation ${operation.number} is not of whole sectors of ${SECTOR_BYTES} bytes`);
  }
  const hashes = new Int32Array(sectors * HASH_WORDS);
  for (let sector = 0; sector < sectors; sector++) {
    const bytes = sectorBytes(operation, sector);
    hashSector(operation.device, firstSector + sector, bytes, hashes, sector * HASH_WORDS);
  }
  return { operation, firstSector, live: new Uint8Array(sectors).fill(1), hashes, isComplete: false };
}

/** `later` is durable: what `earlier` wrote below it is never seen again. */
function outlive(earlier: VolatileWrite, later: VolatileWrite): void {
  if (earlier.operation.device !== later.operation.device) return;
  const shift = later.firstSector - earlier.firstSector;
  const start = Math.max(0, shift);
  const end = Math.min(earlier.live.length, shift + later.live.length);
  if (start < end) earlier.live.fill(0, start, end);
}
