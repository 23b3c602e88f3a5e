/**
 * Scatter/gather lists as one run of bytes: measured, cut into views, copied. Views share memory with the
 * caller's buffers; nothing here allocates bytes but `copyOf`.
 */
import type { Buffers } from './contract.js';

export function bufferList(buffers: Buffers): readonly Uint8Array[] {
  return buffers instanceof Uint8Array ? [buffers] : buffers;
}

export function byteLength(buffers: Buffers): number {
  if (buffers instanceof Uint8Array) return buffers.byteLength;
  let total = 0;
  for (const buffer of buffers) total += buffer.byteLength;
  return total;
}

/** Views of `length` bytes from `start` on, counted over the whole list; empty buffers are left out. */
export function sliceBuffers(buffers: Buffers, start: number, length: number): Uint8Array[] {
  const views: Uint8Array[] = [];
  let skip = start;
  let left = length;
  for (const buffer of bufferList(buffers)) {
    if (left === 0) break;
    if (skip >= buffer.byteLength) {
      skip -= buffer.byteLength;
      continue;
    }
    const view = buffer.subarray(skip, skip + left);
    skip = 0;
    left -= view.byteLength;
    views.push(view);
  }
  if (left > 0) throw new RangeError(`the buffers end ${left} bytes before the range`);
  return views;
}

/** Copies bytes of the list, from `start` on, until `into` is full. */
export function gather(from: Buffers, start: number, into: Uint8Array): void {
  if (from instanceof Uint8Array && start + into.byteLength <= from.byteLength) {
    into.set(from.subarray(start, start + into.byteLength));
    return;
  }
  let at = 0;
  for (const view of sliceBuffers(from, start, into.byteLength)) {
    into.set(view, at);
    at += view.byteLength;
  }
}

/** `gather` for one who goes through the list from its start to its end: what lies behind is not looked at again. */
export class Gathering {
  readonly #from: readonly Uint8Array[];
  #index = 0;
  /** Where the buffer at #index starts, counted over the whole list. */
  #start = 0;

  constructor(from: Buffers) {
    this.#from = bufferList(from);
  }

  /** Fills `into` with what lies from `start` on; no start lies before an earlier one. */
  copy(start: number, into: Uint8Array): void {
    for (let at = 0; at < into.byteLength; ) {
      const buffer = this.#from[this.#index];
      if (buffer === undefined) throw new RangeError('the buffers end before the range');
      const skip = start + at - this.#start;
      if (skip >= buffer.byteLength) {
        this.#start += buffer.byteLength;
        this.#index += 1;
        continue;
      }
      const view = viewOf(buffer, skip, Math.min(buffer.byteLength, skip + into.byteLength - at));
      into.set(view, at);
      at += view.byteLength;
    }
  }
}

/** The buffer itself where all of it is meant: a view costs more than what is done with it is worth. */
export function viewOf(buffer: Uint8Array, start: number, end: number): Uint8Array {
  return start === 0 && end === buffer.byteLength ? buffer : buffer.subarray(start, end);
}

/** Copies all of `from` into the list, from `start` on. */
export function scatter(from: Uint8Array, into: Buffers, start: number): void {
  let at = 0;
  for (const view of sliceBuffers(into, start, from.byteLength)) {
    view.set(from.subarray(at, at + view.byteLength));
    at += view.byteLength;
  }
}

export function fillBuffers(into: Buffers, start: number, length: number, value: number): void {
  for (const view of sliceBuffers(into, start, length)) view.fill(value);
}

/** One new buffer with the bytes of the list. */
export function copyOf(buffers: Buffers): Uint8Array {
  const bytes = new Uint8Array(byteLength(buffers));
  gather(buffers, 0, bytes);
  return bytes;
}
