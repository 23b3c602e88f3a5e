/**
 * What one region holds, a partition or the whole device, and what of it is in use.
 */
import type { Found, Region } from './contract.js';
import { Untrusted } from './contract.js';
import { SUPERBLOCK, SUPERBLOCK_AT } from './ext/fields.js';
import { readExt } from './ext/index.js';
import { nameOf, needsRecovery } from './ext/superblock.js';
import { HEAD_BYTES, otherSignature } from './signatures.js';
import { type ByteSource, PartSource } from './source.js';
import { uuidText } from './tables/guid.js';
import { hasExtSuperblock } from './tables/index.js';

export interface Content {
  readonly found: Found;
  /** Within the device, in bytes, ascending. */
  readonly used: Iterable<{ readonly start: number; readonly end: number }>;
}

export async function readContent(device: ByteSource, region: Region): Promise<Content> {
  const source = new PartSource(device, region);
  const head = await source.read(0, Math.min(HEAD_BYTES, region.lengthBytes));
  const other = await otherSignature(source, head);
  if (hasExtSuperblock(head)) return readFilesystem(source, region, head, other);
  const why = other === null ? 'it is not known what is on it' : `free space of ${other} is not read here`;
  return allOf(region, { kind: other ?? 'unknown', uuid: null, label: null, needsRecovery: false }, why);
}

type Name = Pick<Found, 'kind' | 'uuid' | 'label' | 'needsRecovery'>;

async function readFilesystem(
  source: ByteSource,
  region: Region,
  head: Uint8Array,
  other: string | null,
): Promise<Content> {
  const superblock = head.subarray(SUPERBLOCK_AT, SUPERBLOCK_AT + SUPERBLOCK.sizeBytes);
  const { kind, uuid, label } = nameOf(superblock);
  const name: Name = {
    kind,
    uuid: uuidText(uuid),
    label: label === '' ? null : label,
    needsRecovery: needsRecovery(superblock),
  };
  if (other !== null) return allOf(region, name, `there is a signature of ${other} as well`);
  try {
    const { runs, sizeBytes, committedSequence } = await readExt(source);
    const used = [...onDevice(region, runs.runs(), sizeBytes)];
    const found = {
      ...region,
      ...name,
      usedBytes: used.reduce((sum, { start, end }) => sum + end - start, 0),
      committedSequence,
      isTrusted: true,
      why: null,
    };
    return { found, used };
  } catch (error) {
    if (!(error instanceof Untrusted)) throw error;
    return allOf(region, name, error.message);
  }
}

/** What lies behind the filesystem, in its region, is nobody's to call free. */
function* onDevice(region: Region, runs: Iterable<{ start: number; end: number }>, sizeBytes: number) {
  const { offsetBytes, lengthBytes } = region;
  for (const { start, end } of runs) yield { start: offsetBytes + start, end: offsetBytes + end };
  if (sizeBytes < lengthBytes) yield { start: offsetBytes + sizeBytes, end: offsetBytes + lengthBytes };
}

function allOf(region: Region, name: Name, why: string): Content {
  const { offsetBytes, lengthBytes } = region;
  return {
    found: { ...region, ...name, usedBytes: lengthBytes, committedSequence: null, isTrusted: false, why },
    used: [{ start: offsetBytes, end: offsetBytes + lengthBytes }],
  };
}
