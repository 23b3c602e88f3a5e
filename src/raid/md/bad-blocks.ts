/**
 * The bad block log of a member: the places of its data that cannot be read or never got what was written
 * (Linux block/badblocks.c; its place and form: drivers/md/md.c, super_1_load and super_1_sync).
 *
 * Invariants
 * - On disk sectors are counted from the start of the image; here bytes from the data offset.
 * - At most 512 entries of at most 512 units each; a range that does not fit is not noted in part.
 * - Noting rounds out to whole units and clearing rounds in: to hold good data for bad is work, the reverse loss.
 */
import type { BlockDevice } from '../../device/contract.js';
import { type Range, RangeSet } from '../../device/range-set.js';
import { UncheckedBytes } from '../../structure.js';
import { BAD_BLOCK_ENTRY } from './fields-logs.js';
import { type BadBlockLogPlace, SECTOR_BYTES, type Superblock } from './model.js';

/** Kernel: MAX_BADBLOCKS and BB_MAX_LEN. */
const MAX_ENTRIES = 512;
const MAX_UNITS = 512;
const LENGTH_BITS = 10n;
const LENGTH_MASK = (1n << LENGTH_BITS) - 1n;
const END_OF_LIST = 0xffff_ffff_ffff_ffffn;

/** Something wrong with the log itself: what it says cannot be known. */
export interface DamagedBadBlocks {
  readonly reason: string;
}

export class BadBlocks {
  /** In bytes of the image. */
  private readonly ranges: RangeSet;

  constructor(
    private readonly dataOffset: number,
    /** null: the member has no log; then nothing can be noted. */
    private readonly place: BadBlockLogPlace | null,
    ranges: Iterable<Range> = [],
  ) {
    this.ranges = new RangeSet(ranges);
  }

  static none(superblock: Superblock): BadBlocks {
    return new BadBlocks(superblock.dataOffset, superblock.badBlockLog);
  }

  get isEmpty(): boolean {
    return this.ranges.isEmpty;
  }

  /** Where a log is, so that ranges can be noted at all. */
  get hasLog(): boolean {
    return this.place !== null;
  }

  /** In data; what lies before the data offset is not shown. */
  list(): readonly Range[] {
    return this.ranges
      .within(this.dataOffset, Number.MAX_SAFE_INTEGER)
      .map(({ start, end }) => ({ start: start - this.dataOffset, end: end - this.dataOffset }));
  }

  overlaps(start: number, end: number): boolean {
    return this.ranges.overlaps(start + this.dataOffset, end + this.dataOffset);
  }

  /** False: the log has no room, or there is none; then nothing is changed. The kernel fails such a member. */
  add(start: number, end: number): boolean {
    const next = new RangeSet(this.ranges.list());
    next.add(this.roundDown(start), this.roundUp(end));
    return this.accept(next);
  }

  /** False: a range would have to be split and there is no room for one more; then nothing is changed. */
  remove(start: number, end: number): boolean {
    const next = new RangeSet(this.ranges.list());
    next.remove(this.roundUp(start), this.roundDown(end));
    return this.accept(next);
  }

  /** The whole log as it has to be on disk, at its place. Throws if there is none. */
  encode(): Uint8Array {
    if (this.place === null) throw new Error('this member has no bad block log');
    const bytes = new Uint8Array(this.place.lengthBytes).fill(0xff);
    this.entriesOf(this.ranges).forEach((entry, index) => {
      BAD_BLOCK_ENTRY.at(bytes, index * BAD_BLOCK_ENTRY.sizeBytes).setBig('sector_and_length', entry);
    });
    return bytes;
  }

  private get unitBytes(): number {
    return SECTOR_BYTES * 2 ** (this.place?.shift ?? 0);
  }

  private roundDown(inData: number): number {
    return Math.floor((inData + this.dataOffset) / this.unitBytes) * this.unitBytes;
  }

  private roundUp(inData: number): number {
    return Math.ceil((inData + this.dataOffset) / this.unitBytes) * this.unitBytes;
  }

  private accept(next: RangeSet): boolean {
    const capacity =
      this.place === null ? 0 : Math.min(MAX_ENTRIES, this.place.lengthBytes / BAD_BLOCK_ENTRY.sizeBytes);
    if (this.entriesOf(next).length > capacity) return false;
    this.ranges.remove(0, Number.MAX_SAFE_INTEGER);
    for (const range of next.list()) this.ranges.add(range.start, range.end);
    return true;
  }

  private entriesOf(ranges: RangeSet): bigint[] {
    const entries: bigint[] = [];
    for (const range of ranges.list()) {
      const last = range.end / this.unitBytes;
      for (let unit = range.start / this.unitBytes; unit < last; unit += MAX_UNITS) {
        const length = Math.min(MAX_UNITS, last - unit);
        entries.push((BigInt(unit) << LENGTH_BITS) | BigInt(length));
      }
    }
    return entries;
  }
}

/**
 * Reads and checks a member's log. Without the feature bit there is nothing to read. Throws DeviceError if
 * the image cannot be read.
 */
export async function readBadBlocks(
  device: BlockDevice,
  superblock: Superblock,
): Promise<BadBlocks | DamagedBadBlocks> {
  const place = superblock.badBlockLog;
  if (!superblock.features.badBlocks || place === null) return BadBlocks.none(superblock);
  const bytes = new Uint8Array(place.lengthBytes);
  await device.read(place.offset, bytes);
  return decodeBadBlocks(new UncheckedBytes(bytes, place.offset), superblock.dataOffset, place);
}

/** Kernel: super_1_load reads up to the first entry of all ones; an entry of length 0 says nothing. */
export function decodeBadBlocks(
  found: UncheckedBytes,
  dataOffset: number,
  place: BadBlockLogPlace,
): BadBlocks | DamagedBadBlocks {
  const ranges: Range[] = [];
  const unitBytes = SECTOR_BYTES * 2 ** place.shift;
  const entries = Math.min(MAX_ENTRIES, Math.floor(found.bytes.byteLength / BAD_BLOCK_ENTRY.sizeBytes));
  for (let index = 0; index < entries; index++) {
    const stored = BAD_BLOCK_ENTRY.at(found.bytes, index * BAD_BLOCK_ENTRY.sizeBytes).big(
      'sector_and_length',
    );
    if (stored === END_OF_LIST) break;
    const start = Number(stored >> LENGTH_BITS) * unitBytes;
    const end = start + Number(stored & LENGTH_MASK) * unitBytes;
    if (end > Number.MAX_SAFE_INTEGER) {
      return {
        reason: `entry ${index} of the bad block log at ${found.foundAt} names sector ${stored >> LENGTH_BITS}`,
      };
    }
    ranges.push({ start, end });
  }
  return new BadBlocks(dataOffset, place, ranges);
}
