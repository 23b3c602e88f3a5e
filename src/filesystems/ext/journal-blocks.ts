/**
 * What descriptors and revoke blocks of a journal say.
 */
import { rawCrc32c, rawCrc32cWithout } from './checksums.js';
import type { JournalState } from './journal.js';
import {
  COMMIT_CHECKSUM_AT,
  JOURNAL_HEADER,
  REVOKE_HEADER,
  TAG,
  TAG_FLAG,
  TAG_V3,
  TAIL_BYTES,
} from './journal-fields.js';
import { demand } from './superblock.js';

const UUID_BYTES = 16;

/** One block of the filesystem of which a version lies in the log. */
export interface Tag {
  readonly block: number;
  readonly isEscaped: boolean;
  readonly checksum: number;
}

/** The tags of a descriptor, in the order in which their blocks follow it. Throws Untrusted. */
export function tagsOf(journal: JournalState, bytes: Uint8Array): Tag[] {
  const tagBytes = tagBytesOf(journal);
  const end = bytes.byteLength - (journal.checksums === 'none' ? 0 : TAIL_BYTES);
  const tags: Tag[] = [];
  for (let at = JOURNAL_HEADER.sizeBytes; at + tagBytes <= end; ) {
    const { flags, ...tag } =
      journal.checksums === 'v3' ? newTag(journal, bytes, at) : oldTag(journal, bytes, at);
    tags.push({ ...tag, isEscaped: (flags & TAG_FLAG.escaped) !== 0 });
    if (flags & TAG_FLAG.last) break;
    at += tagBytes + (flags & TAG_FLAG.sameUuid ? 0 : UUID_BYTES);
  }
  return tags;
}

/** Version 2 has two bytes of padding that it never meant to have. */
function tagBytesOf(journal: JournalState): number {
  if (journal.checksums === 'v3') return TAG_V3.sizeBytes;
  return TAG.sizeBytes + (journal.is64 ? 4 : 0) + (journal.checksums === 'v2' ? 2 : 0);
}

type FlaggedTag = Omit<Tag, 'isEscaped'> & { readonly flags: number };

function newTag(journal: JournalState, bytes: Uint8Array, at: number): FlaggedTag {
  const view = TAG_V3.at(bytes, at);
  const high = journal.is64 ? view.number('block_high') : 0;
  return {
    block: view.number('block') + high * 2 ** 32,
    checksum: view.number('checksum'),
    flags: view.number('flags'),
  };
}

function oldTag(journal: JournalState, bytes: Uint8Array, at: number): FlaggedTag {
  const view = TAG.at(bytes, at);
  const high = journal.is64
    ? new DataView(bytes.buffer, bytes.byteOffset + at + TAG.sizeBytes, 4).getUint32(0)
    : 0;
  return {
    block: view.number('block') + high * 2 ** 32,
    checksum: view.number('checksum'),
    flags: view.number('flags'),
  };
}

/** The blocks whose versions up to this transaction are not to be taken. Throws Untrusted. */
export function revokedBy(journal: JournalState, bytes: Uint8Array): number[] {
  const filled = REVOKE_HEADER.at(bytes).number('filled');
  const end = bytes.byteLength - (journal.checksums === 'none' ? 0 : TAIL_BYTES);
  demand(
    filled >= REVOKE_HEADER.sizeBytes && filled <= end,
    'its journal has a revoke block that is damaged',
  );
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = journal.is64 ? 8 : 4;
  const revoked: number[] = [];
  for (let at = REVOKE_HEADER.sizeBytes; at + size <= filled; at += size) {
    revoked.push(journal.is64 ? Number(view.getBigUint64(at)) : view.getUint32(at));
  }
  return revoked;
}

/** Of a descriptor or a revoke block: a sum at its end. */
export function hasGoodTail(journal: JournalState, bytes: Uint8Array): boolean {
  return journal.checksums === 'none' || isGood(journal, bytes, bytes.byteLength - TAIL_BYTES);
}

export function isGoodCommit(journal: JournalState, bytes: Uint8Array): boolean {
  return journal.checksums === 'none' || isGood(journal, bytes, COMMIT_CHECKSUM_AT);
}

function isGood(journal: JournalState, bytes: Uint8Array, at: number): boolean {
  const stored = new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0);
  return rawCrc32cWithout(journal.checksumSeed, bytes, at, 4) === stored;
}

/** Of a version of a block, as it lies in the log. */
export function isGoodVersion(
  journal: JournalState,
  bytes: Uint8Array,
  sequence: number,
  checksum: number,
): boolean {
  if (journal.checksums === 'none') return true;
  const head = new Uint8Array(4);
  new DataView(head.buffer).setUint32(0, sequence);
  const sum = rawCrc32c(rawCrc32c(journal.checksumSeed, head), bytes);
  return (journal.checksums === 'v3' ? sum : sum & 0xffff) === checksum;
}
