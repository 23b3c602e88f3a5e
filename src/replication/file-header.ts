/**
 * What the transaction log and the maps have in front: a header of one sector, in two copies, which lie in different
 * blocks of 4096 bytes so that no write and no bad block takes both. It is written when the file is made, and never after.
 *
 * - One bad copy: the other one counts, and the bad one is written anew with the next write to the file.
 * - Two good copies that differ: the file was being made anew when the power went. Which of the two what follows belongs
 *   to nobody can tell, so it is damage, as two bad ones are.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { parseUuid } from '../raid/md/uuid.js';
import { describe, type Structure, UncheckedBytes } from '../structure.js';

export const SECTOR_BYTES = 512;
export const HEADER_OFFSETS: readonly number[] = [0, 4096];
/** What lies behind the header begins here. */
export const CONTENT_OFFSET = 8192;
const HEADER_VERSION = 1;

/** The first fields of both headers; each begins with its magic, whose reason is its own. */
export const HEADER_FIELDS = [
  { name: 'version', offset: 8, type: 'u32', why: '1' },
  { name: 'compat', offset: 12, type: 'u32', why: 'features that a reader may ignore: none yet' },
  {
    name: 'ro_compat',
    offset: 16,
    type: 'u32',
    why: 'features with which who does not know them may only read: none yet',
  },
  {
    name: 'incompat',
    offset: 20,
    type: 'u32',
    why: 'features with which who does not know them must not use it: none yet',
  },
  {
    name: 'volume_uuid',
    offset: 24,
    type: 'bytes',
    length: 16,
    why: 'of the volume: blocks of another one say nothing of this one',
  },
  {
    name: 'id',
    offset: 40,
    type: 'u64',
    why: 'random, new with each making: what was there before is not taken for part of it',
  },
] as const;

export const HEADER_CHECKSUM = {
  name: 'checksum',
  offset: 508,
  type: 'u32',
  why: 'CRC-32C of all before it',
} as const;

const PREFIX = describe({
  name: 'header',
  sizeBytes: SECTOR_BYTES,
  fields: [
    { name: 'magic', offset: 0, type: 'bytes', length: 8, why: '' },
    ...HEADER_FIELDS,
    { name: 'rest', offset: 48, type: 'bytes', length: 460, why: '' },
    HEADER_CHECKSUM,
  ],
});

/** Which of the files it is of. */
export interface HeaderKind {
  /** As people call the file. */
  readonly what: string;
  readonly magic: Uint8Array;
}

export interface HeaderCopies {
  readonly bytes: Uint8Array;
  readonly id: bigint;
  /** Offsets of copies that are to be written anew. */
  readonly bad: readonly number[];
  /** For people: what is wrong with these. */
  readonly warnings: readonly string[];
}

type Copy = { readonly offset: number } & (
  | { readonly good: Uint8Array }
  | { readonly bad: string }
  | { readonly later: string; readonly isOnlyReadable: boolean }
);

/** The bytes of a UUID in any of its forms. */
export function uuidBytes(text: string): Uint8Array {
  const bytes = parseUuid(text);
  if (bytes === null) throw new Error(`not a UUID: ${text}`);
  return bytes;
}

/** A header but for what is its own: `fill` writes that. */
export function encodeHeader(
  structure: Structure,
  { magic }: HeaderKind,
  { volumeUuid, id }: { readonly volumeUuid: string; readonly id: bigint },
  fill: (bytes: Uint8Array) => void,
): Uint8Array {
  const bytes = new Uint8Array(structure.sizeBytes);
  const view = PREFIX.at(bytes);
  view.setBytes('magic', magic);
  view.setNumber('version', HEADER_VERSION);
  view.setBytes('volume_uuid', uuidBytes(volumeUuid));
  view.setBig('id', id);
  fill(bytes);
  view.setNumber('checksum', crc32c(bytes.subarray(0, HEADER_CHECKSUM.offset)));
  return bytes;
}

/** Not durable when it returns. */
export async function writeHeader(
  device: BlockDevice,
  bytes: Uint8Array,
  offsets: readonly number[] = HEADER_OFFSETS,
): Promise<void> {
  for (const offset of offsets) await device.write(offset, bytes);
}

