/**
 * What of a log counts after an opening or a crash. The highest number that is good is the end of the log; what its own
 * sector says tells where it starts, and what must be there.
 *
 * - A log write is submitted when the one before it is durable. So of the sectors from `start` up to `begins` none can be
 *   torn: one that is not there was durable and is lost, and what it listed nobody can tell. That is damage.
 * - From `begins` on is the log write that was in flight, or the last that was acknowledged. Where one of these is missing
 *   the write was not acknowledged, and no data stands behind it. Those of it that are good count all the same: what they
 *   list is only more work, and what they say to be DONE was done before they were submitted.
 * - A sector of an earlier round of the log has a lower number than all that count, and is below `start`.
 */
import type { BlockDevice } from '../../device/contract.js';
import type { BlockRange } from '../blocks.js';
import { CONTENT_OFFSET, SECTOR_BYTES } from '../file-header.js';
import { readSectors } from '../sector-reads.js';
import { decodeSector, type LogSector, type LogShape, placeOf } from './sector.js';

/** One that was not DONE. */
export interface ActiveTransaction {
  readonly transaction: number;
  readonly ranges: readonly BlockRange[];
}

export interface FoundLog {
  /** The highest number; 0: nothing was ever written. */
  readonly newest: number;
  readonly start: number;
  readonly begins: number;
  /** Numbers of the last log write that are missing below the newest. */
  readonly torn: readonly number[];
  /** In the order of their numbers. */
  readonly active: readonly ActiveTransaction[];
  readonly damage: string | null;
}

export function offsetOf(number: number, shape: Pick<LogShape, 'sectors'>): number {
  return CONTENT_OFFSET + placeOf(number, shape) * SECTOR_BYTES;
}

export async function readLog(device: BlockDevice, shape: LogShape): Promise<FoundLog> {
  const read = await readSectors(device, CONTENT_OFFSET, shape.sectors);
  const good = new Map<number, LogSector>();
  const bad = new Map<number, string>();
  let newest: LogSector | null = null;
  for (let place = 0; place < shape.sectors; place++) {
    const sector = decodeSector(read.at(place), place, shape);
    if ('bad' in sector) bad.set(place, read.unread.get(place) ?? sector.bad);
    else {
      good.set(sector.number, sector);
      if (newest === null || sector.number > newest.number) newest = sector;
    }
  }
  if (newest === null) return { newest: 0, start: 1, begins: 1, torn: [], active: [], damage: null };
  const { number, start, begins } = newest;
  const isMissing = (each: number) => !good.has(each);
  const lost = numbers(start, begins).filter(isMissing);
  const sectors = numbers(start, number + 1).flatMap((each) => good.get(each) ?? []);
  return {
    newest: number,
    start,
    begins,
    torn: numbers(begins, number).filter(isMissing),
    active: activeOf(sectors),
    damage: lost.length === 0 ? null : describeLost(device, shape, lost, bad),
  };
}

function activeOf(sectors: readonly LogSector[]): ActiveTransaction[] {
  const done = new Set<number>();
  for (const { entries } of sectors) {
    for (const { kind, from, count } of entries) {
      if (kind === 'done') for (const number of numbers(from, from + count)) done.add(number);
    }
  }
  return sectors
    .map(({ number, entries }) => ({
      transaction: number,
      ranges: entries.flatMap(({ kind, from, count }) => (kind === 'range' ? [{ from, count }] : [])),
    }))
    .filter(({ transaction, ranges }) => ranges.length > 0 && !done.has(transaction));
}

function describeLost(
  device: BlockDevice,
  shape: LogShape,
  lost: readonly number[],
  bad: ReadonlyMap<number, string>,
): string {
  const first = lost[0]!;
  const why = bad.get(placeOf(first, shape)) ?? 'an older one is in its place';
  const more = lost.length === 1 ? '' : `, and ${lost.length - 1} more`;
  const offset = offsetOf(first, shape);
  return `${device.name}: sector ${first} of the transaction log at offset ${offset} is lost: ${why}${more}`;
}

function numbers(from: number, end: number): number[] {
  return Array.from({ length: Math.max(0, end - from) }, (_, index) => from + index);
}
