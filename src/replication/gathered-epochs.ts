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
import { allEnded } from '../device/all-ended.js';
import { byteLength, copyOf, fillBuffers, scatter, sliceBuffers } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../device/contract.js';
import { ExtentList } from '../device/extent-list.js';
import { SharedFlush } from '../device/shared-flush.js';
import type { ReplicatedDevice, WholeChange } from './replicated-device.js';
import { epochCost, epochTooLong, Layer, partsOf } from './secondary/index.js';

/** What it needs of a device below: see ReplicatedDevice. */
export type TakesWhole = Pick<
  ReplicatedDevice,
  'name' | 'size' | 'blockSize' | 'readOnly' | 'read' | 'extents' | 'writeWhole' | 'flush' | 'close'
>;

export interface GatheredEpochsOptions {
  /** What one epoch may hold: the sum of `epochCost` over its calls and its end. */
  readonly epochBytes: number;
}

type Epoch = Layer<Uint8Array>;

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
    return this.#guard.run('read', offset, length, async () => {
      const calls = partsOf(this.#layers(), offset, offset + length).map(({ start, end, segment }) => {
        const buffers = sliceBuffers(into, start - offset, end - start);
        if (segment === null) return this.lower.read(start, buffers);
        const { payload, skip } = segment;
        if (payload === null) fillBuffers(buffers, 0, end - start, 0);
        else scatter(payload.subarray(skip, skip + end - start), buffers, 0);
        return undefined;
      });
      await allEnded(calls.flatMap((call) => call ?? []));
    });
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
    return this.#guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      for (const { start, end, segment } of partsOf(this.#layers(), offset, offset + length)) {
        if (segment === null) list.addAll(await this.lower.extents(start, end - start));
        else list.add(start, end - start, segment.payload === null ? 'zero' : 'data');
      }
      return list.list();
    });
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
      const cost = epochCost(from === null ? 0 : length);
      if (this.#currentBytes + cost > this.epochBytes)
        throw epochTooLong({ device: this.name, operation, offset, length }, this.epochBytes, this.name);
      this.#current.put(offset, offset + length, from === null ? null : copyOf(from));
      this.#currentBytes += cost;
      if (fua) await this.#endEpoch();
    };
    return this.#guard.run(operation, offset, length, body, () => true);
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
    const { lower } = this;
    if (this.#ended.length === 0) return lower.flush();
    for (const epoch of [...this.#ended]) {
      await lower.writeWhole(changesOf(epoch));
      this.#ended.shift();
      await lower.flush();
    }
  }
}

function changesOf(epoch: Epoch): WholeChange[] {
  return epoch.list().map(({ start, end, payload, skip }) => {
    const place = { offset: start, length: end - start };
    if (payload === null) return { kind: 'write-zeroes', ...place };
    return { kind: 'write', ...place, from: payload.subarray(skip, skip + place.length) };
  });
}
