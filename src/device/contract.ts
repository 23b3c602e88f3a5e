/**
 * The contract of a block device. Every layer is a block device on top of a block device, and every one is
 * held to this page by one conformance suite (test/conformance).
 *
 * - Offsets and lengths are bytes, whole multiples of `blockSize`, within `size`; anything else is refused
 *   with OUT_OF_RANGE before a byte moves. Length 0 is allowed and does nothing.
 * - `write` returns when the device has taken the data, which is not yet durable. `flush` makes all that
 *   was taken before it was called durable. `fua` makes that one write durable before it returns.
 * - After `write` has returned, a read sees it. Calls may be concurrent; writes in flight that overlap
 *   each other or a read in flight are an error of the layer above and their outcome is not defined (but
 *   for layers that say that they order them).
 * - A short read is an error. Every error is a DeviceError: device, operation, offset, length, cause.
 * - A failed flush is final: the device refuses every later write and flush, because the operating
 *   system may have dropped what it could not write and would report success the next time.
 * - The caller owns its buffers, may not change them until the call returns, and may do with them what it
 *   likes afterwards.
 */
import { type ErrorCode, UserError } from '../errors.js';

/** One buffer, or several that follow one another on the device (scatter, gather). */
export type Buffers = Uint8Array | readonly Uint8Array[];

export interface WriteOptions {
  /** Force unit access: durable when the call returns. */
  readonly fua?: boolean;
}

/** `data` may hold anything; `zero` is allocated and reads as zeroes; `hole` is not allocated and does too. */
export type ExtentKind = 'data' | 'zero' | 'hole';

export interface Extent {
  readonly offset: number;
  readonly length: number;
  readonly kind: ExtentKind;
}

export interface BlockDevice {
  /** For people: the path of the image, or what the layer is called. */
  readonly name: string;
  /** Usable size in bytes. */
  readonly size: number;
  /** Offsets and lengths are multiples of this many bytes. */
  readonly blockSize: number;
  readonly readOnly: boolean;

  read(offset: number, into: Buffers): Promise<void>;
  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void>;
  /** The range reads as zeroes afterwards; it may be deallocated. */
  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void>;
  /** The range's content is of no more use; it may read as anything that it held, or zeroes. */
  trim(offset: number, length: number): Promise<void>;
  flush(): Promise<void>;
  /** What the range consists of, in order, without gaps, neighbours of one kind joined. */
  extents(offset: number, length: number): Promise<Extent[]>;
  /** Does not flush. Calls after it are refused. Closing twice is allowed. */
  close(): Promise<void>;
}

/** One write of a batch. */
export interface BatchWrite {
  readonly offset: number;
  readonly from: Buffers;
}

/**
 * A device that takes many writes at once and may do better with them so: RAID makes full stripes of what
 * lies together and puts one record before the whole batch. The writes of a batch do not overlap and have
 * no order among themselves; each is as volatile as any write.
 */
export interface BatchDevice extends BlockDevice {
  writeBatch(batch: readonly BatchWrite[]): Promise<void>;
}

/**
 * A device that can do some calls before they return: what waits for nothing needs no promise. Both answer false where
 * they would have to wait, or be refused, or have failed; `read` or `write` then does all of it, and tells what is wrong.
 */
export interface PromptDevice extends BlockDevice {
  readNow(offset: number, into: Uint8Array): boolean;
  /** `length` is the bytes of `from`; as volatile as any write. What answered false may have written some of it. */
  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean;
}

/**
 * A device that does better when it knows what is written soon: RAID names the stripes in its record ahead, and the write
 * need not wait for one. It is advice, as posix_fadvise gives it: nothing depends on it, and what is told and never
 * written costs little. Who tells of more than some tens of MiB has the oldest forgotten.
 */
export interface AdvisedDevice extends BlockDevice {
  /** Any bytes: what is out of range is passed over. Writes nothing by itself, and never throws. */
  willWrite(offset: number, length: number): void;
}

export type DeviceOperation =
  | 'open'
  | 'read'
  | 'write'
  | 'write-zeroes'
  | 'trim'
  | 'flush'
  | 'extents'
  | 'close';

export interface DeviceFault {
  readonly device: string;
  readonly operation: DeviceOperation;
  /** Bytes; of the whole call, not of the part that failed. */
  readonly offset?: number;
  readonly length?: number;
  readonly cause?: unknown;
}

/** What went wrong on which device, where. `code` tells a full disk from a broken one. */
export class DeviceError extends UserError {
  readonly fault: DeviceFault;

  constructor(
    code: ErrorCode,
    message: string,
    fault: DeviceFault,
    hint?: string,
    details: Record<string, unknown> = {},
  ) {
    super(code, message, {
      ...(hint === undefined ? {} : { hint }),
      details: { image: fault.device, offsetBytes: fault.offset, lengthBytes: fault.length, ...details },
      cause: fault.cause,
    });
    this.name = 'DeviceError';
    this.fault = fault;
  }
}
