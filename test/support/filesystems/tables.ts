/** Partition tables, made in memory. */
import { crc32 } from '@node-rs/crc32';

export interface Part {
  readonly type?: number;
  readonly start: number;
  readonly sectors: number;
}

/** One sector of 512 bytes with these entries. */
export function mbrSector(parts: readonly Part[]): Buffer {
  const sector = Buffer.alloc(512);
  parts.forEach(({ type = 0x83, start, sectors }, i) => {
    const at = 446 + 16 * i;
    sector[at + 4] = type;
    sector.writeUInt32LE(start, at + 8);
    sector.writeUInt32LE(sectors, at + 12);
  });
  sector.writeUInt16LE(0xaa55, 510);
  return sector;
}

export interface Piece {
  readonly at: number;
  readonly bytes: Buffer;
}

/** A GPT at both ends of a device of this many sectors, behind its protective MBR. */
export function gpt(sectorBytes: number, sectors: number, parts: readonly Part[]): Piece[] {
  const entries = Buffer.alloc(128 * 128);
  parts.forEach(({ start, sectors: length }, i) => {
    entries.fill(0xaf, 128 * i, 128 * i + 16);
    entries.fill(i + 1, 128 * i + 16, 128 * i + 32);
    entries.writeBigUInt64LE(BigInt(start), 128 * i + 32);
    entries.writeBigUInt64LE(BigInt(start + length - 1), 128 * i + 40);
  });
  const entrySectors = entries.byteLength / sectorBytes;
  const header = (own: number, other: number, entriesAt: number): Buffer => {
    const bytes = Buffer.alloc(sectorBytes);
    bytes.write('EFI PART', 0, 'latin1');
    bytes.writeUInt32LE(0x10000, 8);
    bytes.writeUInt32LE(92, 12);
    bytes.writeBigUInt64LE(BigInt(own), 24);
    bytes.writeBigUInt64LE(BigInt(other), 32);
    bytes.writeBigUInt64LE(BigInt(2 + entrySectors), 40);
    bytes.writeBigUInt64LE(BigInt(sectors - 2 - entrySectors), 48);
    bytes.fill(7, 56, 72);
    bytes.writeBigUInt64LE(BigInt(entriesAt), 72);
    bytes.writeUInt32LE(128, 80);
    bytes.writeUInt32LE(128, 84);
    bytes.writeUInt32LE(crc32(entries), 88);
    bytes.writeUInt32LE(crc32(bytes.subarray(0, 92)), 16);
    return bytes;
  };
  const last = sectors - 1;
  return [
    { at: 0, bytes: mbrSector([{ type: 0xee, start: 1, sectors: last }]) },
    { at: sectorBytes, bytes: header(1, last, 2) },
    { at: 2 * sectorBytes, bytes: entries },
    { at: (last - entrySectors) * sectorBytes, bytes: entries },
    { at: last * sectorBytes, bytes: header(last, 1, last - entrySectors) },
  ];
}
