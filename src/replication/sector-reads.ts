/**
 * Many sectors in a few large reads. Where one cannot be read the others still are: each is told by itself, and who reads
 * them takes it for damaged.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { UncheckedBytes } from '../structure.js';
import { SECTOR_BYTES } from './file-header.js';

const PIECE_SECTORS = 2048;

export interface ReadSectors {
  /** Sector `index` of those that were read. */
  at(index: number): UncheckedBytes;
  /** Why it could not be read; its bytes are zero. */
  readonly unread: ReadonlyMap<number, string>;
}

/** `count` sectors from byte `offset` on. */
export async function readSectors(device: BlockDevice, offset: number, count: number): Promise<ReadSectors> {
  const bytes = new Uint8Array(count * SECTOR_BYTES);
  const unread = new Map<number, string>();
  const part = (first: number, sectors: number) =>
    bytes.subarray(first * SECTOR_BYTES, (first + sectors) * SECTOR_BYTES);
  for (let first = 0; first < count; first += PIECE_SECTORS) {
    const sectors = Math.min(PIECE_SECTORS, count - first);
    const refused = await read(device, offset + first * SECTOR_BYTES, part(first, sectors));
    if (refused === null) continue;
    for (let each = first; each < first + sectors; each++) {
      const why = await read(device, offset + each * SECTOR_BYTES, part(each, 1));
      if (why !== null) unread.set(each, why);
    }
  }
  return {
    at: (index) => new UncheckedBytes(part(index, 1), offset + index * SECTOR_BYTES),
    unread,
  };
}

async function read(device: BlockDevice, offset: number, into: Uint8Array): Promise<string | null> {
  try {
    await device.read(offset, into);
    return null;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    into.fill(0);
    return `it cannot be read: ${error.message}`;
  }
}
