/** Names that users give to things that are kept by them. */

const MOST_NAME_BYTES = 255;

/** Why it cannot be one; null: it can. */
export function faultOfName(name: string): string | null {
  const bytes = Buffer.byteLength(name);
  if (bytes === 0) return 'it is empty';
  if (bytes > MOST_NAME_BYTES) return `it has ${bytes} bytes, and ${MOST_NAME_BYTES} are the most`;
  if (name === '.' || name === '..') return 'it stands for a directory';
  if (name.includes('/')) return 'it has a slash';
  if (name.includes('\0')) return 'it has a NUL character';
  return Buffer.from(name).toString() === name ? null : 'it is no Unicode text';
}
