/**
 * The secondary of a replicated volume, as a device: what is written is gathered as an epoch in the log, a flush makes the
 * epoch durable there and returns, and the epoch is brought into the image behind it. So a power cut leaves the end of some
 * epoch, and the last one that was answered or a later one.
 *
 * Invariants
 * - An epoch holds what was called before the flush (or the fua write) that ends it, and nothing that was called later:
 *   who calls in the primary's order, without waiting, gets epochs that are states of the primary.
 * - Writes in flight that overlap are ordered: as they were called. Trims and zeroes too. A trim reads as zeroes.
 * - Reads see all that was called before them.
 * - Any write that fails is final, also one that was refused because its epoch is too long: what follows it without it is
 *   no state of the primary, so no epoch ends after it. It is opened again; what had no end is dropped then.
 * - Epochs go into the image one batch after another, and the state changes between two batches only (marks.ts has the order).
 */
import { allEnded } from '../../device/all-ended.js';
import { byteLength } from '../../device/buffers.js';
import { CallGuard } from '../../device/call-guard.js';
import type { BlockDevice, Buffers, DeviceError, Extent, WriteOptions } from '../../device/contract.js';
import { toDeviceError } from '../../device/device-errors.js';
import { UserError } from '../../errors.js';
import { SECTOR_BYTES } from '../file-header.js';
import type { Applier } from './applier.js';
import { type EntryKind, epochCost } from './epoch-record.js';
import type { Epochs } from './epochs.js';
import { KeptContainer } from './kept-container.js';
import type { Payload } from './layer.js';
import { extentsLayered, readLayered } from './layered.js';
import type { LogHeader } from './log-header.js';
import { LogWriter } from './log-writer.js';
import { type EpochPoint, type Generation, type Marks, type MarksFile, newId } from './marks.js';
import { NOTHING_KEPT, type SecondaryParts } from './parts.js';
import type { Ring } from './ring.js';
import type { Slots } from './slots.js';
import { type SecondaryStatus, statusOf } from './status.js';
import { epochTooLong } from './too-long.js';

/** What writes; a secondary that is read only has none. */
export interface Writing {
  readonly marks: MarksFile;
  readonly applier: Applier;
  readonly header: LogHeader;
  readonly slots: Slots<LogHeader>;
}

export interface SecondaryDeviceOptions {
  readonly parts: SecondaryParts;
  readonly marks: Marks;
  readonly ring: Ring;
  readonly epochs: Epochs;
  readonly writing: Writing | null;
  readonly nowMs: () => number;
}

