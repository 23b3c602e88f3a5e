/**
 * The values of what the metadata server keeps, as described structures (src/structure.ts); what is of no fixed
 * length (a name, a bitmap) follows the structure, to the end of the value. The engine's checksums tell damage;
 * a value that is too short all the same is refused.
 */
import { UserError } from '../../errors.js';
import { describe, type Field, type Structure } from '../../structure.js';

/** A structure and its kind of tail. */
interface Shape<N extends string> {
  readonly structure: Structure<Field>;
  readonly names: readonly N[];
}

/** Fields of eight bytes, one after another: what is counted or numbered here fits into 53 bits. */
function shape<const F extends Readonly<Record<string, string>>>(
  name: string,
  whys: F,
): Shape<Extract<keyof F, string>> {
  const names = Object.keys(whys) as Extract<keyof F, string>[];
  const fields = names.map(
    (field, at) => ({ name: field, offset: at * 8, type: 'u64', why: whys[field]! }) as const,
  );
  return { structure: describe({ name, sizeBytes: fields.length * 8, fields }), names };
}

const SHAPES = {
  config: shape('metadata configuration', {
    version: 'of these records; another one is refused',
    blocksPerExtent: 'how many bits a bitmap has',
    extents: 'of the pool: data and journal',
  }),
  counters: shape('metadata counters', {
    nextFile: 'the number of the next file: none is used twice',
    nextMap: 'of the next map',
    nextTransaction: 'of the next transaction: their order is the order in which they were hardened',
    nextClient: 'of the next client',
    freeExtents: 'extents that no bitmap of the groups has',
    reservedExtents: 'of these, kept for files',
    journalExtents: 'that clients have',
    cursor: 'where the last extent was taken: the next search begins there',
  }),
  inode: shape('inode', {
    sizeBytes: 'of the file, after the newest transaction that is done',
    sizeTransaction: 'the transaction that set the size: an older one that is done later does not',
    map: "the file's own map",
    createdMs: 'since 1970',
    isReadOnly: '1: a snapshot',
    reservedExtents: 'kept for this file and not taken yet',
    snapshotOf: 'the file that it is a snapshot of, or 0',
  }),
  map: shape('map', {
    parent: 'where what this map does not have is looked up, or 0',
    files: 'files whose own map it is',
    children: 'maps whose parent it is',
  }),
  entry: shape('map entry', {
    extent: 'number of the data extent, plus 1; 0: a hole over what the parent has',
    isShared: '1: came from a map that was merged; a commit takes it for shared, once more',
  }),
  journal: shape('journal extent', {
    client: 'whose it is',
    file: 'whose data extent it is associated with, or 0',
    index: 'of that data extent in its file',
    transaction: 'in which it was hardened, or 0',
    isSpent: '1: done, and not disassociated: reads of it may be under way',
    reserveOf: 'the file out of whose reserve it came, or 0: freed, it goes back there',
  }),
  transaction: shape('transaction', {
    client: 'who completes it',
    state: '0: being put; 1: sealed; 2: being taken back',
    entries: 'extents that it has',
    left: 'of these, not done yet',
    mayHaveBegun: '1: changed hands, and the former may have begun to copy home',
  }),
  transactionEntry: shape('transaction entry', {
    file: 'of the extent',
    index: 'of the extent in its file',
    journal: 'number of the journal extent, plus 1; 0: none, all blocks are cleared',
  }),
  client: shape('client', {
    isEnding: '1: its lease has ended, what it had is being freed',
    openedMs: 'since 1970',
  }),
  number: shape('number', { value: 'a file, a transaction entry, a size, a mode' }),
} as const;

type Kind = keyof typeof SHAPES;
type NamesOf<K extends Kind> = (typeof SHAPES)[K]['names'][number];

/** The fields of a record of this kind. */
export type RecordOf<K extends Kind> = { readonly [N in NamesOf<K>]: number };

/** For docs/on-disk-format.md: what is kept, field by field. */
export const METADATA_STRUCTURES: readonly Structure<Field>[] = Object.values(SHAPES).map(
  ({ structure }) => structure,
);

/** Numbers are below 2 to the 53: in two halves, because BigInts are slow and records are read all the time. */
const HALF = 2 ** 32;
const NO_TAIL = new Uint8Array(0);

export function encode<K extends Kind>(kind: K, record: RecordOf<K>, tail: Uint8Array = NO_TAIL): Uint8Array {
  const { fields, sizeBytes } = SHAPES[kind].structure;
  const bytes = new Uint8Array(sizeBytes + tail.byteLength);
  for (const { name, offset } of fields) {
    const value = (record as Record<string, number>)[name]!;
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${kind}.${name} cannot be ${value}`);
    putHalf(bytes, offset, value % HALF);
    putHalf(bytes, offset + 4, Math.floor(value / HALF));
  }
  bytes.set(tail, sizeBytes);
  return bytes;
}

/** Byte by byte, as keys are (keys.ts); little-endian. */
function putHalf(bytes: Uint8Array, at: number, half: number): void {
  bytes[at] = half;
  bytes[at + 1] = half >>> 8;
  bytes[at + 2] = half >>> 16;
  bytes[at + 3] = half >>> 24;
}

function halfAt(bytes: Uint8Array, at: number): number {
  return (bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)) >>> 0;
}

/** Throws METADATA_DAMAGED for a value that is too short to be one, or has a number that nothing counts to. */
export function decode<K extends Kind>(kind: K, bytes: Uint8Array): RecordOf<K> {
  const { fields, sizeBytes } = SHAPES[kind].structure;
  if (bytes.byteLength < sizeBytes) throw damaged(kind, bytes, 'it is too short');
  const record: Record<string, number> = {};
  for (const { name, offset } of fields) {
    const value = halfAt(bytes, offset) + halfAt(bytes, offset + 4) * HALF;
    if (!Number.isSafeInteger(value)) throw damaged(kind, bytes, `its ${name} is ${value}`);
    record[name] = value;
  }
  return record as RecordOf<K>;
}

function damaged(kind: Kind, bytes: Uint8Array, why: string): UserError {
  const { name } = SHAPES[kind].structure;
  return new UserError('METADATA_DAMAGED', `a record of the metadata is no ${name}: ${why}`, {
    hint: 'holdfast fsck',
    details: { record: name, lengthBytes: bytes.byteLength },
  });
}

/** What follows the structure. */
export function tailOf(kind: Kind, bytes: Uint8Array): Uint8Array {
  return bytes.subarray(SHAPES[kind].structure.sizeBytes);
}