/**
 * The header of the file, or what is wrong with it where no copy can be used.
 *
 * @throws UserError REFUSED (it is of another volume), UNSUPPORTED (a later holdfast made it).
 */
export async function readHeader(
  device: BlockDevice,
  kind: HeaderKind,
  volumeUuid: string,
): Promise<HeaderCopies | { readonly damage: string }> {
  const copies = await Promise.all(HEADER_OFFSETS.map((offset) => readCopy(device, kind, offset)));
  for (const copy of copies) refuseLater(device, kind, copy);
  const good = copies.filter((copy) => 'good' in copy);
  const first = good[0];
  const where = `${device.name}: the header of ${kind.what}`;
  if (first === undefined) {
    const why = copies.map((copy) => `at offset ${copy.offset}: ${'bad' in copy ? copy.bad : ''}`);
    return { damage: `${where} is damaged in both copies (${why.join('; ')})` };
  }
  const own = Buffer.from(uuidBytes(volumeUuid));
  if (good.every((copy) => !own.equals(PREFIX.at(copy.good).bytes('volume_uuid'))))
    throw ofAnother(device, kind, first.offset, 'volume');
  if (good.some((copy) => Buffer.compare(copy.good, first.good) !== 0))
    return { damage: `${where} says one thing at offset 0 and another at offset ${HEADER_OFFSETS[1]}` };
  const bad = copies.filter((copy) => 'bad' in copy);
  return {
    bytes: first.good,
    id: PREFIX.at(first.good).big('id'),
    bad: bad.map(({ offset }) => offset),
    warnings: bad.map(
      ({ offset, bad: why }) =>
        `${where} is damaged in the copy at offset ${offset}: ${why}; the other copy is used`,
    ),
  };
}

/** REFUSED: it is of another volume, say. */
export function ofAnother(device: BlockDevice, kind: HeaderKind, offset: number, owner: string): UserError {
  return new UserError('REFUSED', `${device.name}: ${kind.what} belongs to another ${owner}`, {
    hint: 'Put the right file in its place; or move this one away, and a new one is made.',
    details: { image: device.name, offsetBytes: offset },
  });
}

async function readCopy(device: BlockDevice, kind: HeaderKind, offset: number): Promise<Copy> {
  const read = new UncheckedBytes(new Uint8Array(SECTOR_BYTES), offset);
  try {
    await device.read(offset, read.bytes);
  } catch (error) {
    // What cannot be read is as good as what is damaged.
    if (!(error instanceof UserError)) throw error;
    return { offset, bad: `it cannot be read: ${error.message}` };
  }
  return { offset, ...judge(read, kind) };
}

function judge({ bytes }: UncheckedBytes, { magic }: HeaderKind) {
  const view = PREFIX.at(bytes);
  if (Buffer.compare(view.bytes('magic'), magic) !== 0) return { bad: 'there is none' };
  if (view.number('checksum') !== crc32c(bytes.subarray(0, HEADER_CHECKSUM.offset)))
    return { bad: 'its checksum is wrong' };
  const later = (what: string, isOnlyReadable = false) => ({ later: what, isOnlyReadable });
  const version = view.number('version');
  if (version !== HEADER_VERSION) return later(`version ${version}`);
  const incompat = view.number('incompat');
  if (incompat !== 0) return later(`incompat 0x${incompat.toString(16)}`);
  const roCompat = view.number('ro_compat');
  // Both files are opened to be written.
  return roCompat === 0 ? { good: bytes } : later(`ro_compat 0x${roCompat.toString(16)}`, true);
}

function refuseLater(device: BlockDevice, kind: HeaderKind, copy: Copy): void {
  if (!('later' in copy)) return;
  const may = copy.isOnlyReadable ? ', and it may only be read' : '';
  throw new UserError(
    'UNSUPPORTED',
    `${device.name}: ${kind.what} is of a later holdfast: ${copy.later}${may}`,
    {
      hint: 'Use the holdfast that made it.',
      details: { image: device.name, offsetBytes: copy.offset },
    },
  );
}
