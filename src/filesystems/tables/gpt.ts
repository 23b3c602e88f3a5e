/**
 * GUID partition tables, with sectors of 512 and of 4096 bytes: the header behind the first sector, or where that is bad
 * the one in the last. Both are held to their checksums.
 *
 * Source: UEFI specification 2.10, chapter 5.3.
 */
import { crc32 } from '@node-rs/crc32';
import { describe } from '../../structure.js';
import { type Region, Untrusted } from '../contract.js';
import type { ByteSource } from '../source.js';
import { guidText } from './guid.js';

const GPT_SECTOR_BYTES = [512, 4096] as const;
const SIGNATURE = 'EFI PART';
const MOST_ENTRIES_BYTES = 1024 * 1024;

const GPT_HEADER = describe({
  name: 'GPT header',
  sizeBytes: 92,
  fields: [
    { name: 'signature', offset: 0, type: 'bytes', length: 8, why: 'EFI PART' },
    { name: 'revision', offset: 8, type: 'u32', why: 'its major part is 1' },
    { name: 'header_size', offset: 12, type: 'u32', why: 'bytes under the checksum' },
    { name: 'checksum', offset: 16, type: 'u32', why: 'of the header, itself as zero' },
    { name: 'reserved', offset: 20, type: 'u32', why: 'zero' },
    { name: 'own_sector', offset: 24, type: 'u64', why: 'where this header is' },
    { name: 'other_sector', offset: 32, type: 'u64', why: 'where the other one is' },
    { name: 'first_usable', offset: 40, type: 'u64', why: 'sector' },
    { name: 'last_usable', offset: 48, type: 'u64', why: 'sector' },
    { name: 'disk', offset: 56, type: 'bytes', length: 16, why: 'its GUID' },
    { name: 'entries_sector', offset: 72, type: 'u64', why: 'where the entries begin' },
    { name: 'entries', offset: 80, type: 'u32', why: 'how many' },
    { name: 'entry_size', offset: 84, type: 'u32', why: 'bytes' },
    { name: 'entries_checksum', offset: 88, type: 'u32', why: 'of all entries' },
  ],
});

const GPT_ENTRY = describe({
  name: 'GPT entry',
  sizeBytes: 128,
  fields: [
    { name: 'type', offset: 0, type: 'bytes', length: 16, why: 'all zeroes: no partition' },
    { name: 'guid', offset: 16, type: 'bytes', length: 16, why: 'of the partition' },
    { name: 'first', offset: 32, type: 'u64', why: 'sector' },
    { name: 'last', offset: 40, type: 'u64', why: 'sector, included' },
    { name: 'attributes', offset: 48, type: 'u64', why: 'not needed' },
    { name: 'label', offset: 56, type: 'bytes', length: 72, why: 'UTF-16' },
  ],
});

export interface Gpt {
  readonly disk: string;
  readonly sectorBytes: number;
  readonly partitions: readonly Region[];
}

interface Header {
  readonly sectorBytes: number;
  readonly disk: string;
  readonly otherSector: number;
  readonly entriesSector: number;
  readonly firstUsable: number;
  readonly lastUsable: number;
  readonly entries: number;
  readonly entryBytes: number;
  readonly entriesChecksum: number;
}

/** Whether there is something of a GPT behind the first sector, good or bad. */
export function hasGptSignature(head: Uint8Array): boolean {
  return GPT_SECTOR_BYTES.some(
    (at) => at + 8 <= head.byteLength && new TextDecoder().decode(head.subarray(at, at + 8)) === SIGNATURE,
  );
}

/** Throws Untrusted where neither of the two tables is good, or where both are, and differ. */
export async function readGpt(source: ByteSource): Promise<Gpt> {
  const bad: string[] = [];
  for (const place of ['first', 'last'] as const) {
    for (const sectorBytes of GPT_SECTOR_BYTES) {
      const sectors = Math.floor(source.sizeBytes / sectorBytes);
      const header = await headerAt(source, sectorBytes, place === 'first' ? 1 : sectors - 1);
      if (header === undefined) continue;
      if (place === 'first') await refuseOther(source, header);
      const partitions = await entriesOf(source, header);
      if (partitions !== undefined) return { disk: header.disk, sectorBytes, partitions };
      bad.push(`the checksum of the entries of its ${place} table is wrong`);
    }
  }
  throw new Untrusted(bad[0] ?? 'neither of the two headers of its GPT is good');
}

/** The other table, where it is good, must say the same: else nobody knows which one is meant. */
async function refuseOther(source: ByteSource, header: Header): Promise<void> {
  if ((header.otherSector + 1) * header.sectorBytes > source.sizeBytes) return;
  const other = await headerAt(source, header.sectorBytes, header.otherSector);
  if (other === undefined) return;
  if (other.entriesChecksum !== header.entriesChecksum || other.disk !== header.disk) {
    throw new Untrusted('its two GPTs are not the same');
  }
}

async function headerAt(
  source: ByteSource,
  sectorBytes: number,
  sector: number,
): Promise<Header | undefined> {
  if (sector < 1 || (sector + 1) * sectorBytes > source.sizeBytes) return undefined;
  const bytes = await source.read(sector * sectorBytes, sectorBytes);
  const view = GPT_HEADER.at(bytes);
  const headerBytes = view.number('header_size');
  const isHeader =
    new TextDecoder().decode(view.bytes('signature')) === SIGNATURE &&
    view.number('revision') >>> 16 === 1 &&
    headerBytes >= GPT_HEADER.sizeBytes &&
    headerBytes <= sectorBytes &&
    view.big('own_sector') === BigInt(sector);
  if (!isHeader) return undefined;
  const stored = view.number('checksum');
  const zeroed = bytes.slice(0, headerBytes);
  GPT_HEADER.at(zeroed).setNumber('checksum', 0);
  if (crc32(zeroed) !== stored) return undefined;
  return {
    sectorBytes,
    disk: guidText(view.bytes('disk')),
    otherSector: Number(view.big('other_sector')),
    entriesSector: Number(view.big('entries_sector')),
    firstUsable: Number(view.big('first_usable')),
    lastUsable: Number(view.big('last_usable')),
    entries: view.number('entries'),
    entryBytes: view.number('entry_size'),
    entriesChecksum: view.number('entries_checksum'),
  };
}

/** Undefined where their checksum is wrong. */
async function entriesOf(source: ByteSource, header: Header): Promise<Region[] | undefined> {
  const { entries, entryBytes, sectorBytes } = header;
  if (entryBytes < GPT_ENTRY.sizeBytes || entryBytes % 8 !== 0 || entries * entryBytes > MOST_ENTRIES_BYTES) {
    throw new Untrusted(`its GPT would have ${entries} entries of ${entryBytes} bytes`);
  }
  const bytes = await source.read(header.entriesSector * sectorBytes, entries * entryBytes);
  if (crc32(bytes) !== header.entriesChecksum) return undefined;
  const found: Region[] = [];
  for (let i = 0; i < entries; i++) {
    const view = GPT_ENTRY.at(bytes, i * entryBytes);
    if (view.bytes('type').every((byte) => byte === 0)) continue;
    const first = Number(view.big('first'));
    const last = Number(view.big('last'));
    if (first < header.firstUsable || last > header.lastUsable || last < first) {
      throw new Untrusted(`partition ${i + 1} of its GPT would be sectors ${first} to ${last}`);
    }
    found.push({ offsetBytes: first * sectorBytes, lengthBytes: (last - first + 1) * sectorBytes });
  }
  return found;
}
