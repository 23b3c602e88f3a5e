/**
 * What a disk holds, as numbers: of each sector that its clients have written, which of its contents it has. What they have not written is
 * compared at once: it is to be what it was.
 *
 * All of a disk of 64 MiB is compared, of a larger one the pieces in which something was written and those beside them; but not what can be no
 * other than it was, as nothing was written to where it lies.
 */
import type { BlockDevice } from '../../device/contract.js';
import type { Range } from '../../device/range-set.js';
import { type OwedDisk, SECTOR_BYTES } from './owed.js';

const PIECE_BYTES = 64 * 1024;
const ALL_BYTES = 64 * 1024 * 1024;

/** Instead of a content's number. */
export const UNKNOWN = -1;
export const UNREADABLE = -2;

export interface DiskReading {
  /** By the sectors of what is owed. */
  readonly contents: Int32Array;
  /** The first byte of a sector that nobody wrote, and that is not what it was. */
  readonly spoilt: number | null;
  /** Offsets of the sectors that cannot be read, owed or not; null: of all. */
  readonly unreadable: readonly number[] | null;
}

/** Of a disk that cannot be come to. */
export function nothingReadable({ sectors }: OwedDisk): DiskReading {
  return {
    contents: new Int32Array(sectors.length).fill(UNREADABLE),
    ...{ spoilt: null, unreadable: null },
  };
}

/** What a disk held before, where it will be compared. */
export class DiskBase {
  readonly #pieces = new Map<number, Uint8Array>();

  private constructor(private readonly size: number) {}

  /** `sectors`: those that will be written. */
  static async read(device: BlockDevice, sectors: ReadonlySet<number>): Promise<DiskBase> {
    const base = new DiskBase(device.size);
    for (const piece of base.piecesFor(sectors)) {
      const bytes = new Uint8Array(Math.min(PIECE_BYTES, device.size - piece * PIECE_BYTES));
      await device.read(piece * PIECE_BYTES, bytes);
      base.#pieces.set(piece, bytes);
    }
    return base;
  }

  sector(sector: number): Uint8Array {
    const offset = sector * SECTOR_BYTES;
    const piece = Math.floor(offset / PIECE_BYTES);
    const bytes = new Uint8Array(SECTOR_BYTES);
    bytes.set(this.#pieces.get(piece)!.subarray(offset % PIECE_BYTES, (offset % PIECE_BYTES) + SECTOR_BYTES));
    return bytes;
  }

  /** Pieces in which none of these bytes lie, and nothing that is owed, may be left out; null: none may. */
  async compare(device: BlockDevice, owed: OwedDisk, changed: readonly Range[] | null): Promise<DiskReading> {
    const reading = new Reading(owed);
    const wanted = changed === null ? null : this.#piecesOf(owed, changed);
    for (const [piece, before] of this.#pieces)
      if (wanted?.has(piece) !== false) await reading.piece(device, piece * PIECE_BYTES, before);
    return reading;
  }

  #piecesOf({ sectors }: OwedDisk, changed: readonly Range[]): Set<number> {
    const pieces = new Set(sectors.map(({ sector }) => Math.floor((sector * SECTOR_BYTES) / PIECE_BYTES)));
    for (const { start, end } of changed)
      for (let piece = Math.floor(start / PIECE_BYTES); piece * PIECE_BYTES < end; piece++) pieces.add(piece);
    return pieces;
  }

  private piecesFor(sectors: ReadonlySet<number>): number[] {
    const count = Math.ceil(this.size / PIECE_BYTES);
    if (this.size <= ALL_BYTES) return Array.from({ length: count }, (_, piece) => piece);
    const pieces = new Set<number>();
    for (const sector of sectors) {
      const own = Math.floor((sector * SECTOR_BYTES) / PIECE_BYTES);
      for (const piece of [own - 1, own, own + 1]) if (piece >= 0 && piece < count) pieces.add(piece);
    }
    return [...pieces].sort((a, b) => a - b);
  }
}

class Reading implements DiskReading {
  readonly contents: Int32Array;
  spoilt: number | null = null;
  readonly unreadable: number[] = [];
  #next = 0;

  constructor(private readonly owed: OwedDisk) {
    this.contents = new Int32Array(owed.sectors.length).fill(UNKNOWN);
  }

  /** Pieces come in order. */
  async piece(device: BlockDevice, offset: number, before: Uint8Array): Promise<void> {
    const now = new Uint8Array(before.length);
    const { sectors } = this.owed;
    const isOwed = (from: number, to: number): boolean =>
      sectors.some(({ sector }) => {
        const at = sector * SECTOR_BYTES - offset;
        return at >= from && at < to;
      });
    const lost = await readAsFarAsCan(device, offset, now, isOwed);
    while (this.#next < sectors.length) {
      const { sector, contents } = sectors[this.#next]!;
      const at = sector * SECTOR_BYTES - offset;
      if (at >= now.length) break;
      const bytes = now.subarray(at, at + SECTOR_BYTES);
      const whole = bytes.length === SECTOR_BYTES ? bytes : Buffer.concat([bytes], SECTOR_BYTES);
      this.contents[this.#next] = lost.has(at) ? UNREADABLE : contents.find(whole);
      bytes.set(before.subarray(at, at + SECTOR_BYTES));
      this.#next += 1;
    }
    for (const at of lost) {
      now.set(before.subarray(at, at + SECTOR_BYTES), at);
      this.unreadable.push(offset + at);
    }
    if (this.spoilt === null && Buffer.compare(now, before) !== 0)
      this.spoilt = offset + now.findIndex((byte, at) => byte !== before[at]);
  }
}

/** Of an array: of these some may be in doubt. */
const ROW_BYTES = 4096;

/**
 * Offsets in `into` of the sectors that cannot be read: found row by row, and within a row sector by sector where
 * something is owed.
 */
async function readAsFarAsCan(
  device: BlockDevice,
  offset: number,
  into: Uint8Array,
  isOwed: (from: number, to: number) => boolean,
): Promise<Set<number>> {
  const lost = new Set<number>();
  const isRead = (from: number, to: number): Promise<boolean> =>
    device.read(offset + from, into.subarray(from, to)).then(
      () => true,
      () => false,
    );
  if (await isRead(0, into.length)) return lost;
  for (let row = 0; row < into.length; row += ROW_BYTES) {
    const end = Math.min(into.length, row + ROW_BYTES);
    if (await isRead(row, end)) continue;
    const isOneByOne = isOwed(row, end);
    for (let at = row; at < end; at += SECTOR_BYTES)
      if (!isOneByOne || !(await isRead(at, Math.min(end, at + SECTOR_BYTES)))) lost.add(at);
  }
  return lost;
}
