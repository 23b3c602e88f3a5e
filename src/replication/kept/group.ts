/**
 * Groups of kept blocks, from bytes and to bytes: an index of some blocks, and their content behind it.
 */
import { crc32c } from '@node-rs/crc32';
import { BLOCK_BYTES } from '../blocks.js';
import { countable, sameBytes } from '../checked-values.js';
import { SECTOR_BYTES } from '../file-header.js';
import { KEPT_ENTRY, KEPT_GROUP, KEPT_KINDS, KEPT_MAGIC } from './fields.js';

/** What is known of the blocks: what they held, that they held zeroes, or no more than that they are changed since. */
export type KeptKind = keyof typeof KEPT_KINDS;

/** Blocks that follow one another. */
export interface KeptRun {
  readonly block: number;
  readonly count: number;
  readonly kind: KeptKind;
}

export interface KeptEntry extends KeptRun {
  /** CRC-32C of the content; 0 where there is none. */
  readonly checksum: number;
}

/** Which group of which container. */
export interface GroupIdentity {
  readonly keptId: Uint8Array;
  readonly number: number;
}

export interface KeptIndex {
  readonly number: number;
  /** So many groups were durable when it was written. */
  readonly sure: number;
  readonly entries: readonly KeptEntry[];
  /** Bytes of index and content. */
  readonly indexBytes: number;
  readonly contentBytes: number;
}

/** As many fit into an index of so many sectors that it is read at once. */
export const MOST_ENTRIES = 680;

const KINDS = new Map<number, KeptKind>(
  Object.entries(KEPT_KINDS).map(([kind, code]) => [code, kind as KeptKind]),
);

export function indexBytes(entries: number): number {
  return Math.ceil((KEPT_GROUP.sizeBytes + entries * KEPT_ENTRY.sizeBytes) / SECTOR_BYTES) * SECTOR_BYTES;
}

/** Bytes of the device that a run has; the last block may be short. */
export function runBytes({ block, count }: Pick<KeptRun, 'block' | 'count'>, sizeBytes: number): number {
  return Math.min((block + count) * BLOCK_BYTES, sizeBytes) - block * BLOCK_BYTES;
}

/** Bytes of content that follow the index for it. */
export function contentBytesOf(run: KeptRun, sizeBytes: number): number {
  return run.kind === 'data' ? runBytes(run, sizeBytes) : 0;
}

export function encodeIndex(
  { keptId, number, sure }: GroupIdentity & { readonly sure: number },
  entries: readonly KeptEntry[],
  content: number,
): Uint8Array {
  const bytes = new Uint8Array(indexBytes(entries.length));
  const view = KEPT_GROUP.at(bytes);
  view.setNumber('magic', KEPT_MAGIC);
  view.setBytes('kept_id', keptId);
  view.setBig('number', BigInt(number));
  view.setNumber('entries', entries.length);
  view.setBig('content', BigInt(content));
  view.setBig('sure', BigInt(sure));
  for (const [at, { block, count, kind, checksum }] of entries.entries()) {
    const entry = KEPT_ENTRY.at(bytes, KEPT_GROUP.sizeBytes + at * KEPT_ENTRY.sizeBytes);
    entry.setBig('block', BigInt(block));
    entry.setBig('count', BigInt(count));
    entry.setNumber('kind', KEPT_KINDS[kind]);
    entry.setNumber('checksum', checksum);
  }
  view.setNumber('checksum', crc32c(bytes.subarray(4)));
  return bytes;
}

/** The number of the group whose index begins with this sector, and how long that is; null: none of this container does. */
export function beginsGroup(
  sector: Uint8Array,
  keptId: Uint8Array,
): { readonly number: number; readonly length: number } | null {
  const view = KEPT_GROUP.at(sector);
  if (view.number('magic') !== KEPT_MAGIC || !sameBytes(view.bytes('kept_id'), keptId)) return null;
  const number = countable(view.big('number'));
  const entries = view.number('entries');
  return number === null || entries > MOST_ENTRIES ? null : { number, length: indexBytes(entries) };
}

/** null: it is no good, or says what no index says. */
export function decodeIndex(bytes: Uint8Array, sizeBytes: number): KeptIndex | null {
  const view = KEPT_GROUP.at(bytes);
  if (view.number('checksum') !== crc32c(bytes.subarray(4))) return null;
  const entries: KeptEntry[] = [];
  for (let at = 0; at < view.number('entries'); at++) {
    const entry = decodeEntry(bytes.subarray(KEPT_GROUP.sizeBytes + at * KEPT_ENTRY.sizeBytes), sizeBytes);
    if (entry === null) return null;
    entries.push(entry);
  }
  const content = entries.reduce((sum, entry) => sum + contentBytesOf(entry, sizeBytes), 0);
  const [number, sure] = [countable(view.big('number')), countable(view.big('sure'))];
  if (number === null || sure === null || view.big('content') !== BigInt(content)) return null;
  return { number, sure, entries, indexBytes: bytes.length, contentBytes: content };
}

function decodeEntry(bytes: Uint8Array, sizeBytes: number): KeptEntry | null {
  const entry = KEPT_ENTRY.at(bytes);
  const [block, count] = [countable(entry.big('block')), countable(entry.big('count'))];
  const kind = KINDS.get(entry.number('kind'));
  if (block === null || count === null || kind === undefined) return null;
  if (count === 0 || (block + count - 1) * BLOCK_BYTES >= sizeBytes) return null;
  return { block, count, kind, checksum: entry.number('checksum') };
}
