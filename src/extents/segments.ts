/**
 * What is written to journal extents, as few device writes as can be: blocks that lie together on a target are one
 * write, in extents that follow one another too; and what goes to a device that takes batches goes to it at once, so
 * that RAID makes full stripes of it.
 */
import { isBatchDevice } from '../device/abilities.js';
import { allEnded } from '../device/all-ended.js';
import type { BatchWrite, BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { ExtentPool } from '../metadata/completion.js';

/** Blocks of one place that are written. */
export interface Piece<P> {
  readonly place: P;
  readonly extent: number;
  /** The first block, in the extent. */
  readonly start: number;
  /** Whole blocks. */
  readonly from: readonly Uint8Array[];
  readonly lengthBytes: number;
}

/** One device write. */
export interface Segment<P> {
  readonly device: BlockDevice;
  readonly offset: number;
  lengthBytes: number;
  readonly from: Uint8Array[];
  readonly pieces: Piece<P>[];
}

export interface FailedSegment<P> {
  readonly segment: Segment<P>;
  readonly cause: UserError;
}

/** Device writes that are under way together. */
const WRITES_AT_ONCE = 16;

/** In order of the devices' offsets. Pieces do not overlap. */
export function segmentsOf<P>(pieces: readonly Piece<P>[], pool: ExtentPool): Segment<P>[] {
  const byDevice = new Map<BlockDevice, { offset: number; piece: Piece<P> }[]>();
  for (const piece of pieces) {
    const { device, offsetBytes } = pool.locate(piece.extent);
    const located = byDevice.get(device) ?? [];
    byDevice.set(device, located);
    located.push({ offset: offsetBytes + piece.start * pool.blockBytes, piece });
  }
  const segments: Segment<P>[] = [];
  for (const [device, located] of byDevice) {
    located.sort((a, b) => a.offset - b.offset);
    let last: Segment<P> | null = null;
    for (const { offset, piece } of located) {
      if (last === null || last.offset + last.lengthBytes !== offset) {
        last = { device, offset, lengthBytes: 0, from: [], pieces: [] };
        segments.push(last);
      }
      last.lengthBytes += piece.lengthBytes;
      for (const bytes of piece.from) append(last.from, bytes);
      last.pieces.push(piece);
    }
  }
  return segments;
}

/** What lies together in memory is one buffer of the write. */
function append(from: Uint8Array[], bytes: Uint8Array): void {
  const last = from.at(-1);
  const isNext =
    last !== undefined &&
    last.buffer === bytes.buffer &&
    last.byteOffset + last.byteLength === bytes.byteOffset;
  if (!isNext) from.push(bytes);
  else
    from[from.length - 1] = new Uint8Array(last.buffer, last.byteOffset, last.byteLength + bytes.byteLength);
}

/** Writes all of them, and gives those that failed. What is no UserError is thrown. */
export async function writeSegments<P>(segments: readonly Segment<P>[]): Promise<FailedSegment<P>[]> {
  const failed: FailedSegment<P>[] = [];
  const attempt = async (some: readonly Segment<P>[], call: () => Promise<void>) => {
    try {
      await call();
    } catch (cause) {
      if (!(cause instanceof UserError)) throw cause;
      failed.push(...some.map((segment) => ({ segment, cause })));
    }
  };
  const calls: (() => Promise<void>)[] = [];
  for (const device of new Set(segments.map((segment) => segment.device))) {
    const own = segments.filter((segment) => segment.device === device);
    if (own.length > 1 && isBatchDevice(device)) {
      const batch: BatchWrite[] = own.map(({ offset, from }) => ({ offset, from }));
      calls.push(() => attempt(own, () => device.writeBatch(batch)));
    } else {
      for (const segment of own)
        calls.push(() => attempt([segment], () => device.write(segment.offset, segment.from)));
    }
  }
  await someAtOnce(calls);
  return failed;
}

/** Waits for all; throws the first failure. */
async function someAtOnce(calls: readonly (() => Promise<void>)[]): Promise<void> {
  let next = 0;
  const work = async () => {
    for (let at = next++; at < calls.length; at = next++) await calls[at]!();
  };
  await allEnded(Array.from({ length: Math.min(WRITES_AT_ONCE, calls.length) }, work));
}
