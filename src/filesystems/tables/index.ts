/**
 * Which parts of a device are partitions. A table is believed when it is the only thing that the device's first sectors can
 * mean: a stale superblock or table beside it makes all of the device used.
 */
import { type Region, Untrusted } from '../contract.js';
import { SUPERBLOCK, SUPERBLOCK_AT } from '../ext/fields.js';
import { isExt } from '../ext/superblock.js';
import { otherSignature } from '../signatures.js';
import type { ByteSource } from '../source.js';
import { hasGptSignature, readGpt } from './gpt.js';
import { MBR_SECTOR_BYTES, mbrKind, mbrPartitions } from './mbr.js';

export interface Table {
  readonly kind: 'mbr' | 'gpt';
  readonly uuid: string | null;
  /** By their offset; none overlaps another. */
  readonly partitions: readonly Region[];
  /** Why it is not believed; it then has no partitions. */
  readonly why: string | null;
}

/** Null where the device has no table. `head` are its first 8192 bytes, or what there is. */
export async function readTable(source: ByteSource, head: Uint8Array): Promise<Table | null> {
  if (head.byteLength < MBR_SECTOR_BYTES) return null;
  const sector = head.subarray(0, MBR_SECTOR_BYTES);
  const mbr = mbrKind(sector);
  const hasGpt = hasGptSignature(head);
  if (mbr === 'none' && !hasGpt) return null;
  const kind = mbr === 'plain' && !hasGpt ? 'mbr' : 'gpt';
  try {
    refuseDoubt(mbr, hasGpt);
    if (hasExtSuperblock(head))
      throw new Untrusted('it has a partition table and the superblock of an ext filesystem');
    if (kind === 'gpt') {
      const { disk, partitions } = await readGpt(source);
      return { kind, uuid: disk, partitions: inOrder(source, partitions), why: null };
    }
    const other = await otherSignature(source, head);
    if (other !== null) throw new Untrusted(`it has a partition table and the signature of ${other}`);
    const partitions = await mbrPartitions(source, sector);
    return { kind, uuid: null, partitions: inOrder(source, partitions), why: null };
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    return { kind, uuid: null, partitions: [], why: error.message };
  }
}

export function hasExtSuperblock(head: Uint8Array): boolean {
  const end = SUPERBLOCK_AT + SUPERBLOCK.sizeBytes;
  return head.byteLength >= end && isExt(head.subarray(SUPERBLOCK_AT, end));
}

function refuseDoubt(mbr: ReturnType<typeof mbrKind>, hasGpt: boolean): void {
  if (mbr === 'hybrid') throw new Untrusted('its MBR names partitions beside its GPT (a hybrid one)');
  if (mbr === 'none') throw new Untrusted('it has a GPT, and no protective MBR before it');
  if (mbr === 'plain' && hasGpt) throw new Untrusted('it has an MBR with partitions, and a GPT');
}

function inOrder(source: ByteSource, partitions: readonly Region[]): Region[] {
  const sorted = [...partitions].sort((a, b) => a.offsetBytes - b.offsetBytes);
  let end = 0;
  for (const { offsetBytes, lengthBytes } of sorted) {
    if (offsetBytes < end) throw new Untrusted(`two of its partitions overlap at ${offsetBytes}`);
    end = offsetBytes + lengthBytes;
  }
  if (end > source.sizeBytes) {
    throw new Untrusted(`its partitions end at ${end}, beyond the end of the device at ${source.sizeBytes}`);
  }
  return sorted;
}
