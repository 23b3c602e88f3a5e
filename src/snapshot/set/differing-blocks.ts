/** In which blocks two contents differ. */
import { isZero } from '../../device/zeroes.js';
import { BLOCK_BYTES } from '../../replication/blocks.js';

/** Bytes of the content; the end of the last one may be that of a short block. */
export interface DifferingRun {
  readonly start: number;
  readonly end: number;
}

/** Of blocks that are not as wanted; null: as zeroes are. */
export function* differingRuns(wanted: Uint8Array | null, own: Uint8Array): Generator<DifferingRun> {
  const isEqual = (start: number, end: number): boolean => {
    const part = own.subarray(start, end);
    return wanted === null ? isZero(part) : Buffer.compare(wanted.subarray(start, end), part) === 0;
  };
  if (isEqual(0, own.length)) return;
  let from: number | null = null;
  for (let at = 0; at < own.length; at += BLOCK_BYTES) {
    const differs = !isEqual(at, Math.min(at + BLOCK_BYTES, own.length));
    if (differs) from ??= at;
    else if (from !== null) {
      yield { start: from, end: at };
      from = null;
    }
  }
  if (from !== null) yield { start: from, end: own.length };
}
