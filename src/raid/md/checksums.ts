/**
 * md's checksum of superblocks: the sum of all u32 words with the checksum's own field taken as zero, a
 * trailing u16 added if there is one, and then the high and low halves of the sum added (Linux
 * drivers/md/md.c, calc_sb_1_csum and calc_sb_csum).
 */

const WORD_BYTES = 4;

/** `length` is even and not more than `bytes` has. */
export function superblockSum(bytes: Uint8Array, length: number, checksumOffset: number): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let sum = 0;
  let at = 0;
  for (; at + WORD_BYTES <= length; at += WORD_BYTES) {
    if (at !== checksumOffset) sum += view.getUint32(at, true);
  }
  if (at < length) sum += view.getUint16(at, true);
  return ((sum % 2 ** 32) + Math.floor(sum / 2 ** 32)) % 2 ** 32;
}

/**
 * 0.90 is compared folded to 16 bits: some machines wrote only the folded sum (kernel: md_csum_fold in
 * super_90_load).
 */
export function foldSum(sum: number): number {
  const once = (sum & 0xffff) + (sum >>> 16);
  return (once & 0xffff) + (once >>> 16);
}
