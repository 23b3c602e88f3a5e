/** A trace in memory: what a recording has told, in order; and one that is slow, or full. */
import type { DiskRequest, TracedDevice, TraceEvent } from '../../../src/crash/trace.js';
import type { TraceSink } from '../../../src/lab/record/trace-sink.js';

export class MemorySink implements TraceSink {
  readonly devices: (TracedDevice & { readonly blockSize: number })[] = [];
  readonly events: TraceEvent[] = [];
  /** By device. */
  readonly bases: { readonly offset: number; readonly bytes: Uint8Array }[][] = [];
  readonly requests: DiskRequest['is'][] = [];
  /** What is thrown from then on, by `ready` and `close`. */
  failure: Error | null = null;
  isClosed = false;
  bytes = 0;
  #behind: Promise<void> | null = null;
  #catchUp: () => void = () => undefined;

  device(device: TracedDevice & { readonly blockSize: number }): number {
    this.devices.push(device);
    this.bases.push([]);
    return this.devices.length - 1;
  }

  base(device: number, offset: number, bytes: Uint8Array): void {
    const hasBegun = this.events.some((event) => 'operation' in event && event.operation.device === device);
    if (hasBegun) throw new Error(`base of device ${device} after its first event`);
    this.bases[device]!.push({ offset, bytes: bytes.slice() });
    this.bytes += bytes.byteLength;
  }

  volume(): void {}

  file(): void {}

  version(): void {}

  disk(): number {
    return 0;
  }

  request({ is }: Pick<DiskRequest, 'is'>): void {
    this.requests.push(is);
  }

  event(event: TraceEvent): void {
    if (this.isClosed) throw new Error('an event after the end');
    this.bytes += 1;
    if (event.kind === 'submit' && event.operation.bytes !== null) {
      const operation = { ...event.operation, bytes: event.operation.bytes.slice() };
      this.events.push({ kind: 'submit', operation });
    } else this.events.push(event);
  }

  async ready(): Promise<void> {
    await this.#behind;
    if (this.failure !== null) throw this.failure;
  }

  written(): Promise<void> {
    return this.ready();
  }

  async close(): Promise<void> {
    this.isClosed = true;
    if (this.failure !== null) throw this.failure;
  }

  /** From now on it is behind, until what is returned is called. */
  fallBehind(): () => void {
    this.#behind = new Promise((resolve) => {
      this.#catchUp = resolve;
    });
    return () => {
      this.#behind = null;
      this.#catchUp();
    };
  }
}
