/**
 * What was asked of some devices, in order: the input of everything that knows what a power cut may leave
 * (docs/crash-model.md). Recorded by recorder.ts, read by what cuts and by what explores.
 *
 * An event is the submission or the completion of an operation, or a mark of the workload's own. Events are counted
 * over all devices together, from 0; a cut at event t happens before event t does.
 */

export type OperationKind = 'write' | 'write-zeroes' | 'trim' | 'flush';

/** One call on one device. */
export interface Operation {
  /** Counted over all devices, in the order of submission. */
  readonly number: number;
  /** Index into the trace's devices. */
  readonly device: number;
  readonly kind: OperationKind;
  /** Bytes; 0 for a flush. */
  readonly offset: number;
  readonly length: number;
  /** What was written, a copy; null where it is zeroes (write-zeroes, trim) or nothing (flush). */
  readonly bytes: Uint8Array | null;
  /** Durable when it completes. */
  readonly fua: boolean;
}

export type TraceEvent =
  | { readonly kind: 'submit'; readonly operation: Operation }
  /** A call that failed has no completion: what it wrote may be there, whole, in part or not at all. */
  | { readonly kind: 'complete'; readonly operation: Operation }
  | { readonly kind: 'mark'; readonly mark: Mark };

/** Something that the workload wants remembered: "this write was acknowledged", "this flush was answered". */
export interface Mark {
  readonly name: string;
  readonly detail?: unknown;
}

export interface TracedDevice {
  readonly name: string;
  /** Bytes. */
  readonly size: number;
}

/** What a client wanted of a disk that the devices are the images of: a cut takes nothing from a disk, it is what is owed. */
export interface DiskRequest {
  readonly is: 'asked' | 'answered';
  /** How many events were before it: a cut there, or later, comes after it. */
  readonly at: number;
  /** To the byte; requests and disks have numbers of their own. */
  readonly request: Operation;
}

export interface Trace {
  readonly devices: readonly TracedDevice[];
  readonly events: readonly TraceEvent[];
  /** Where a volume was recorded: in order. */
  readonly requests?: readonly DiskRequest[];
}
