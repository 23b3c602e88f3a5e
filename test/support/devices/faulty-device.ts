/**
 * A device that fails as it is told, counts exactly what it is asked, delays completions, and notes when the
 * layer above breaks the rule that writes in flight do not overlap. Without rules it passes everything on.
 */
import { byteLength, sliceBuffers } from '../../../src/device/buffers.js';
import { CallGuard } from '../../../src/device/call-guard.js';
import {
  type BatchDevice,
  type BatchWrite,
  type BlockDevice,
  type Buffers,
  DeviceError,
  type Extent,
  type WriteOptions,
} from '../../../src/device/contract.js';
import { isNoSpace } from '../../../src/device/device-errors.js';
import { type Delay, delayed } from '../../../src/lab/self/delays.js';
import { SeededRandom } from './seeded-random.js';

export type FaultyOperation = 'read' | 'write' | 'write-zeroes' | 'trim' | 'flush' | 'extents';

export interface FaultRule {
  /** All of them when absent. */
  readonly operations?: readonly FaultyOperation[];
  /** Only calls that touch this range; a flush touches none. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** Only writes with, or without, fua. */
  readonly fua?: boolean;
  /** The nth call that fits, counted from 1; later ones pass unless `latch`. */
  readonly nth?: number;
  /** Of each call that fits, by the device's seed. */
  readonly probability?: number;
  /** IO_ERROR when absent. */
  readonly code?: 'IO_ERROR' | 'NO_SPACE' | 'PERMISSION_DENIED';
  /** Once it has struck, every later call that fits fails. */
  readonly latch?: boolean;
  /** Bytes of a write that arrive before it fails. */
  readonly bytesBefore?: number;
}

export interface Counts {
  reads: number;
  writes: number;
  fuaWrites: number;
  batches: number;
  zeroings: number;
  trims: number;
  flushes: number;
  readBytes: number;
  /** Of writes and batches, fua or not. */
  writtenBytes: number;
}

export interface FaultyDeviceOptions {
  readonly seed?: number;
  readonly rules?: readonly FaultRule[];
  /** Complete calls late and out of order; turns of the event loop. */
  readonly maxDelayTurns?: number;
}

interface ActiveRule extends FaultRule {
  fitting: number;
  struck: boolean;
}

interface Flight {
  readonly operation: FaultyOperation;
  readonly offset: number;
  readonly end: number;
}

function noCounts(): Counts {
  return {
    reads: 0,
    writes: 0,
    fuaWrites: 0,
    batches: 0,
    zeroings: 0,
    trims: 0,
    flushes: 0,
    readBytes: 0,
    writtenBytes: 0,
  };
}

