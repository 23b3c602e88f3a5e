/**
 * One recording: what is asked of some devices goes to a sink as it happens.
 *
 * Invariants
 * - Nothing piles up: of an event nothing is kept here, and an operation goes down when the sink has caught up.
 * - An operation that was answered was told as completed before, and a mark is told in the moment of the call. So a mark of
 *   whom an answer has reached comes behind the completion of what was answered, whatever ways the two have taken.
 * - What a device held is told before anything is written to it.
 * - The first failure of the sink ends the recording. Nobody who uses a device hears of it.
 */
import type { FileVersion } from '../../crash/file-versions.js';
import { Recorder } from '../../crash/recorder.js';
import type { OperationKind, TraceEvent } from '../../crash/trace.js';
import type { BlockDevice } from '../../device/contract.js';
import { type CopyOptions, copyBase } from './copy-base.js';
import type { TraceSink } from './trace-sink.js';

export interface RecordedCounts {
  readonly events: number;
  /** Submitted. */
  readonly writes: number;
  readonly zeroes: number;
  readonly trims: number;
  readonly flushes: number;
  readonly marks: number;
}

const COUNTED: Readonly<Record<OperationKind, 'writes' | 'zeroes' | 'trims' | 'flushes'>> = {
  write: 'writes',
  'write-zeroes': 'zeroes',
  trim: 'trims',
  flush: 'flushes',
};

export class Recording {
  readonly devices: { readonly name: string; readonly sizeBytes: number }[] = [];
  readonly #sink: TraceSink;
  readonly #recorder: Recorder;
  /** Of what clients ask of a volume. */
  readonly #clients: Recorder;
  readonly #onFailure: (error: unknown) => void;
  readonly #known = new Set<string>();
  /** Of devices that are files: their indices. */
  readonly #files = new Map<BlockDevice, number>();
  readonly #counts = { events: 0, writes: 0, zeroes: 0, trims: 0, flushes: 0, marks: 0 };
  #failure: { readonly error: unknown } | null = null;
  #isEnded = false;

  /** `onFailure` is called once, where the sink has failed. */
  constructor(sink: TraceSink, onFailure: (error: unknown) => void = () => undefined) {
    this.#sink = sink;
    this.#onFailure = onFailure;
    this.#recorder = new Recorder({
      keepEvents: false,
      onEvent: (event) => this.#tell(event),
      pace: async () => void (await this.ready()),
    });
    this.#clients = new Recorder({
      keepEvents: false,
      onEvent: (event) => this.#tellRequest(event),
      pace: async () => void (await this.ready()),
    });
  }

  get counts(): RecordedCounts {
    return this.#counts;
  }

  /** What ended it before its time. */
  get failure(): { readonly error: unknown } | null {
    return this.#failure;
  }

  get bytes(): number {
    return this.#sink.bytes;
  }

  get #isOpen(): boolean {
    return this.#failure === null && !this.#isEnded;
  }

  /**
   * A device whose calls are recorded; closing it closes `device`. What it holds is told first, where it is new: what has the
   * identity of one that was recorded is that one, opened again.
   */
  async record(device: BlockDevice, identity: string, options: CopyOptions = {}): Promise<BlockDevice> {
    if (device.readOnly || !this.#isOpen) return device;
    if (this.#known.has(identity)) return this.#recorder.record(device, { identity });
    this.#known.add(identity);
    const { name, size, blockSize } = device;
    // In one turn: the recorder counts devices as the sink does.
    const index = this.#try(() => this.#sink.device({ name, size, blockSize }));
    const recorded = this.#recorder.record(device, { identity });
    if (index === null) return recorded;
    this.devices.push({ name, sizeBytes: size });
    const tell = (offset: number, bytes: Uint8Array): void =>
      void this.#try(() => this.#sink.base(index, offset, bytes));
    await copyBase(device, tell, () => this.ready(), options);
    return recorded;
  }

  /** A file that is replaced as a whole, as a device of one sector that holds the number of its version; `before`: its version 0. */
  async recordFile(sector: BlockDevice, before: FileVersion): Promise<BlockDevice> {
    const index = this.devices.length;
    const device = await this.record(sector, `file ${sector.name}`);
    if (this.devices.length > index) this.#files.set(sector, index);
    this.version(sector, before);
    return device;
  }

  /** The next one. Tell it before the sector is written. */
  version(sector: BlockDevice, version: FileVersion): void {
    const index = this.#files.get(sector);
    if (index !== undefined) this.#try(() => this.#sink.version(index, version));
  }

  /** As what `named` names lies there: its small files, which are to be told once more where they have changed at the end. */
  volume(named: string, files: ReadonlyMap<string, Uint8Array>): void {
    this.#try(() => this.#sink.volume(named));
    this.files(files);
  }

  files(files: ReadonlyMap<string, Uint8Array>): void {
    for (const [path, bytes] of files) this.#try(() => this.#sink.file(path, bytes));
  }

  /** What clients use of a volume whose images are recorded: what they are told is what they are owed after a cut. */
  recordDisk(device: BlockDevice, name: string): BlockDevice {
    if (device.readOnly || !this.#isOpen) return device;
    this.#try(() => this.#sink.disk({ name, size: device.size }));
    return this.#clients.record(device, { identity: name });
  }

  /** False: it has ended, and this mark is not in it. */
  mark(name: string): boolean {
    this.#recorder.mark(name);
    return this.#isOpen;
  }

  /** Returns when the sink takes more; false: the recording has ended. */
  async ready(): Promise<boolean> {
    return this.#afterSink(() => this.#sink.ready());
  }

  /** Returns when all that was told so far is written; false: the recording has ended. */
  async written(): Promise<boolean> {
    return this.#afterSink(() => this.#sink.written());
  }

  async #afterSink(wait: () => Promise<void>): Promise<boolean> {
    if (!this.#isOpen) return false;
    try {
      await wait();
    } catch (error) {
      this.#fail(error);
    }
    return this.#isOpen;
  }

  /** What happens from now on is none of it. The trace is durable when this returns, unless there is a `failure`. */
  async end(): Promise<void> {
    if (this.#isEnded) return;
    this.#isEnded = true;
    try {
      await this.#sink.close();
    } catch (error) {
      this.#fail(error);
    }
  }

  #tell(event: TraceEvent): void {
    if (!this.#isOpen) return;
    this.#try(() => this.#sink.event(event));
    // One that failed may be there in part, and does not count.
    if (this.#failure !== null) return;
    this.#counts.events += 1;
    if (event.kind === 'mark') this.#counts.marks += 1;
    if (event.kind === 'submit') this.#counts[COUNTED[event.operation.kind]] += 1;
  }

  #tellRequest(event: TraceEvent): void {
    if (event.kind === 'mark') return;
    const is = event.kind === 'submit' ? 'asked' : 'answered';
    this.#try(() => this.#sink.request({ is, request: event.operation }));
  }

  #try<T>(call: () => T): T | null {
    if (!this.#isOpen) return null;
    try {
      return call();
    } catch (error) {
      this.#fail(error);
      return null;
    }
  }

  #fail(error: unknown): void {
    if (this.#failure !== null) return;
    this.#failure = { error };
    this.#onFailure(error);
  }
}
