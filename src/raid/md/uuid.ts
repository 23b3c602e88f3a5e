/**
 * UUIDs as md shows them: four groups of eight hex digits, 4a869379:1fcd9f6b:344045f9:24675b97. Version 1
 * shows its 16 bytes in order; 0.90 shows four numbers, whose bytes lie the other way round on disk.
 */
import type { Superblock } from './model.js';

const GROUP_BYTES = 4;
const UUID_BYTES = 16;

export function formatUuid(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes.buffer, bytes.byteOffset, UUID_BYTES).toString('hex');
  return (hex.match(/.{8}/g) ?? []).join(':');
}

/** Takes the forms of md and of RFC 9562, in any case; null for anything else. */
export function parseUuid(text: string): Uint8Array | null {
  const hex = text.trim().replace(/[:-]/g, '');
  return /^[0-9a-f]{32}$/i.test(hex) ? new Uint8Array(Buffer.from(hex, 'hex')) : null;
}

/** The order of md's own bytes from those of a UUID that 0.90 shows, or back. */
export function reverseGroups(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(UUID_BYTES);
  for (let at = 0; at < UUID_BYTES; at++) {
    const group = at - (at % GROUP_BYTES);
    out[at] = bytes[group + GROUP_BYTES - 1 - (at % GROUP_BYTES)] ?? 0;
  }
  return out;
}

/**
 * The set UUID as the kernel keeps it in memory (mddev->uuid) and stores it in bitmaps and in the signature
 * of partial parity logs.
 */
export function setUuidBytes(superblock: Pick<Superblock, 'setUuid' | 'version'>): Uint8Array {
  const bytes = parseUuid(superblock.setUuid);
  if (bytes === null) throw new Error(`not a UUID: ${superblock.setUuid}`);
  return superblock.version === '0.90' ? reverseGroups(bytes) : bytes;
}