export class FaultyDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  /** What was asked, whether it failed or not. Set it anew with `resetCounts`. */
  counts = noCounts();
  /** What broke the rule of the contract on calls in flight; a good layer leaves it empty. */
  readonly overlaps: string[] = [];
  protected readonly base: BlockDevice;
  readonly #guard: CallGuard;
  readonly #random: SeededRandom;
  readonly #delay: Delay | undefined;
  readonly #flights = new Set<Flight>();
  #rules: ActiveRule[] = [];

  constructor(base: BlockDevice, options: FaultyDeviceOptions = {}) {
    this.base = base;
    this.name = base.name;
    this.size = base.size;
    this.blockSize = base.blockSize;
    this.readOnly = base.readOnly;
    this.#guard = new CallGuard(this);
    this.#random = new SeededRandom(options.seed ?? 1);
    const maxTurns = options.maxDelayTurns ?? 0;
    this.#delay = maxTurns > 0 ? { random: this.#random, maxTurns } : undefined;
    for (const rule of options.rules ?? []) this.addRule(rule);
  }

  /** From now on; the answer takes the rule away again. */
  addRule(rule: FaultRule): () => void {
    const active: ActiveRule = { ...rule, fitting: 0, struck: false };
    this.#rules.push(active);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== active);
    };
  }

  clearRules(): void {
    this.#rules = [];
  }

  resetCounts(): void {
    this.counts = noCounts();
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, () => {
      this.counts.reads += 1;
      this.counts.readBytes += length;
      return this.#perform('read', offset, length, () => this.base.read(offset, into));
    });
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const fua = options.fua === true;
    return this.#guard.run(
      'write',
      offset,
      byteLength(from),
      () => {
        if (fua) this.counts.fuaWrites += 1;
        else this.counts.writes += 1;
        return this.performWrite(offset, from, options);
      },
      (error) => fua && !isNoSpace(error),
    );
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#guard.run(
      'write-zeroes',
      offset,
      length,
      () => {
        this.counts.zeroings += 1;
        return this.#perform('write-zeroes', offset, length, () =>
          this.base.writeZeroes(offset, length, options),
        );
      },
      (error) => options.fua === true && !isNoSpace(error),
    );
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, () => {
      this.counts.trims += 1;
      return this.#perform('trim', offset, length, () => this.base.trim(offset, length));
    });
  }

  flush(): Promise<void> {
    return this.#guard.flush(() => {
      this.counts.flushes += 1;
      return this.#perform('flush', 0, 0, () => this.base.flush());
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () => this.base.extents(offset, length));
  }

  close(): Promise<void> {
    return this.#guard.close(() => this.base.close());
  }

  protected async performWrite(offset: number, from: Buffers, options: WriteOptions): Promise<void> {
    const length = byteLength(from);
    this.counts.writtenBytes += length;
    const torn = async (bytes: number) => this.base.write(offset, sliceBuffers(from, 0, bytes));
    await this.#perform(
      'write',
      offset,
      length,
      () => this.base.write(offset, from, options),
      options.fua,
      torn,
    );
  }

  async #perform<T>(
    operation: FaultyOperation,
    offset: number,
    length: number,
    body: () => Promise<T>,
    fua = false,
    torn?: (bytes: number) => Promise<void>,
  ): Promise<T> {
    const flight = { operation, offset, end: offset + length };
    this.#noteOverlaps(flight);
    this.#flights.add(flight);
    try {
      const struck = this.#strike(flight, fua);
      // The pages are lost now, whoever is told first: flushes beside this one must not succeed.
      if (struck !== undefined && operation === 'flush') this.#guard.fail(this.#fault(struck, flight));
      return await delayed(this.#delay, async () => {
        if (struck === undefined) return body();
        if (struck.bytesBefore !== undefined) await torn?.(struck.bytesBefore);
        throw this.#fault(struck, flight);
      });
    } finally {
      this.#flights.delete(flight);
    }
  }

  #noteOverlaps(flight: Flight): void {
    for (const other of this.#flights) {
      const overlap = flight.offset < other.end && other.offset < flight.end;
      if (!overlap || (flight.operation === 'read' && other.operation === 'read')) continue;
      const text = ({ operation, offset, end }: Flight) => `${operation} [${offset}, ${end})`;
      this.overlaps.push(`${text(flight)} while ${text(other)} is in flight`);
    }
  }

  #strike(flight: Flight, fua: boolean): FaultRule | undefined {
    let struck: FaultRule | undefined;
    for (const rule of this.#rules) {
      if (!fits(rule, flight, fua)) continue;
      rule.fitting += 1;
      const isLatched = rule.struck && rule.latch === true;
      const isDue = rule.nth === undefined || rule.fitting === rule.nth;
      const isDrawn = rule.probability === undefined || this.#random.chance(rule.probability);
      if (!isLatched && !(isDue && isDrawn)) continue;
      rule.struck = true;
      struck ??= rule;
    }
    return struck;
  }

  #fault(rule: FaultRule, { operation, offset, end }: Flight): DeviceError {
    const place = operation === 'flush' ? {} : { offset, length: end - offset };
    const fault = { device: this.name, operation, ...place, cause: new Error('injected') };
    return new DeviceError(rule.code ?? 'IO_ERROR', `${this.name}: injected fault of ${operation}`, fault);
  }
}

function fits(rule: FaultRule, { operation, offset, end }: Flight, fua: boolean): boolean {
  if (rule.operations !== undefined && !rule.operations.includes(operation)) return false;
  if (rule.fua !== undefined && (rule.fua !== fua || operation !== 'write')) return false;
  if (rule.range === undefined) return true;
  return offset < rule.range.offset + rule.range.length && rule.range.offset < end;
}

/** The same, and it takes batches: each write of one is counted and may fail by itself. */
export class FaultyBatchDevice extends FaultyDevice implements BatchDevice {
  async writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    this.counts.batches += 1;
    const outcomes = await Promise.allSettled(batch.map(({ offset, from }) => this.write(offset, from)));
    for (const outcome of outcomes) if (outcome.status === 'rejected') throw outcome.reason;
  }
}
