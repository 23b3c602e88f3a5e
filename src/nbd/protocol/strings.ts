/**
 * Strings of the protocol (proto.md, "Conventions"): UTF-8, without NUL, of at most 4096 bytes; how long one
 * is, is said elsewhere.
 */
import { MAX_STRING_BYTES } from './constants.js';

/** A string as bytes, cut at what a string may be long (Conventions): between characters, not within one. */
export function encodeString(text: string): Buffer {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.byteLength <= MAX_STRING_BYTES) return bytes;
  let end = MAX_STRING_BYTES;
  while (end > 0 && (bytes[end]! & 0xc0) === 0x80) end -= 1;
  return bytes.subarray(0, end);
}

/** Null for what is no string by the Conventions: too long, with a NUL, or not UTF-8. */
export function decodeString(bytes: Buffer): string | null {
  if (bytes.byteLength > MAX_STRING_BYTES || bytes.includes(0)) return null;
  const text = bytes.toString('utf8');
  return Buffer.byteLength(text) === bytes.byteLength && Buffer.from(text).equals(bytes) ? text : null;
}
