/**
 * Pages of the tree from bytes and to bytes, and the search in one. What is decoded has the checksum that its parent
 * names, is the page that the parent means, and holds keys that ascend; whether they are the parent's to give out is
 * for the check (check-tree.ts).
 *
 * A page is kept as the bytes that it is, with an index of where each entry begins: an object for each entry would take
 * ten times as much.
 */
import { crc32c } from '@node-rs/crc32';
import { entryAt, putEntry } from './entry-codec.js';
import { METADATA_CHILD, METADATA_ENTRY, METADATA_PAGE, PAGE_KINDS, PAGE_MAGIC } from './fields.js';
import type { Checked } from './halves.js';
import { keyBytes } from './key-text.js';
import { PAGE_BYTES } from './layout.js';
import type { Pointer } from './root.js';

const HEADER_BYTES = METADATA_PAGE.sizeBytes;
const ENTRY_HEADER_BYTES = METADATA_ENTRY.sizeBytes;
const CHILD_BYTES = METADATA_CHILD.sizeBytes;
const CHILD_PAGE_AT = METADATA_CHILD.offsetOf('page');
const CHILD_GENERATION_AT = METADATA_CHILD.offsetOf('generation');
const CHILD_CHECKSUM_AT = METADATA_CHILD.offsetOf('checksum');

/** What says which page it is. */
export interface PageIdentity {
  readonly uuid: Uint8Array;
  readonly number: number;
  readonly generation: number;
}

export interface LeafEntry {
  readonly key: string;
  readonly value: Uint8Array;
}

export interface BranchEntry {
  readonly key: string;
  readonly child: Pointer;
}

export function childBytes(key: string): number {
  return CHILD_BYTES + key.length;
}

/** A page with its header filled in but for the checksum. */
function begin(identity: PageIdentity, kind: number, level: number, count: number): Uint8Array {
  const bytes = new Uint8Array(PAGE_BYTES);
  const view = METADATA_PAGE.at(bytes);
  view.setNumber('magic', PAGE_MAGIC);
  view.setBytes('uuid', identity.uuid);
  view.setBig('generation', BigInt(identity.generation));
  view.setNumber('number', identity.number);
  view.setNumber('kind', kind);
  view.setNumber('level', level);
  view.setNumber('count', count);
  return bytes;
}

function seal(bytes: Uint8Array, used: number): Uint8Array {
  const view = METADATA_PAGE.at(bytes);
  view.setNumber('used', used);
  view.setNumber('checksum', crc32c(bytes.subarray(4)));
  return bytes;
}

export function encodeLeaf(identity: PageIdentity, entries: readonly LeafEntry[]): Uint8Array {
  const bytes = begin(identity, PAGE_KINDS.leaf, 0, entries.length);
  let at = HEADER_BYTES;
  for (const { key, value } of entries) at = putEntry(bytes, at, keyBytes(key), value);
  return seal(bytes, at);
}

export function encodeBranch(
  identity: PageIdentity,
  level: number,
  entries: readonly BranchEntry[],
): Uint8Array {
  const bytes = begin(identity, PAGE_KINDS.branch, level, entries.length);
  const view = new DataView(bytes.buffer);
  let at = HEADER_BYTES;
  for (const { key, child } of entries) {
    bytes[at] = key.length;
    view.setUint32(at + CHILD_PAGE_AT, child.page, true);
    view.setBigUint64(at + CHILD_GENERATION_AT, BigInt(child.generation), true);
    view.setUint32(at + CHILD_CHECKSUM_AT, child.checksum, true);
    bytes.set(keyBytes(key), at + CHILD_BYTES);
    at += childBytes(key);
  }
  return seal(bytes, at);
}

/** `bits`: a part of an allocation map; the rest of the page is zero. */
export function encodeAllocation(identity: PageIdentity, bits: Uint8Array): Uint8Array {
  const bytes = begin(identity, PAGE_KINDS.allocation, 0, 0);
  bytes.set(bits, HEADER_BYTES);
  return seal(bytes, HEADER_BYTES + bits.byteLength);
}

export function checksumOf(bytes: Uint8Array): number {
  return METADATA_PAGE.at(bytes).number('checksum');
}

/** What is wrong with a page of any kind that is to be this one; null: nothing. */
function faultOfPage(bytes: Uint8Array, identity: PageIdentity, kind: number, level: number): string | null {
  const view = METADATA_PAGE.at(bytes);
  if (view.number('magic') !== PAGE_MAGIC) return 'it is no page';
  if (view.number('checksum') !== crc32c(bytes.subarray(4))) return 'its checksum is wrong';
  if (Buffer.compare(view.bytes('uuid'), identity.uuid) !== 0) return 'it is of another engine';
  if (view.number('number') !== identity.number) return `it is page ${view.number('number')}`;
  if (view.big('generation') !== BigInt(identity.generation))
    return `it is of generation ${view.big('generation')}, and ${identity.generation} was to be there`;
  if (view.number('kind') !== kind || view.number('level') !== level) return 'it is of another kind';
  const used = view.number('used');
  return used < HEADER_BYTES || used > PAGE_BYTES ? `it cannot have ${used} bytes` : null;
}

