/**
 * What a device holds before it is recorded, told to a trace: so it stands alone. Holes are not read, and zeroes not
 * told.
 */
import type { BlockDevice } from '../../device/contract.js';
import { isZero } from '../../device/zeroes.js';

const PAGE_BYTES = 4096;
const READ_BYTES = 1024 * 1024;
/** So much is asked about at once: of a large device the list of its extents is not held as a whole. */
const ASK_BYTES = 1024 * 1024 * 1024;

export interface CopyOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

/** `tell` is called with runs of pages in which something is; its answer is waited for. False: no more is wanted. */
export async function copyBase(
  device: BlockDevice,
  tell: (offset: number, bytes: Uint8Array) => void,
  paced: () => Promise<boolean>,
  { signal, onProgress }: CopyOptions,
): Promise<void> {
  const unit = Math.max(PAGE_BYTES, device.blockSize);
  for await (const { offset, length } of dataOf(device, unit)) {
    for (let at = offset; at < offset + length; at += READ_BYTES) {
      signal?.throwIfAborted();
      const bytes = new Uint8Array(Math.min(READ_BYTES, offset + length - at));
      await device.read(at, bytes);
      for (const run of filledRuns(bytes)) tell(at + run.start, bytes.subarray(run.start, run.end));
      if (!(await paced())) return;
      onProgress?.(at + bytes.byteLength, device.size);
    }
  }
}

/** In order; each page in which data lies is in one of them. */
async function* dataOf(
  device: BlockDevice,
  unit: number,
): AsyncGenerator<{ readonly offset: number; readonly length: number }> {
  let done = 0;
  for (let at = 0; at < device.size; at += ASK_BYTES) {
    for (const extent of await device.extents(at, Math.min(ASK_BYTES, device.size - at))) {
      if (extent.kind !== 'data') continue;
      const start = Math.max(done, Math.floor(extent.offset / unit) * unit);
      const end = Math.min(device.size, Math.ceil((extent.offset + extent.length) / unit) * unit);
      if (start >= end) continue;
      yield { offset: start, length: end - start };
      done = end;
    }
  }
}

/** Pages that are not zero, as few runs. */
function* filledRuns(bytes: Uint8Array): Generator<{ readonly start: number; readonly end: number }> {
  let start = -1;
  for (let at = 0; at < bytes.byteLength; at += PAGE_BYTES) {
    const isFilled = !isZero(bytes.subarray(at, at + PAGE_BYTES));
    if (isFilled && start < 0) start = at;
    if (isFilled || start < 0) continue;
    yield { start, end: at };
    start = -1;
  }
  if (start >= 0) yield { start, end: bytes.byteLength };
}
