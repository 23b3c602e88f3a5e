/**
 * Keys as strings with one character a byte: these compare as their bytes do, are compared fast, and are kept in one
 * byte a character. Nothing outside of the engine sees them.
 */

/** The first key that is after this one: nothing lies between them. */
export function keyAfter(key: string): string {
  return `${key}\0`;
}

/** Longer ones, which are rare, are not handed over character by character. */
const SHORT_BYTES = 64;

export function keyText(key: Uint8Array): string {
  if (key.byteLength <= SHORT_BYTES) return String.fromCharCode.apply(null, key as unknown as number[]);
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1');
}

export function keyBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'latin1'));
}
