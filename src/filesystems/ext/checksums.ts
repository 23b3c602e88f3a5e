/**
 * Checksums of ext4 and jbd2. Both carry CRC-32C from piece to piece without the inversion that usually stands at the end,
 * so that a seed is what an earlier piece left.
 *
 * Source: the kernel's documentation of ext4, section "Checksums".
 */
import { crc32c } from '@node-rs/crc32';

export const FIRST_SEED = 0xffff_ffff;

/** CRC-32C from a seed, not inverted at the end. */
export function rawCrc32c(seed: number, bytes: Uint8Array): number {
  return ~crc32c(bytes, ~seed >>> 0) >>> 0;
}

/** The same of bytes in which this many, from `at` on, count as zeroes: where the checksum itself stands. */
export function rawCrc32cWithout(seed: number, bytes: Uint8Array, at: number, length: number): number {
  const before = rawCrc32c(seed, bytes.subarray(0, at));
  const zeroes = rawCrc32c(before, new Uint8Array(length));
  return rawCrc32c(zeroes, bytes.subarray(at + length));
}

/** A number as four little-endian bytes. */
export function u32Bytes(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, true);
  return bytes;
}

const CRC16 = new Uint16Array(256);
for (let byte = 0; byte < 256; byte++) {
  let sum = byte;
  for (let bit = 0; bit < 8; bit++) sum = sum & 1 ? (sum >>> 1) ^ 0xa001 : sum >>> 1;
  CRC16[byte] = sum;
}

/** CRC-16 of polynomial 0x8005, reflected, of descriptors before metadata_csum. */
export function crc16(seed: number, bytes: Uint8Array): number {
  let sum = seed;
  for (const byte of bytes) sum = (sum >>> 8) ^ CRC16[(sum ^ byte) & 0xff]!;
  return sum;
}
