/**
 * Epochs that go down as a whole: what is written is gathered in memory, and a flush gives it to what lies below as one batch
 * and flushes that. It stands over a secondary that has secondaries of its own, so that no epoch of theirs ends amid one of its.
 *
 * Invariants
 * - An epoch holds what was called before the flush (or the write with fua) that ends it, and nothing that was called later,
 *   also where others are still on their way down. They go down one after another, each flushed before the next.
 * - Reads see all that was called before them: an epoch is taken away when what lies below reads alike.
 * - Any write or flush that fails is final, also one that was refused because its epoch is too long: what follows without
 *   it is no moment of anything.
 */
import { byteLength, copyOf, scatter } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../device/contract.js';
import { SharedFlush } from '../device/shared-flush.js';
import type { ReplicatedDevice, WholeChange } from './replicated-device.js';
import { epochCost, epochTooLong, extentsLayered, Layer, readLayered } from './secondary/index.js';

/** What it needs of a device below: see ReplicatedDevice. */
export type TakesWhole = Pick<
  ReplicatedDevice,
  'name' | 'size' | 'blockSize' | 'readOnly' | 'read' | 'extents' | 'writeWhole' | 'flush' | 'close'
>;

export interface GatheredEpochsOptions {
  /**
   * What one epoch may hold: the sum of `epochCost` over its calls and its end. A write amid zeroes makes two of them, so it may
   * count for half as much again when it goes down.
   */
  readonly epochBytes: number;
}

type Epoch = Layer<Uint8Array>;

/** So many may have their end and wait to go down: who writes on then waits for them, since they take memory. */
const MOST_ENDED = 2;

export class GatheredEpochs implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly epochBytes: number;
  readonly #guard: CallGuard;
  readonly #flush = new SharedFlush(() => this.#giveDown());
  #current: Epoch = new Layer();
  #currentBytes = epochCost(0);
  /** Epochs that have an end, and are not below. */
  readonly #ended: Epoch[] = [];
  /** Of one that went down: what follows it without it is no moment of anything. */
  #failure: { readonly cause: unknown } | null = null;

  constructor(
    private readonly lower: TakesWhole,
    { epochBytes }: GatheredEpochsOptions,
  ) {
    this.name = lower.name;
    this.size = lower.size;
    this.blockSize = lower.blockSize;
    this.readOnly = lower.readOnly;
    this.epochBytes = epochBytes;
    this.#guard = new CallGuard(this);
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, () =>
      readLayered(this.#layers(), this.lower, offset, into, (bytes, skip, buffers) => {
        scatter(bytes.subarray(skip, skip + byteLength(buffers)), buffers, 0);
        return undefined;
      }),
    );
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    return this.#change('write', offset, byteLength(from), from, options);
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#change('write-zeroes', offset, length, null, options);
  }

  /** It reads as zeroes, as a trim of a secondary does. */
  trim(offset: number, length: number): Promise<void> {
    return this.#change('trim', offset, length, null, {});
  }

  flush(): Promise<void> {
    return this.#guard.flush(() => this.#endEpoch());
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () =>
      extentsLayered(this.#layers(), this.lower, offset, length),
    );
  }

  /** What was not flushed is dropped. */
  close(): Promise<void> {
    return this.#guard.close(() => this.lower.close());
  }

  /** `from`: null: zeroes. In the turn of the call: the order of calls is that of epochs. */
  #change(
    operation: 'write' | 'write-zeroes' | 'trim',
    offset: number,
    length: number,
    from: Buffers | null,
    { fua = false }: WriteOptions,
  ): Promise<void> {
    const body = async () => {
      this.#throwIfFailed();
      const cost = epochCost(from === null ? 0 : length);
      if (this.#currentBytes + cost > this.epochBytes)
        throw epochTooLong({ device: this.name, operation, offset, length }, this.epochBytes, this.name);
      this.#currentBytes += cost;
      this.#put(offset, offset + length, from);
      if (fua) await this.#endEpoch();
      else if (this.#ended.length > MOST_ENDED) await this.#flush.run();
    };
    return this.#guard.run(operation, offset, length, body, () => true);
  }

  #put(start: number, end: number, from: Buffers | null): void {
    const [first] = this.#current.within(start, end);
    // Zeroes amid zeroes would make three of them.
    const isZero = first?.payload === null && first.start === start && first.end === end;
    if (from !== null || !isZero) this.#current.put(start, end, from === null ? null : copyOf(from));
  }

  /** The newest on top. */
  #layers(): Epoch[] {
    return [this.#current, ...this.#ended.toReversed()];
  }

  #endEpoch(): Promise<void> {
    if (!this.#current.isEmpty) {
      this.#ended.push(this.#current);
      this.#current = new Layer();
      this.#currentBytes = epochCost(0);
    }
    return this.#flush.run();
  }

  async #giveDown(): Promise<void> {
    this.#throwIfFailed();
    try {
      if (this.#ended.length === 0) await this.lower.flush();
      for (const epoch of [...this.#ended]) {
        await this.lower.writeWhole(changesOf(epoch));
        this.#ended.shift();
        await this.lower.flush();
      }
    } catch (cause) {
      this.#failure = { cause };
      throw cause;
    }
  }

  #throwIfFailed(): void {
    if (this.#failure !== null) throw this.#failure.cause;
  }
}

function changesOf(epoch: Epoch): WholeChange[] {
  return epoch.list().map(({ start, end, payload, skip }) => {
    const place = { offset: start, length: end - start };
    if (payload === null) return { kind: 'write-zeroes', ...place };
    return { kind: 'write', ...place, from: payload.subarray(skip, skip + place.length) };
  });
}
