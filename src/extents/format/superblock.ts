/**
 * The superblock of the format `extents` from bytes and to bytes. What is decoded has a good checksum and says
 * nothing that cannot be; features that are not known are told and not judged here.
 */
import { crc32c } from '@node-rs/crc32';
import { FLAG_PLACES, type FlagPlace } from '../../metadata/flag-places.js';
import type { UncheckedBytes } from '../../structure.js';
import {
  EXTENTS_SUPERBLOCK,
  ROLES,
  SUPERBLOCK_BYTES,
  SUPERBLOCK_MAGIC,
  SUPERBLOCK_VERSION,
} from './fields.js';
import { faultOfSizes } from './sizes.js';

export type Role = keyof typeof ROLES;

export interface ByteRange {
  readonly offset: number;
  readonly length: number;
}

/** Extents that lie one after another on a device. */
export interface PoolRegion {
  /** Byte of the device. */
  readonly offset: number;
  readonly extents: number;
  /** Number of the first one. */
  readonly first: number;
}

export interface ExtentsSuperblock {
  /** As 32 hexadecimal digits. */
  readonly volumeUuid: string;
  readonly deviceUuid: string;
  readonly role: Role;
  readonly blockBytes: number;
  readonly extentBytes: number;
  readonly deviceBytes: number;
  readonly generation: number;
  /** Where the metadata engine lies on this device; null: elsewhere. */
  readonly metadata: ByteRange | null;
  /** null: this device has no extents. */
  readonly pool: PoolRegion | null;
  /** device_uuid of the metadata image; null: the metadata is on the volume. Of the volume alone, as what follows. */
  readonly metadataImage: string | null;
  readonly journalImage: { readonly uuid: string; readonly extents: number } | null;
  /** Where flags of what is not committed are kept unless said otherwise. */
  readonly flags: FlagPlace;
}

/** What was made of bytes that were read, or why they are no good. */
export type DecodedSuperblock =
  | { readonly good: ExtentsSuperblock; readonly roCompat: number }
  /** A later holdfast made it: nothing else of it may be believed. */
  | { readonly later: string }
  | { readonly bad: string; readonly hasMagic: boolean };

const CHECKSUM_AT = EXTENTS_SUPERBLOCK.offsetOf('checksum');
const NO_UUID = '0'.repeat(32);

/** The second copy's place on a device that is so long. */
export function secondCopyOffset(deviceBytes: number): number {
  return (Math.floor(deviceBytes / SUPERBLOCK_BYTES) - 1) * SUPERBLOCK_BYTES;
}

export function encodeSuperblock(superblock: ExtentsSuperblock): Uint8Array {
  const { metadata, pool, metadataImage, journalImage } = superblock;
  const bytes = new Uint8Array(SUPERBLOCK_BYTES);
  const view = EXTENTS_SUPERBLOCK.at(bytes);
  view.setBytes('magic', SUPERBLOCK_MAGIC);
  view.setNumber('version', SUPERBLOCK_VERSION);
  view.setBytes('volume_uuid', uuidBytes(superblock.volumeUuid));
  view.setBytes('device_uuid', uuidBytes(superblock.deviceUuid));
  view.setNumber('role', ROLES[superblock.role]);
  view.setNumber('block_bytes', superblock.blockBytes);
  view.setBig('extent_bytes', BigInt(superblock.extentBytes));
  view.setBig('device_bytes', BigInt(superblock.deviceBytes));
  view.setBig('generation', BigInt(superblock.generation));
  view.setBig('metadata_offset', BigInt(metadata?.offset ?? 0));
  view.setBig('metadata_bytes', BigInt(metadata?.length ?? 0));
  view.setBig('pool_offset', BigInt(pool?.offset ?? 0));
  view.setBig('pool_extents', BigInt(pool?.extents ?? 0));
  view.setBig('pool_first', BigInt(pool?.first ?? 0));
  view.setBytes('metadata_uuid', uuidBytes(metadataImage ?? NO_UUID));
  view.setBytes('journal_uuid', uuidBytes(journalImage?.uuid ?? NO_UUID));
  view.setBig('journal_extents', BigInt(journalImage?.extents ?? 0));
  view.setNumber('flags_place', FLAG_PLACES.indexOf(superblock.flags));
  view.setNumber('checksum', crc32c(bytes.subarray(0, CHECKSUM_AT)));
  return bytes;
}

