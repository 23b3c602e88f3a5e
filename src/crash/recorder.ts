/**
 * Writes down what is asked of some devices (trace.ts), and can take their power away.
 *
 * Invariants
 * - An operation is submitted in the moment of the call, before anything of it is done below, and completes before its
 *   caller is answered. What is refused (out of range, closed, read only) and what has no length is no operation.
 * - An operation that failed has no completion.
 * - Where base content is kept, no byte is written below before what it replaces has been read.
 * - After `halt` no call goes down, none is answered, and the trace stays as it is.
 * - Where nothing is kept, memory does not grow with the events.
 */
import { bufferList, byteLength, copyOf } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../device/contract.js';
import { BaseContent } from './base-content.js';
import type { Operation, OperationKind, Trace, TracedDevice, TraceEvent } from './trace.js';
import { Turnstile } from './turnstile.js';

export interface RecorderOptions {
  /** Keep what was there before the first write to each place, so that any moment can be put back. */
  readonly keepBase?: boolean;
  /** Calls end in the order in which they began, so that the same work makes the same trace. */
  readonly inOrder?: boolean;
  /** Called in the moment of each event, after it was written down. */
  readonly onEvent?: (event: TraceEvent) => void;
  /**
   * False: events are told, and nothing is kept of them. What a write has is then its caller's own memory, and good until
   * `onEvent` returns for its submission. True unless said otherwise.
   */
  readonly keepEvents?: boolean;
  /** Waited for by each operation when it was submitted, before anything of it is done: who is told of events sets the pace. */
  readonly pace?: () => Promise<void>;
}

export interface RecordOptions {
  /** What is opened again under the same identity is the same device of the trace. Default: its name. */
  readonly identity?: string;
  /** Instead of closing the device below. */
  readonly close?: (device: BlockDevice) => Promise<void>;
}

/** One device of the trace, whatever number of times it is opened. */
interface Track extends TracedDevice {
  readonly index: number;
  readonly base: BaseContent | null;
}

type Request = Pick<Operation, 'kind' | 'offset' | 'length' | 'bytes' | 'fua'>;

/** What an event takes in memory beside its bytes, about. */
const EVENT_BYTES = 200;

export class Recorder {
  readonly #options: RecorderOptions;
  readonly #turnstile: Turnstile | null;
  readonly #tracks = new Map<string, Track>();
  readonly #inFlight = new Set<Promise<unknown>>();
  #events: TraceEvent[] = [];
  #operations = 0;
  #bytes = 0;
  #isForgetful = false;
  #isHalted = false;

  constructor(options: RecorderOptions = {}) {
    this.#options = options;
    this.#turnstile = options.inOrder === true ? new Turnstile() : null;
    this.#isForgetful = options.keepEvents === false;
  }

