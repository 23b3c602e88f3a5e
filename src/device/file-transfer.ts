/**
 * Whole transfers out of calls that may do less than they were asked for: a read or a write ends when every
 * byte has moved, or with an error. Interrupted calls are made again.
 *
 * Limits: Linux moves at most 0x7ffff000 bytes and takes at most 1024 buffers a call.
 */
import { bufferList, byteLength } from './buffers.js';
import type { Buffers } from './contract.js';
import { systemCode } from './device-errors.js';
import type { FileCalls } from './file-calls.js';

const MAX_CALL_BYTES = 1024 * 1024 * 1024;
const MAX_CALL_BUFFERS = 1024;

export function readFully(calls: FileCalls, fd: number, position: number, into: Buffers): Promise<void> {
  const end = position + byteLength(into);
  return transfer(into, position, async (buffers, at) => {
    const bytes = await uninterrupted(() => calls.read(fd, buffers, at));
    if (bytes === 0) throw inputOutputError(`the file ends at ${at} bytes, before ${end}: it was cut short`);
    return bytes;
  });
}

/** `waits`: see FileCalls.write. */
export function writeFully(
  calls: FileCalls,
  fd: number,
  position: number,
  from: Buffers,
  waits = false,
): Promise<void> {
  return transfer(from, position, async (buffers, at) => {
    const bytes = await uninterrupted(() => calls.write(fd, buffers, at, waits));
    if (bytes === 0) throw inputOutputError('the operating system took no byte and gave no reason');
    return bytes;
  });
}

/** What the operating system would have said, had it said anything. */
function inputOutputError(message: string): Error {
  return Object.assign(new Error(message), { code: 'EIO' });
}

/** Calls `make` again while a signal or a lack of resources of the moment kept it from its work. */
export function uninterrupted<T>(make: () => Promise<T>): Promise<T> {
  return make().catch((error: unknown) => {
    const code = systemCode(error);
    if (code !== 'EINTR' && code !== 'EAGAIN') throw error;
    return uninterrupted(make);
  });
}

/** Nearly always one call does it all: then there is one promise, and nothing is copied. */
function transfer(
  buffers: Buffers,
  position: number,
  step: (buffers: readonly Uint8Array[], at: number) => Promise<number>,
): Promise<void> {
  const list = bufferList(buffers);
  const length = byteLength(list);
  if (length === 0 || list.length > MAX_CALL_BUFFERS || length > MAX_CALL_BYTES)
    return transferRest(list, position, step);
  return step(list, position).then((bytes) =>
    bytes === length ? undefined : transferRest(after(list, bytes), position + bytes, step),
  );
}

async function transferRest(
  buffers: Buffers,
  position: number,
  step: (buffers: readonly Uint8Array[], at: number) => Promise<number>,
): Promise<void> {
  let left = bufferList(buffers).filter((buffer) => buffer.byteLength > 0);
  let at = position;
  while (left.length > 0) {
    const bytes = await step(oneCall(left), at);
    at += bytes;
    left = after(left, bytes);
  }
}

/** As much of the list as one call takes; the list itself, nearly always. */
function oneCall(buffers: readonly Uint8Array[]): readonly Uint8Array[] {
  const first = buffers[0]!;
  if (first.byteLength >= MAX_CALL_BYTES) return [first.subarray(0, MAX_CALL_BYTES)];
  let bytes = 0;
  let count = 0;
  while (count < buffers.length && count < MAX_CALL_BUFFERS) {
    bytes += buffers[count]!.byteLength;
    if (bytes > MAX_CALL_BYTES) break;
    count += 1;
  }
  return count === buffers.length ? buffers : buffers.slice(0, count);
}

/** What is left of the list after its first `bytes` bytes. */
function after(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes;
  let index = 0;
  while (index < buffers.length && skip >= buffers[index]!.byteLength) {
    skip -= buffers[index]!.byteLength;
    index += 1;
  }
  const rest = buffers.slice(index);
  if (skip > 0) rest[0] = rest[0]!.subarray(skip);
  return rest;
}