export function decodeAllocation(bytes: Uint8Array, identity: PageIdentity): Checked<Uint8Array> {
  const wrong = faultOfPage(bytes, identity, PAGE_KINDS.allocation, 0);
  return wrong === null ? { good: bytes.subarray(HEADER_BYTES) } : { bad: wrong };
}

/** The page that `pointer` means. */
export function decodePage(
  bytes: Uint8Array,
  uuid: Uint8Array,
  pointer: Pointer,
  level: number,
): Checked<Page> {
  const identity = { uuid, number: pointer.page, generation: pointer.generation };
  const kind = level === 0 ? PAGE_KINDS.leaf : PAGE_KINDS.branch;
  const wrong = faultOfPage(bytes, identity, kind, level);
  if (wrong !== null) return { bad: wrong };
  if (checksumOf(bytes) !== pointer.checksum) return { bad: 'it is not the one that was written last' };
  const ends = endsOf(bytes, level);
  if (ends === null) return { bad: 'what it holds is no list of keys' };
  const page = new Page(bytes, level, pointer, ends);
  return page.firstOutOfOrder() === null ? { good: page } : { bad: 'its keys are not in order' };
}

/** Where the header ends and then each entry; null: they are none, or out of order. */
function endsOf(bytes: Uint8Array, level: number): Uint16Array | null {
  const view = METADATA_PAGE.at(bytes);
  const [count, used] = [view.number('count'), view.number('used')];
  const ends = new Uint16Array(count + 1);
  let at = HEADER_BYTES;
  ends[0] = at;
  for (let index = 0; index < count; index++) {
    const end = endOfEntry(bytes, at, used, level);
    if (end === null) return null;
    at = end;
    ends[index + 1] = at;
  }
  if (count === 0 || at !== used) return null;
  return ends;
}

function endOfEntry(bytes: Uint8Array, at: number, used: number, level: number): number | null {
  if (level === 0) {
    const entry = entryAt(bytes, at, used);
    return entry === null || entry.isDeleted ? null : entry.valueEnd;
  }
  if (at + CHILD_BYTES > used) return null;
  const end = at + CHILD_BYTES + bytes[at]!;
  return end > used ? null : end;
}

export class Page {
  readonly #buffer: Buffer;

  constructor(
    readonly bytes: Uint8Array,
    readonly level: number,
    readonly pointer: Pointer,
    /** Where the header ends, and then each entry. */
    private readonly ends: Uint16Array,
  ) {
    this.#buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get count(): number {
    return this.ends.length - 1;
  }

  keyAt(index: number): string {
    const start = this.#keyStart(index);
    return this.#buffer.toString('latin1', start, start + this.bytes[this.ends[index]!]!);
  }

  /** A view into the page. Of a leaf. */
  valueAt(index: number): Uint8Array {
    const start = this.#keyStart(index) + this.bytes[this.ends[index]!]!;
    return this.bytes.subarray(start, this.ends[index + 1]!);
  }

  /** Of a branch. */
  childAt(index: number): Pointer {
    const at = this.ends[index]!;
    return {
      page: this.#buffer.readUInt32LE(at + CHILD_PAGE_AT),
      generation: Number(this.#buffer.readBigUInt64LE(at + CHILD_GENERATION_AT)),
      checksum: this.#buffer.readUInt32LE(at + CHILD_CHECKSUM_AT),
    };
  }

  /** How many keys are below `key`, or are it too where `orSame`. */
  countBelow(key: string, orSame: boolean): number {
    let low = 0;
    let high = this.count;
    while (low < high) {
      const middle = (low + high) >>> 1;
      const found = this.keyAt(middle);
      if (found < key || (orSame && found === key)) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Which child has the key, if any has. What is below all is the first one's. */
  childFor(key: string): number {
    return Math.max(0, this.countBelow(key, true) - 1);
  }

  leafEntries(): LeafEntry[] {
    return Array.from({ length: this.count }, (_, at) => ({ key: this.keyAt(at), value: this.valueAt(at) }));
  }

  branchEntries(): BranchEntry[] {
    return Array.from({ length: this.count }, (_, at) => ({ key: this.keyAt(at), child: this.childAt(at) }));
  }

  /** The index of the first key that is not above the one before it; null: they ascend. */
  firstOutOfOrder(): number | null {
    for (let index = 1; index < this.count; index++) {
      if (this.keyAt(index - 1) >= this.keyAt(index)) return index;
    }
    return null;
  }

  #keyStart(index: number): number {
    return this.ends[index]! + (this.level === 0 ? ENTRY_HEADER_BYTES : CHILD_BYTES);
  }
}