  /** Everything so far; it grows with the next event. */
  get trace(): Trace {
    const devices = [...this.#tracks.values()].map(({ name, size }): TracedDevice => ({ name, size }));
    return { devices, events: this.#events };
  }

  get isHalted(): boolean {
    return this.#isHalted;
  }

  /** Bytes of memory that the trace and the base content take, about. */
  get heldBytes(): number {
    let bytes = this.#bytes + this.#events.length * EVENT_BYTES;
    for (const { base } of this.#tracks.values()) bytes += base?.heldBytes ?? 0;
    return bytes;
  }

  /** A device that writes down what is asked of `device`. One that is read only is none of the trace. */
  record(device: BlockDevice, options: RecordOptions = {}): RecordedDevice {
    const track = device.readOnly ? null : this.#trackOf(device, options.identity ?? device.name);
    return new RecordedDevice(device, this, track, options.close);
  }

  mark(name: string, detail?: unknown): void {
    if (!this.#isHalted)
      this.#add({ kind: 'mark', mark: detail === undefined ? { name } : { name, detail } });
  }

  /** What device `index` of the trace held before it was written; null where it is not kept. */
  base(index: number): BaseContent | null {
    return [...this.#tracks.values()][index]?.base ?? null;
  }

  /**
   * The power is off: nothing reaches a device from now on, and nobody is answered. Returns when what was in flight
   * below has ended, so that the devices below are at rest.
   */
  async halt(): Promise<void> {
    this.#isHalted = true;
    while (this.#inFlight.size > 0) await Promise.allSettled(this.#inFlight);
  }

  /** Gives up what was recorded, for good: events are still told, and nothing is kept of them. */
  forget(): void {
    this.#isForgetful = true;
    this.#events = [];
    this.#bytes = 0;
  }

  /** @internal For RecordedDevice: what a write has, to be told of. */
  bytesOf(from: Buffers): Uint8Array {
    const [only, ...more] = bufferList(from);
    return this.#isForgetful && only !== undefined && more.length === 0 ? only : copyOf(from);
  }

  /** @internal For RecordedDevice: a call that is no event. */
  async pass<T>(call: () => Promise<T>): Promise<T> {
    if (this.#isHalted) return never();
    try {
      return await this.#go(call);
    } finally {
      if (this.#isHalted) await never();
    }
  }

  /** @internal For RecordedDevice: a call that is an operation. */
  async operate(
    track: Track,
    device: BlockDevice,
    request: Request,
    call: () => Promise<void>,
  ): Promise<void> {
    if (this.#isHalted) return never();
    const operation: Operation = { number: this.#operations++, device: track.index, ...request };
    this.#add({ kind: 'submit', operation });
    await this.pass(async () => {
      const { kind, offset, length } = request;
      if (kind !== 'flush' && !this.#isForgetful) await track.base?.keep(device, offset, length);
      await this.#options.pace?.();
      if (!this.#isHalted) await call();
    });
    this.#add({ kind: 'complete', operation });
  }

  #trackOf(device: BlockDevice, identity: string): Track {
    let track = this.#tracks.get(identity);
    if (track === undefined) {
      const { name, size, blockSize } = device;
      const base = this.#options.keepBase === true ? new BaseContent(blockSize) : null;
      track = { index: this.#tracks.size, name, size, base };
      this.#tracks.set(identity, track);
    }
    return track;
  }

  #add(event: TraceEvent): void {
    if (!this.#isForgetful) {
      this.#events.push(event);
      if (event.kind === 'submit') this.#bytes += event.operation.bytes?.byteLength ?? 0;
    }
    this.#options.onEvent?.(event);
  }

  async #go<T>(call: () => Promise<T>): Promise<T> {
    const counted = (): Promise<T> => {
      const running = call();
      this.#inFlight.add(running);
      const done = (): void => void this.#inFlight.delete(running);
      running.then(done, done);
      return running;
    };
    return this.#turnstile === null ? counted() : this.#turnstile.pass(counted);
  }
}

/** For who waits for a device without power. */
function never(): Promise<never> {
  return new Promise(() => undefined);
}

/** A device whose calls are written down. Made by `Recorder.record`. */
export class RecordedDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #guard: CallGuard;

  constructor(
    private readonly below: BlockDevice,
    private readonly recorder: Recorder,
    private readonly track: Track | null,
    private readonly closeBelow = (device: BlockDevice): Promise<void> => device.close(),
  ) {
    this.name = below.name;
    this.size = below.size;
    this.blockSize = below.blockSize;
    this.readOnly = below.readOnly;
    this.#guard = new CallGuard(this);
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.#guard.run('read', offset, byteLength(into), () =>
      this.recorder.pass(() => this.below.read(offset, into)),
    );
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    return this.#guard.run('write', offset, length, () =>
      this.#operate(
        { kind: 'write', offset, length, bytes: this.recorder.bytesOf(from), fua: options.fua === true },
        () => this.below.write(offset, from, options),
      ),
    );
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, () =>
      this.#operate(zeroing('write-zeroes', offset, length, options.fua === true), () =>
        this.below.writeZeroes(offset, length, options),
      ),
    );
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, () =>
      this.#operate(zeroing('trim', offset, length), () => this.below.trim(offset, length)),
    );
  }

  /** Whether a failure is final is for the device below to know: it refuses what must be refused. */
  flush(): Promise<void> {
    return this.#guard.flush(
      () => this.#operate(zeroing('flush', 0, 0), () => this.below.flush()),
      () => false,
    );
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () =>
      this.recorder.pass(() => this.below.extents(offset, length)),
    );
  }

  close(): Promise<void> {
    return this.#guard.close(() => this.recorder.pass(() => this.closeBelow(this.below)));
  }

  #operate(request: Request, call: () => Promise<void>): Promise<void> {
    if (this.track === null) return this.recorder.pass(call);
    return this.recorder.operate(this.track, this.below, request, call);
  }
}

function zeroing(kind: OperationKind, offset: number, length: number, fua = false): Request {
  return { kind, offset, length, bytes: null, fua };
}