export class SecondaryDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  /**
   * What one epoch may hold: the sum of `epochCost` over its calls and its end, which is 512 bytes each and the bytes that are
   * written. Who exceeds it is refused.
   */
  readonly epochBytes: number;
  readonly #parts: SecondaryParts;
  readonly #ring: Ring;
  readonly #epochs: Epochs;
  readonly #guard: CallGuard;
  readonly #writing: Writing | null;
  readonly #log: LogWriter | null;
  readonly #marks: Marks;
  readonly #nowMs: () => number;
  /** Reads of the log: what they read stays there until they have ended. */
  readonly #reading = new Set<Promise<void>>();
  /** The last flush that is under way, or was. */
  #promised: Promise<void> = Promise.resolve();
  /** Batches and changes of the state, one after another. */
  #turn: Promise<unknown> = Promise.resolve();
  #isApplyAsked = false;
  #isClosing = false;

  /** For `openSecondary`. */
  constructor({ parts, marks, ring, epochs, writing, nowMs }: SecondaryDeviceOptions) {
    this.#parts = parts;
    this.name = parts.image.name;
    this.size = marks.sizeBytes;
    this.blockSize = Math.max(SECTOR_BYTES, parts.image.blockSize);
    this.readOnly = writing === null;
    this.epochBytes = Math.floor(ring.bytes / 2 / SECTOR_BYTES) * SECTOR_BYTES;
    this.#marks = marks;
    this.#ring = ring;
    this.#epochs = epochs;
    this.#writing = writing;
    this.#nowMs = nowMs;
    this.#guard = new CallGuard(this);
    this.#log = writing === null ? null : this.#logOf(writing);
  }

  #logOf({ header, slots, applier }: Writing): LogWriter {
    const log = new LogWriter({
      ring: this.#ring,
      header,
      slots,
      onDurable: (epoch) => {
        this.#epochs.durable(epoch);
        this.#askApply();
      },
      onFailure: (error) => this.#fail(error),
    });
    // From now on the header is the log's to write.
    applier.noteKept = ({ id, groupCount }) => log.noteKept({ keptId: id, keptGroups: groupCount });
    return log;
  }

  get marks(): Marks {
    return this.#writing?.marks.current ?? this.#marks;
  }

  /** The end of the last epoch that is durable: what a power cut now would leave, or a later one. */
  get point(): EpochPoint {
    return this.#epochs.durablePoint;
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, () =>
      readLayered(this.#epochs.layers(), this.#parts.image, offset, into, (payload, skip, buffers) =>
        this.#readLog(payload, skip, buffers),
      ),
    );
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    return this.#change('write', { offset, length, kind: 'data' }, from, options);
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#change('write-zeroes', { offset, length, kind: 'zeroes' }, [], options);
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#change('trim', { offset, length, kind: 'trim' }, [], {});
  }

  flush(): Promise<void> {
    return this.endEpoch();
  }

  /** As `flush`; `atMs`: the primary's wall clock at this end, for people. Nothing written since: no epoch ends. */
  endEpoch({ atMs = this.#nowMs() }: { atMs?: number } = {}): Promise<void> {
    return this.#guard.flush(async () => {
      if (this.readOnly) return;
      if (!this.#epochs.isEmpty) this.#end(Math.floor(atMs));
      await this.#promised;
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () =>
      extentsLayered(this.#epochs.layers(), this.#parts.image, offset, length),
    );
  }

  /** Closes the parts too. What is durable and not applied is, at the next opening. */
  close(): Promise<void> {
    return this.#guard.close(async () => {
      this.#isClosing = true;
      // Whoever asked for the last one has been told how it ended.
      await Promise.allSettled([this.#turn]);
      const { image, epochs, kept, marks } = this.#parts;
      await allEnded([image.close(), epochs.close(), kept.close(), marks.close()]);
    });
  }

  /** Ends when all that is durable is in the image, and flushed there. */
  async settle(): Promise<void> {
    await this.#exclusively(() => this.#applyWaiting());
  }

  /**
   * From now on it is being made like the primary, and what is overwritten is kept: the last point is where `promote` goes
   * back to. To be called when all flushes have returned, and before anything of the resync is written. What was written
   * and not flushed is part of the resync. Amid a resync, and where there never was a point, it changes nothing.
   */
  async beginResync(): Promise<void> {
    const { marks, applier } = this.#forWriting();
    await this.#exclusively(async () => {
      await this.#applyWaiting();
      if (marks.current.state !== 'consistent') return;
      const keptId = newId();
      await marks.change({ state: 'resyncing', point: this.point, keptId, isKeptWhole: true });
      applier.kept = KeptContainer.empty(this.#parts.kept, keptId, this.size);
      applier.keptFailure = null;
    });
  }

  /**
   * The image is like the primary, as of what was written before this call. Ends the epoch; when it returns the marks say
   * `consistent`. Then the container is emptied: where that fails the error says so, and the state is what it is.
   */
  async endResync(options: { generation: Generation; parent?: Generation; atMs?: number }): Promise<void> {
    const { marks, applier } = this.#forWriting();
    await this.endEpoch(options);
    const { generation, parent = marks.current.parent } = options;
    await this.#exclusively(async () => {
      await this.#applyWaiting();
      const done = { state: 'consistent', generation, parent, point: this.point } as const;
      await marks.change({ ...done, keptId: NOTHING_KEPT, isKeptWhole: false });
      applier.kept = null;
      applier.keptFailure = null;
    });
    await this.#parts.kept.trim(0, this.#parts.kept.size);
  }

  status(): SecondaryStatus {
    const { applier } = this.#writing ?? { applier: null };
    return statusOf(this.marks, {
      point: this.point,
      logBytes: this.#ring.bytes,
      logUsedBytes: this.#log?.usedBytes ?? 0,
      epochBytes: this.epochBytes,
      keptBlocks: applier?.kept?.keptBlocks ?? 0,
      keptFailure: applier?.keptFailure?.message ?? null,
    });
  }

  /** In the same turn as the call: the order of the calls is the order of the entries. */
  #change(
    operation: 'write' | 'write-zeroes' | 'trim',
    entry: { offset: number; length: number; kind: EntryKind },
    from: Buffers,
    { fua = false }: WriteOptions,
  ): Promise<void> {
    const { offset, length } = entry;
    const isFinal = (error: DeviceError) => {
      this.#log?.fail(error);
      return true;
    };
    return this.#guard.run(
      operation,
      offset,
      length,
      () => {
        const epochs = this.#epochs;
        const cost = epochCost(byteLength(from));
        if (epochs.gatheredBytes + cost > this.epochBytes) throw this.#tooLong(operation, offset, length);
        const { payload, done } = this.#log!.add(epochs.number, entry, from);
        epochs.put(offset, offset + length, payload, cost);
        if (!fua) return done;
        this.#end(this.#nowMs());
        return allEnded([done, this.#promised]);
      },
      isFinal,
    );
  }

  #end(atMs: number): void {
    this.#promised = this.#log!.end(this.#epochs.end(atMs));
  }

  async #readLog(payload: Payload, skip: number, buffers: readonly Uint8Array[]): Promise<void> {
    const read = async () => {
      if (payload.written !== null) await payload.written;
      await this.#ring.read(payload.position + skip, buffers);
    };
    const reading = read();
    this.#reading.add(reading);
    try {
      await reading;
    } finally {
      this.#reading.delete(reading);
    }
  }

  #askApply(): void {
    if (this.#isApplyAsked) return;
    this.#isApplyAsked = true;
    const applied = this.#exclusively(async () => {
      this.#isApplyAsked = false;
      if (!this.#isClosing) await this.#applyWaiting();
    });
    // Its failure is final by then, and told to whoever calls next.
    applied.catch(() => undefined);
  }

  async #applyWaiting(): Promise<void> {
    const epochs = this.#epochs;
    const { applier, marks } = this.#forWriting();
    for (let batch = epochs.take(); batch !== null; batch = epochs.take()) {
      await applier.apply(batch.layer);
      epochs.applied();
      // Nobody finds the layer from now on; who has found it may still read the log.
      await Promise.allSettled(this.#reading);
      const keptGroups = applier.kept?.groupCount ?? 0;
      await this.#log!.advance(batch.point, { keptId: marks.current.keptId, keptGroups });
    }
  }

  /** One after another. What fails is final: what of it is on disk nobody knows here. */
  #exclusively(body: () => Promise<void>): Promise<void> {
    const orFail = () =>
      body().catch((error: unknown) => {
        this.#fail(error);
        throw error;
      });
    const turn = this.#turn.then(orFail, orFail);
    this.#turn = turn;
    return turn;
  }

  #forWriting(): Writing {
    const { final } = this.#guard;
    if (final !== null) throw final;
    if (this.#writing !== null) return this.#writing;
    throw new UserError('PERMISSION_DENIED', `${this.name}: it was opened read only`, {
      details: { image: this.name },
    });
  }

  #fail(error: unknown): void {
    const fault = toDeviceError(error, { device: this.name, operation: 'flush' });
    this.#guard.fail(fault);
    this.#log?.fail(fault);
  }

  #tooLong(operation: 'write' | 'write-zeroes' | 'trim', offset: number, length: number): DeviceError {
    const { name, size } = this.#parts.epochs;
    const taker = `half of its epoch log ${name} (${size} bytes)`;
    return epochTooLong({ device: this.name, operation, offset, length }, this.epochBytes, taker);
  }
}
