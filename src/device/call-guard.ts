/**
 * What every device does with a call before it does anything of its own: refuse what is out of range, after
 * close, on a read-only device, or after a failure that is final; count what is in flight, so that close can
 * wait for it; and give every error the place where it happened.
 *
 * Invariants
 * - A refused call has moved no byte.
 * - What close releases (a descriptor above all, whose number the process uses again at once) is released
 *   when no call is in flight any more, and no call starts after close was called.
 * - After a final failure no write and no flush is let through, ever: the operating system may have dropped
 *   the pages that it could not write, and would report success the next time. Reads go on.
 */
import type { BlockDevice, DeviceError, DeviceOperation } from './contract.js';
import { refusal, toDeviceError } from './device-errors.js';

type Shape = Pick<BlockDevice, 'name' | 'size' | 'blockSize' | 'readOnly'>;
type RangeOperation = Extract<DeviceOperation, 'read' | 'write' | 'write-zeroes' | 'trim' | 'extents'>;

export class CallGuard {
  readonly #device: Shape;
  #inFlight = 0;
  #idle: (() => void) | null = null;
  #closed: Promise<void> | null = null;
  #final: DeviceError | null = null;

  constructor(device: Shape) {
    this.#device = device;
  }

  /** The failure after which the device takes no more writes, if there was one. */
  get final(): DeviceError | null {
    return this.#final;
  }

  /** Makes a failure final. The first one counts: what follows from it would only hide it. */
  fail(error: DeviceError): void {
    this.#final ??= error;
  }

  /** A call over a range that answers nothing. Length 0 is checked like any other and does nothing. */
  async run(
    operation: Exclude<RangeOperation, 'extents'>,
    offset: number,
    length: number,
    body: () => Promise<void>,
    isFinal: (error: DeviceError) => boolean = () => false,
  ): Promise<void> {
    this.#admit(operation, offset, length);
    if (length === 0) return;
    // Not by #counted: every layer of a stack comes here for every request, and each promise more shows.
    this.#inFlight += 1;
    try {
      await body();
    } catch (cause) {
      const error = this.#located(cause, operation, offset, length);
      if (isFinal(error)) this.fail(error);
      throw error;
    } finally {
      this.#left();
    }
  }

  /** Whether `run` would let in a call over this range, which is not empty: for calls that end before they return. */
  admits(operation: 'read' | 'write', offset: number, length: number): boolean {
    if (this.#closed !== null || length === 0) return false;
    if (operation === 'write' && (this.#device.readOnly || this.#final !== null)) return false;
    return this.#isInRange(offset, length);
  }

  /** A question about a range; `empty` is the answer for no bytes. */
  async ask<T>(offset: number, length: number, empty: T, body: () => Promise<T>): Promise<T> {
    this.#admit('extents', offset, length);
    if (length === 0) return empty;
    try {
      return await this.#counted(body);
    } catch (cause) {
      throw this.#located(cause, 'extents', offset, length);
    }
  }

  /** A flush, whose failure is final unless `isFinal` says that the data is safe and can be tried again. */
  async flush(
    body: () => Promise<void>,
    isFinal: (error: DeviceError) => boolean = () => true,
  ): Promise<void> {
    this.#refuseIfClosed('flush');
    this.#refuseIfFailed('flush');
    try {
      await this.#counted(body);
    } catch (cause) {
      const error = this.#located(cause, 'flush');
      if (isFinal(error)) this.fail(error);
      throw error;
    }
    // One beside it failed: which of the two was told of the lost pages is chance.
    this.#refuseIfFailed('flush');
  }

  /** Runs `release` once, when all calls that were let in have ended. */
  close(release: () => Promise<void>): Promise<void> {
    this.#closed ??= this.#close(release);
    return this.#closed;
  }

  async #close(release: () => Promise<void>): Promise<void> {
    if (this.#inFlight > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    try {
      await release();
    } catch (cause) {
      throw this.#located(cause, 'close');
    }
  }

  async #counted<T>(body: () => Promise<T>): Promise<T> {
    this.#inFlight += 1;
    try {
      return await body();
    } finally {
      this.#left();
    }
  }

  #left(): void {
    this.#inFlight -= 1;
    if (this.#inFlight === 0) this.#idle?.();
  }

  #admit(operation: RangeOperation, offset: number, length: number): void {
    this.#refuseIfClosed(operation, offset, length);
    const changes = operation !== 'read' && operation !== 'extents';
    if (changes && this.#device.readOnly) {
      throw refusal('PERMISSION_DENIED', 'it was opened read only', this.#fault(operation, offset, length));
    }
    if (changes) this.#refuseIfFailed(operation, offset, length);
    this.#checkRange(operation, offset, length);
  }

  #isInRange(offset: number, length: number): boolean {
    const { size, blockSize } = this.#device;
    return (
      Number.isSafeInteger(offset) &&
      Number.isSafeInteger(length) &&
      offset >= 0 &&
      length >= 0 &&
      offset % blockSize === 0 &&
      length % blockSize === 0 &&
      offset <= size &&
      length <= size - offset
    );
  }

  #checkRange(operation: RangeOperation, offset: number, length: number): void {
    if (this.#isInRange(offset, length)) return;
    const { size, blockSize } = this.#device;
    const refuse = (why: string) => refusal('OUT_OF_RANGE', why, this.#fault(operation, offset, length));
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      throw refuse('offset and length must be whole numbers of bytes, 0 or more');
    }
    if (offset % blockSize !== 0 || length % blockSize !== 0) {
      throw refuse(`offset and length must be multiples of ${blockSize} bytes`);
    }
    throw refuse(`it ends at ${size} bytes`);
  }

  #refuseIfClosed(operation: DeviceOperation, offset?: number, length?: number): void {
    if (this.#closed === null) return;
    throw refusal('IO_ERROR', 'it is closed', this.#fault(operation, offset, length));
  }

  #refuseIfFailed(operation: DeviceOperation, offset?: number, length?: number): void {
    if (this.#final === null) return;
    const why = `an earlier failure was final, and what was written since the last flush may be lost (${this.#final.message})`;
    throw refusal(
      'IO_ERROR',
      why,
      { ...this.#fault(operation, offset, length), cause: this.#final },
      'Find out why the device failed, close it and open it again.',
    );
  }

  #located(cause: unknown, operation: DeviceOperation, offset?: number, length?: number): DeviceError {
    return toDeviceError(cause, this.#fault(operation, offset, length));
  }

  #fault(operation: DeviceOperation, offset?: number, length?: number) {
    return {
      device: this.#device.name,
      operation,
      ...(offset === undefined ? {} : { offset }),
      ...(length === undefined ? {} : { length }),
    };
  }
}
