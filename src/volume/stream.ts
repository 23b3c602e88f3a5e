/**
 * Bytes between a volume and a stream: any offset, any length, several requests in flight, in order.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';

const PIECE_BYTES = 4 * 1024 * 1024;
const IN_FLIGHT = 4;

export interface StreamOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((doneBytes: number, totalBytes: number) => void) | undefined;
}

/** Throws OUT_OF_RANGE where the range is not within the volume. */
export function assertRange(device: BlockDevice, offset: number, length: number): void {
  if (offset <= device.size && length <= device.size - offset) return;
  throw new UserError(
    'OUT_OF_RANGE',
    `${device.name} has ${device.size} bytes: ${length} bytes at offset ${offset} reach beyond its end`,
    {
      details: { image: device.name, offsetBytes: offset, lengthBytes: length, sizeBytes: device.size },
    },
  );
}

/**
 * The bytes of a range, piece by piece; reads run ahead. A read that fails is thrown after all bytes before it
 * were handed out, down to the block.
 */
export async function* readStream(
  device: BlockDevice,
  offset: number,
  length: number,
  options: StreamOptions = {},
): AsyncGenerator<Uint8Array> {
  assertRange(device, offset, length);
  const end = offset + length;
  const ahead: Promise<Uint8Array | Failed>[] = [];
  let next = offset;
  let done = 0;
  const refill = () => {
    while (ahead.length < IN_FLIGHT && next < end) {
      const size = Math.min(PIECE_BYTES - (next % PIECE_BYTES), end - next);
      ahead.push(readPiece(device, next, size));
      next += size;
    }
  };
  for (refill(); ahead.length > 0; refill()) {
    options.signal?.throwIfAborted();
    const piece = await ahead.shift()!;
    if ('error' in piece) {
      yield piece.before;
      throw piece.error;
    }
    yield piece;
    done += piece.length;
    options.onProgress?.(done, length);
  }
}

/** What one look at what is data takes in. */
const LOOK_BYTES = 256 * 1024 * 1024;

/** The same, with what is no data left out: a number stands for so many bytes that read as zeroes. */
export async function* sparseStream(
  device: BlockDevice,
  offset: number,
  length: number,
  { signal, onProgress }: StreamOptions = {},
): AsyncGenerator<Uint8Array | number> {
  assertRange(device, offset, length);
  const end = offset + length;
  const tell = (at: number) => onProgress?.(at - offset, length);
  for (let at = offset; at < end; ) {
    const extents = await device.extents(at, Math.min(LOOK_BYTES, end - at));
    for (const extent of extents) {
      signal?.throwIfAborted();
      if (extent.kind === 'data') {
        const onPiece = (done: number) => tell(extent.offset + done);
        yield* readStream(device, extent.offset, extent.length, { signal, onProgress: onPiece });
      } else yield extent.length;
      at = extent.offset + extent.length;
      tell(at);
    }
  }
}

/** What could be read before the block that could not. */
interface Failed {
  readonly before: Uint8Array;
  readonly error: unknown;
}

/** Reads whole blocks of the device and gives the part of them that was asked for. */
async function readPiece(device: BlockDevice, offset: number, length: number): Promise<Uint8Array | Failed> {
  const { blockSize } = device;
  const start = Math.floor(offset / blockSize) * blockSize;
  const end = Math.ceil((offset + length) / blockSize) * blockSize;
  const bytes = new Uint8Array(end - start);
  const wanted = (whole: Uint8Array) => whole.subarray(offset - start, offset - start + length);
  try {
    await device.read(start, bytes);
    return wanted(bytes);
  } catch {
    const read = await readUpToFailure(device, start, bytes);
    return 'error' in read ? { before: wanted(read.before), error: read.error } : wanted(read);
  }
}

/** Reads block by block, so that nothing that can be read is held back. */
async function readUpToFailure(
  device: BlockDevice,
  offset: number,
  into: Uint8Array,
): Promise<Uint8Array | Failed> {
  const step = 4096;
  for (let at = 0; at < into.length; ) {
    const size = Math.min(step - ((offset + at) % step), into.length - at);
    try {
      await device.read(offset + at, into.subarray(at, at + size));
    } catch (error) {
      return { before: into.subarray(0, at), error };
    }
    at += size;
  }
  return into;
}

/**
 * `device` takes any range of bytes (blockSize 1). Writes all of `source` from `offset` on; returns how many bytes that was. With `fua` each piece is durable
 * before the next is taken; else nothing is until the volume is flushed.
 */
export async function writeStream(
  device: Pick<BlockDevice, 'name' | 'size' | 'write'>,
  offset: number,
  source: AsyncIterable<Uint8Array>,
  options: StreamOptions & { fua?: boolean; totalBytes?: number | undefined } = {},
): Promise<number> {
  const inFlight = new Set<Promise<void>>();
  let at = offset;
  let failure: { error: unknown } | null = null;
  for await (const piece of source) {
    if (options.signal?.aborted === true || failure !== null) break;
    if (piece.length > device.size - at) {
      failure = { error: beyondEnd(device, offset, at) };
      break;
    }
    const write = device.write(at, piece, { fua: options.fua === true });
    at += piece.length;
    const settled = write.then(
      () => {
        inFlight.delete(settled);
        options.onProgress?.(at - offset, options.totalBytes ?? at - offset);
      },
      (error: unknown) => {
        inFlight.delete(settled);
        failure ??= { error };
      },
    );
    inFlight.add(settled);
    if (options.fua === true || inFlight.size >= IN_FLIGHT) await Promise.race(inFlight);
  }
  await Promise.all(inFlight);
  if (failure !== null) throw (failure as { error: unknown }).error;
  options.signal?.throwIfAborted();
  return at - offset;
}

/** The length of a pipe is not known before its end. */
function beyondEnd(device: Pick<BlockDevice, 'name' | 'size'>, offset: number, at: number): UserError {
  return new UserError(
    'OUT_OF_RANGE',
    `${device.name} has ${device.size} bytes: the input reaches beyond its end`,
    {
      hint: `the first ${at - offset} bytes were written, from offset ${offset} on; nothing of what follows was`,
      details: { image: device.name, offsetBytes: at, writtenBytes: at - offset, sizeBytes: device.size },
    },
  );
}
