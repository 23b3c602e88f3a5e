/**
 * The devices of a volume of the format `extents`: the volume itself, and the images of its own for metadata and
 * journal, each told by its superblock to be what the volume says. An image that is not there, or is another volume's, is
 * refused; a damaged copy of a superblock is told.
 */
import { type BlockDevice, DeviceError } from '../device/contract.js';
import { systemCode } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { type PlacedRegion, PoolRegions } from '../extents/format/pool-regions.js';
import type { Role } from '../extents/format/superblock.js';
import {
  describeDamaged,
  type FoundSuperblock,
  findSuperblock,
  judgeCopies,
  mendSuperblock,
  readCopies,
} from '../extents/format/superblock-copies.js';
import type { EngineRange } from '../metadata/engine/layout.js';
import type { Access } from './images.js';
import { type ExtentsPart, extentsPartPath, type Located } from './locate.js';
import { cached, closeInOrder, RAW_STRIPE_BYTES } from './stack.js';

export interface ExtentsDevicesOptions {
  readonly access: Access;
  /** Where the images of its own are, if not where the manifest says. */
  readonly metadata?: string | undefined;
  readonly journalImage?: string | undefined;
}

export interface PlacedSuperblock {
  readonly device: BlockDevice;
  readonly found: FoundSuperblock;
}

export interface ExtentsDevices {
  readonly volume: PlacedSuperblock;
  /** null: the volume has none of its own. */
  readonly metadata: PlacedSuperblock | null;
  readonly journal: PlacedSuperblock | null;
  /** Where the metadata engine lies. */
  readonly range: EngineRange;
  readonly pool: PoolRegions;
  /** Closes the images of its own; the volume stays open. */
  close(): Promise<void>;
}

/** Memory of a journal image's cache. */
const JOURNAL_CACHE_BYTES = 16 * 1024 * 1024;

const WORDS: Readonly<Record<ExtentsPart, { readonly what: string; readonly role: Role }>> = {
  metadata: { what: 'metadata image', role: 'metadata' },
  journalImage: { what: 'journal image', role: 'journal' },
};

/** What the device is to a volume of files: its manifest says it, or without one its superblock. null: nothing. */
export async function roleOf({ manifest }: Located, device: BlockDevice): Promise<Role | null> {
  if (manifest !== null) return manifest.format === 'extents' ? 'volume' : null;
  const copies = await readCopies(device);
  for (const { decoded } of copies) if ('good' in decoded) return decoded.good.role;
  // Of a later one nothing else is known.
  return copies.some(({ decoded }) => 'later' in decoded) ? 'volume' : null;
}

/** Whether the volume holds files on extents. */
export async function isOfExtents(located: Located, device: BlockDevice): Promise<boolean> {
  return (await roleOf(located, device)) === 'volume';
}

/**
 * Throws NOT_ASSEMBLED where an image is missing or another one's, METADATA_DAMAGED where neither copy of a superblock is
 * good, UNSUPPORTED for a later format, PERMISSION_DENIED for one that may only be read here.
 */
export async function openExtentsDevices(
  located: Located,
  device: BlockDevice,
  options: ExtentsDevicesOptions,
): Promise<ExtentsDevices> {
  const volume = await placed(located, device, options.access);
  const opened: (() => Promise<unknown>)[] = [];
  const close = () => closeInOrder(opened.splice(0).reverse());
  try {
    const open = (part: ExtentsPart, uuid: string | undefined | null) =>
      uuid == null ? null : openPart(located, part, { ...options, volume: volume.found, uuid }, opened);
    const { metadataImage, journalImage, ...superblock } = volume.found.superblock;
    const metadata = await open('metadata', metadataImage);
    const journal = await open('journalImage', journalImage?.uuid);
    const range =
      metadata === null
        ? rangeOf(device, superblock.metadata)
        : rangeOf(metadata.device, metadata.found.superblock.metadata);
    const regions: PlacedRegion[] = [{ device, ...superblock.pool! }];
    if (journal !== null) regions.push(await journalRegion(located, volume.found, journal));
    return { volume, metadata, journal, range, pool: new PoolRegions(superblock, regions), close };
  } catch (error) {
    await close();
    throw error;
  }
}

function rangeOf(device: BlockDevice, metadata: { offset: number; length: number } | null): EngineRange {
  return { device, ...metadata! };
}

async function placed({ label }: Located, device: BlockDevice, access: Access): Promise<PlacedSuperblock> {
  const found = await findSuperblock(device);
  if (found === null || found.superblock.role !== 'volume') {
    const role = found?.superblock.role;
    const what = role === undefined ? 'it holds no superblock of that format' : `it is a ${role} image`;
    throw new UserError('NOT_ASSEMBLED', `${label} is to be a volume of the format extents: ${what}`, {
      hint: 'holdfast examine shows what an image holds',
      details: { image: device.name, offsetBytes: 0 },
    });
  }
  if (access === 'write') assertWritable(device, found);
  return { device, found };
}

