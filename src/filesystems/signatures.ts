/**
 * What else may be on a device, by its signature: for people, and because a filesystem that was made over another may leave
 * the other's superblock as it was. Where one of these is found beside an ext superblock, neither is believed.
 *
 * Source: libblkid's documentation names the formats; each offset is its own format's.
 */
import { SUPERBLOCK_AT } from './ext/fields.js';
import type { ByteSource } from './source.js';

interface Signature {
  readonly kind: string;
  readonly at: number;
  readonly bytes: readonly number[];
}

function text(kind: string, at: number, letters: string): Signature {
  return { kind, at, bytes: [...Buffer.from(letters, 'latin1')] };
}

const SIGNATURES: readonly Signature[] = [
  text('xfs', 0, 'XFSB'),
  text('luks', 0, 'LUKS\xba\xbe'),
  text('ntfs', 3, 'NTFS    '),
  text('exfat', 3, 'EXFAT   '),
  text('fat', 54, 'FAT1'),
  text('fat', 82, 'FAT32   '),
  text('lvm', 512, 'LABELONE'),
  { kind: 'f2fs', at: SUPERBLOCK_AT, bytes: [0x10, 0x20, 0xf5, 0xf2] },
  { kind: 'md', at: 0, bytes: [0xfc, 0x4e, 0x2b, 0xa9] },
  { kind: 'md', at: 4096, bytes: [0xfc, 0x4e, 0x2b, 0xa9] },
  text('swap', 4086, 'SWAPSPACE2'),
  { kind: 'bcache', at: 4120, bytes: [0xc6, 0x85, 0x73, 0xf6, 0x4e, 0x1a, 0x45, 0xca] },
  text('jfs', 32768, 'JFS1'),
  text('reiserfs', 65588, 'ReIsEr'),
  text('btrfs', 65600, '_BHRfS_M'),
  { kind: 'zfs', at: 131032, bytes: [0x11, 0x7a, 0x0c, 0xb1, 0x7a, 0xda, 0x10, 0x02] },
];

/** Pieces that hold all of them. */
const PIECES: readonly [number, number][] = [
  [0, 8192],
  [32768, 512],
  [65536, 512],
  [130560, 512],
];

/** The first of these that is there, or null. `head` are the first 8192 bytes, or what there is. */
export async function otherSignature(source: ByteSource, head: Uint8Array): Promise<string | null> {
  for (const [start, length] of PIECES) {
    if (start > 0 && start + length > source.sizeBytes) break;
    const bytes = start === 0 ? head : await source.read(start, length);
    const found = SIGNATURES.find(
      (signature) =>
        signature.at >= start &&
        signature.at + signature.bytes.length <= start + bytes.byteLength &&
        signature.bytes.every((byte, i) => bytes[signature.at - start + i] === byte),
    );
    if (found !== undefined) return found.kind;
  }
  return null;
}

export const HEAD_BYTES = PIECES[0]![1];
