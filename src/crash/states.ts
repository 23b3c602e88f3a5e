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
 * - Of zeroing and trimming only those sectors are looked at in which it may make a difference: where something else than zeroes is durable when
 *   it is submitted, or something is volatile. So its length costs nothing: programs trim whole disks.
 */
import { type CrashProfile, PowerLoss } from './profiles.js';
import type { StateContent } from './state-content.js';
import { HASH_WORDS, hashSector, SECTOR_BYTES } from './state-hash.js';
import type { Operation, Trace } from './trace.js';

/** Noise may be where zeroes were and zeroes were to be; of zeroing and trimming more than this at once it is not. */
const NOISY_BYTES = 1024 * 1024;

/** A write that a cut may lose. */
export interface VolatileWrite {
  readonly operation: Operation;
  /** Numbers of the sectors in which it may make a difference, ascending. Of data all that it writes. */
  readonly sectors: Float64Array;
  /** Of each of these; 0 where a later version is durable. */
  readonly live: Uint8Array;
  /** Of each of these sectors' new content; null: zeroes. */
  readonly hashes: Int32Array | null;
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
      const write = this.volatileWrite(operation);
      if (write.sectors.length === 0) return false;
      this.pending.push(write);
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

  private settle({ operation, sectors, live }: VolatileWrite): void {
    const content = this.durable[operation.device]!;
    for (let at = 0; at < live.length; at++) {
      if (live[at] === 0) continue;
      const bytes = sectorBytes(operation, sectors[at]!);
      const offset = sectors[at]! * SECTOR_BYTES;
      if (bytes === null) content.zero(offset, SECTOR_BYTES);
      else content.write(offset, bytes);
    }
  }

  private volatileWrite(operation: Operation): VolatileWrite {
    const { number, device, length, bytes } = operation;
    const { from, to } = rangeOf(operation);
    if (!Number.isInteger(from) || !Number.isInteger(to))
      throw new RangeError(`operation ${number} is not of whole sectors of ${SECTOR_BYTES} bytes`);
    const isNoisy = length <= NOISY_BYTES && this.loss.of(device).hasNoise;
    const sectors =
      bytes === null && !isNoisy
        ? this.sectorsToZero(operation)
        : Float64Array.from({ length: to - from }, (_, at) => from + at);
    const live = new Uint8Array(sectors.length).fill(1);
    if (bytes === null) return { operation, sectors, live, hashes: null, isComplete: false };
    const hashes = new Int32Array(sectors.length * HASH_WORDS);
    for (const [at, sector] of sectors.entries())
      hashSector(device, sector, sectorBytes(operation, sector), hashes, at * HASH_WORDS);
    return { operation, sectors, live, hashes, isComplete: false };
  }

  private sectorsToZero(operation: Operation): Float64Array {
    const { from, to } = rangeOf(operation);
    const found = new Set<number>();
    for (const sector of this.durable[operation.device]!.dataSectors(from, to)) found.add(sector);
    for (const { operation: other, sectors, live } of this.pending) {
      if (other.device !== operation.device) continue;
      for (let at = placeOf(sectors, from); at < sectors.length && sectors[at]! < to; at++)
        if (live[at] === 1) found.add(sectors[at]!);
    }
    return Float64Array.from(found).sort();
  }
}

/** What an operation writes into the sector of this number; null: zeroes. */
export function sectorBytes({ offset, bytes }: Operation, sector: number): Uint8Array | null {
  const start = sector * SECTOR_BYTES - offset;
  return bytes?.subarray(start, start + SECTOR_BYTES) ?? null;
}

/** Of `sectors`, which ascend: the place of the first that is not below this one. */
export function placeOf(sectors: Float64Array, sector: number): number {
  let [low, high] = [0, sectors.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sectors[middle]! < sector) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** In sectors; `to` is the first behind it. */
function rangeOf({ offset, length }: Operation): { from: number; to: number } {
  return { from: offset / SECTOR_BYTES, to: (offset + length) / SECTOR_BYTES };
}

/** `later` is durable: what `earlier` wrote below it is never seen again. */
function outlive(earlier: VolatileWrite, later: VolatileWrite): void {
  if (earlier.operation.device !== later.operation.device) return;
  const { from, to } = rangeOf(later.operation);
  earlier.live.fill(0, placeOf(earlier.sectors, from), placeOf(earlier.sectors, to));
}