function assertWritable({ name }: BlockDevice, { roCompat }: FoundSuperblock): void {
  if (roCompat === 0) return;
  throw new UserError(
    'PERMISSION_DENIED',
    `${name}: its extents have features that are not known here, ro_compat 0x${roCompat.toString(16)}: they can be read, and are not written`,
    { hint: 'use the holdfast that made it', details: { image: name, offsetBytes: 0 } },
  );
}

interface Wanted extends ExtentsDevicesOptions {
  readonly volume: FoundSuperblock;
  /** device_uuid. */
  readonly uuid: string;
}

async function openPart(
  located: Located,
  part: ExtentsPart,
  wanted: Wanted,
  opened: (() => Promise<unknown>)[],
): Promise<PlacedSuperblock> {
  const { access } = wanted;
  const { what, role } = WORDS[part];
  const path = wanted[part] ?? extentsPartPath(located, part);
  if (path === null) {
    throw notAssembled(located, `nothing says where its ${what} is`, {
      hint: "name the volume by its directory: the manifest in it names the volume's images",
    });
  }
  const file = await openThere(located, path, what, access);
  opened.push(() => file.close());
  const found = judgeCopies(file, await readCopies(file));
  const why = whyNot(found, { ...wanted, role });
  if (why !== null) {
    throw notAssembled(located, `${path} is not its ${what}: ${why}`, {
      hint: 'bring the right one back, under the name that the manifest has for it',
      details: { image: path, offsetBytes: 0 },
    });
  }
  if (access === 'write') assertWritable(file, found!);
  if (role === 'metadata' || access !== 'write') return { device: file, found: found! };
  // As the volume itself: small writes are gathered, and what was just written is not read again.
  const device = cached(file, RAW_STRIPE_BYTES, { capacityBytes: JOURNAL_CACHE_BYTES });
  opened.push(
    () => device.close(),
    () => device.flush(),
  );
  return { device, found: found! };
}

function whyNot(
  found: FoundSuperblock | null,
  { volume, uuid, role }: Wanted & { readonly role: Role },
): string | null {
  if (found === null) return 'it has no superblock of a volume of extents';
  const { superblock } = found;
  if (superblock.volumeUuid !== volume.superblock.volumeUuid) return 'it belongs to another volume';
  if (superblock.role !== role) return `it is the ${superblock.role} image`;
  if (superblock.deviceUuid !== uuid) return 'the volume names another one';
  return null;
}

async function openThere(located: Located, path: string, what: string, access: Access): Promise<BlockDevice> {
  try {
    return await openImage(path, { readOnly: access !== 'write', lock: access !== 'look' });
  } catch (error) {
    const isMissing = error instanceof DeviceError && systemCode(error.fault.cause) === 'ENOENT';
    if (!isMissing) throw error;
    throw notAssembled(located, `its ${what} ${path} is not there`, {
      hint: 'bring it back: without it nothing of the files can be had',
      details: { image: path },
      cause: error,
    });
  }
}

async function journalRegion(
  located: Located,
  { superblock: volume }: FoundSuperblock,
  { device, found }: PlacedSuperblock,
): Promise<PlacedRegion> {
  const { pool, extentBytes } = found.superblock;
  const { extents } = volume.pool!;
  if (
    pool !== null &&
    pool.first === extents &&
    pool.extents === volume.journalImage!.extents &&
    extentBytes === volume.extentBytes
  )
    return { device, ...pool };
  throw new UserError(
    'METADATA_DAMAGED',
    `${located.label}: the volume and its journal image ${device.name} say different things of its extents`,
    { hint: 'put good copies of both in their places', details: { image: device.name, offsetBytes: 0 } },
  );
}

function notAssembled(
  { label }: Located,
  what: string,
  more: { hint: string; details?: Record<string, unknown>; cause?: unknown },
): UserError {
  return new UserError('NOT_ASSEMBLED', `${label}: ${what}`, more);
}

/** Those with a superblock. */
export function placedIn({ volume, metadata, journal }: ExtentsDevices): PlacedSuperblock[] {
  return [volume, metadata, journal].filter((each): each is PlacedSuperblock => each !== null);
}

/** Tells of damaged copies of superblocks; for who writes they are mended. */
export async function tellOrMend(
  devices: ExtentsDevices,
  access: Access,
  warn: (message: string) => void,
): Promise<void> {
  for (const { device, found } of placedIn(devices)) {
    for (const message of describeDamaged(device, found)) warn(message);
    if (access === 'write') await mendSuperblock(device, found);
  }
}
