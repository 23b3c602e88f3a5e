/**
 * The partition table in the first sector (MBR), with its chain of logical partitions. Sectors have 512 bytes.
 *
 * Source: "Master boot record" and "Extended boot record" as the industry has them; UEFI specification, chapter 5.2.
 */
import { describe } from '../../structure.js';
import { type Region, Untrusted } from '../contract.js';
import type { ByteSource } from '../source.js';

export const MBR_SECTOR_BYTES = 512;
const ENTRIES_AT = 446;
const SIGNATURE = 0xaa55;
const EXTENDED = new Set([0x05, 0x0f, 0x85]);
const PROTECTIVE = 0xee;
const MOST_LOGICAL = 256;

const MBR_ENTRY = describe({
  name: 'MBR entry',
  sizeBytes: 16,
  fields: [
    { name: 'status', offset: 0, type: 'u8', why: '0, or 0x80: to boot from' },
    { name: 'first_chs', offset: 1, type: 'bytes', length: 3, why: 'not needed' },
    { name: 'type', offset: 4, type: 'u8', why: '0 is no partition' },
    { name: 'last_chs', offset: 5, type: 'bytes', length: 3, why: 'not needed' },
    { name: 'start', offset: 8, type: 'u32', why: 'sector' },
    { name: 'sectors', offset: 12, type: 'u32', why: 'how many' },
  ],
});

interface Entry {
  readonly status: number;
  readonly type: number;
  readonly start: number;
  readonly sectors: number;
}

/** Of a first sector. `none`: it has no table; `protective`: the table is a GPT; `hybrid`: it would be both. */
export type MbrKind = 'none' | 'plain' | 'protective' | 'hybrid';

function entriesOf(sector: Uint8Array): Entry[] {
  return [0, 1, 2, 3].map((i) => {
    const view = MBR_ENTRY.at(sector, ENTRIES_AT + i * MBR_ENTRY.sizeBytes);
    return {
      status: view.number('status'),
      type: view.number('type'),
      start: view.number('start'),
      sectors: view.number('sectors'),
    };
  });
}

function isSigned(sector: Uint8Array): boolean {
  return (sector[510]! | (sector[511]! << 8)) === SIGNATURE;
}

/** A boot sector of a filesystem has the same signature: only entries that can be meant make it a table. */
export function mbrKind(sector: Uint8Array): MbrKind {
  if (!isSigned(sector)) return 'none';
  const entries = entriesOf(sector);
  const taken = entries.filter((entry) => entry.type !== 0);
  if (taken.length === 0) return 'none';
  if (taken.some((entry) => entry.type === PROTECTIVE)) return taken.length === 1 ? 'protective' : 'hybrid';
  const isMeant = entries.every(
    ({ status, type, start, sectors }) => (status & 0x7f) === 0 && (type === 0 || (start > 0 && sectors > 0)),
  );
  return isMeant ? 'plain' : 'none';
}

/** Primary partitions and logical ones; the extended one only holds those. Throws Untrusted. */
export async function mbrPartitions(source: ByteSource, sector: Uint8Array): Promise<Region[]> {
  const found: Region[] = [];
  for (const entry of entriesOf(sector)) {
    if (entry.type === 0) continue;
    if (EXTENDED.has(entry.type)) found.push(...(await logicalPartitions(source, entry)));
    else found.push(regionOf(entry, 0));
  }
  return found;
}

async function logicalPartitions(source: ByteSource, extended: Entry): Promise<Region[]> {
  const found: Region[] = [];
  const end = (extended.start + extended.sectors) * MBR_SECTOR_BYTES;
  for (let at = extended.start, links = 1; ; links++) {
    const sector = await source.read(at * MBR_SECTOR_BYTES, MBR_SECTOR_BYTES);
    if (!isSigned(sector)) throw new Untrusted(`the chain of logical partitions is broken at sector ${at}`);
    const [logical, next] = entriesOf(sector) as [Entry, Entry];
    if (logical.type !== 0) {
      const region = regionOf(logical, at);
      if (logical.start === 0 || logical.sectors === 0 || region.offsetBytes + region.lengthBytes > end) {
        throw new Untrusted(`the logical partition of sector ${at} lies outside of the extended one`);
      }
      found.push(region);
    }
    if (next.type === 0) return found;
    const following = extended.start + next.start;
    // They may lie in any order, but a chain of this length goes in circles.
    if (!EXTENDED.has(next.type) || next.start === 0 || links > MOST_LOGICAL) {
      throw new Untrusted(`the chain of logical partitions is broken at sector ${at}`);
    }
    at = following;
  }
}

function regionOf(entry: Entry, base: number): Region {
  return {
    offsetBytes: (base + entry.start) * MBR_SECTOR_BYTES,
    lengthBytes: entry.sectors * MBR_SECTOR_BYTES,
  };
}