export function decodeSuperblock({ bytes }: UncheckedBytes): DecodedSuperblock {
  const view = EXTENTS_SUPERBLOCK.at(bytes);
  if (Buffer.compare(view.bytes('magic'), SUPERBLOCK_MAGIC) !== 0)
    return { bad: 'there is none', hasMagic: false };
  const bad = (why: string) => ({ bad: why, hasMagic: true });
  if (view.number('checksum') !== crc32c(bytes.subarray(0, CHECKSUM_AT))) return bad('its checksum is wrong');
  const version = view.number('version');
  if (version !== SUPERBLOCK_VERSION) return { later: `version ${version}` };
  const incompat = view.number('incompat');
  if (incompat !== 0) return { later: `incompat 0x${incompat.toString(16)}` };
  const role = (Object.keys(ROLES) as Role[]).find((name) => ROLES[name] === view.number('role'));
  if (role === undefined) return bad(`there is no role ${view.number('role')}`);
  const number = numbersOf(view);
  if (number === null) return bad('a number is out of all bounds');
  const flags = FLAG_PLACES[view.number('flags_place')];
  if (flags === undefined) return bad(`there is no place ${view.number('flags_place')} for flags`);
  const metadataImage = uuidText(view.bytes('metadata_uuid'));
  const journalUuid = uuidText(view.bytes('journal_uuid'));
  const good: ExtentsSuperblock = {
    volumeUuid: uuidText(view.bytes('volume_uuid')),
    deviceUuid: uuidText(view.bytes('device_uuid')),
    role,
    blockBytes: view.number('block_bytes'),
    extentBytes: number.extent_bytes,
    deviceBytes: number.device_bytes,
    generation: number.generation,
    metadata:
      number.metadata_bytes === 0 ? null : { offset: number.metadata_offset, length: number.metadata_bytes },
    pool:
      number.pool_extents === 0
        ? null
        : { offset: number.pool_offset, extents: number.pool_extents, first: number.pool_first },
    metadataImage: metadataImage === NO_UUID ? null : metadataImage,
    journalImage: journalUuid === NO_UUID ? null : { uuid: journalUuid, extents: number.journal_extents },
    flags,
  };
  const wrong = faultOf(good);
  return wrong === null ? { good, roCompat: view.number('ro_compat') } : bad(wrong);
}

const BIG_FIELDS = [
  'extent_bytes',
  'device_bytes',
  'generation',
  'metadata_offset',
  'metadata_bytes',
  'pool_offset',
  'pool_extents',
  'pool_first',
  'journal_extents',
] as const;

/** null: one of them is more than numbers can tell. */
function numbersOf(
  view: ReturnType<typeof EXTENTS_SUPERBLOCK.at>,
): Record<(typeof BIG_FIELDS)[number], number> | null {
  const entries = BIG_FIELDS.map((name) => [name, Number(view.big(name))] as const);
  if (entries.some(([, value]) => !Number.isSafeInteger(value))) return null;
  return Object.fromEntries(entries) as Record<(typeof BIG_FIELDS)[number], number>;
}

/** Why it cannot be; null: it can. */
function faultOf(superblock: ExtentsSuperblock): string | null {
  const { role, blockBytes, extentBytes, deviceBytes, metadata, pool, journalImage } = superblock;
  const ofSizes = faultOfSizes({ blockBytes, extentBytes });
  if (ofSizes !== null) return ofSizes.why;
  const end = secondCopyOffset(deviceBytes);
  if (end < SUPERBLOCK_BYTES) return `a device of ${deviceBytes} bytes has no room for it`;
  const poolBytes = pool === null ? 0 : pool.extents * extentBytes;
  if (metadata !== null && !isWithin(metadata, end)) return 'its metadata lies outside of the device';
  if (pool !== null && !isWithin({ offset: pool.offset, length: poolBytes }, end))
    return 'its extents lie outside of the device';
  if (metadata !== null && pool !== null && meet(metadata, { offset: pool.offset, length: poolBytes }))
    return 'its extents lie over its metadata';
  return faultOfRole(role, { metadata, pool, superblock, journalImage });
}

function faultOfRole(
  role: Role,
  {
    metadata,
    pool,
    superblock,
    journalImage,
  }: Pick<ExtentsSuperblock, 'metadata' | 'pool' | 'journalImage'> & { superblock: ExtentsSuperblock },
): string | null {
  const { metadataImage } = superblock;
  if (role === 'volume') {
    if (pool === null || pool.first !== 0) return 'a volume has the extents from 0 on';
    if ((metadata === null) !== (metadataImage !== null)) return 'its metadata is in no place, or in two';
    return journalImage?.extents === 0 ? 'its journal image has no extents' : null;
  }
  if (metadataImage !== null || journalImage !== null) return `a ${role} image names no images`;
  if (role === 'metadata' && (metadata === null || pool !== null))
    return 'a metadata image has metadata, and no extents';
  if (role === 'journal' && (pool === null || metadata !== null))
    return 'a journal image has extents, and no metadata';
  return null;
}

function isWithin({ offset, length }: ByteRange, end: number): boolean {
  return (
    offset >= SUPERBLOCK_BYTES && offset % 512 === 0 && Number.isSafeInteger(length) && offset + length <= end
  );
}

function meet(a: ByteRange, b: ByteRange): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}

function uuidText(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

function uuidBytes(text: string): Uint8Array {
  return new Uint8Array(Buffer.from(text, 'hex'));
}
