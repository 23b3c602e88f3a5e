/**
 * What a new volume of the format `extents` has beyond one of the format `raw`: sizes, the metadata, the pool, and
 * images of its own for metadata and journal.
 *
 * The order of writes: the metadata engine and what the metadata server begins with; then the superblocks of the images,
 * and last those of the volume. So what was not made to the end has no superblock on the volume, and is none.
 */
import { randomBytes } from 'node:crypto';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import {
  extentsFor,
  journalImageBytes,
  journalRegion,
  leastVolumeBytes,
  metadataImageLayout,
  type VolumeShape,
  volumeLayout,
} from '../extents/format/layout.js';
import {
  checkSizes,
  DEFAULT_BLOCK_BYTES,
  defaultExtentBytes,
  type ExtentSizes,
} from '../extents/format/sizes.js';
import type { ExtentsSuperblock } from '../extents/format/superblock.js';
import { writeSuperblock } from '../extents/format/superblock-copies.js';
import type { EngineRange } from '../metadata/engine/layout.js';
import { makeEngine } from '../metadata/engine/make-engine.js';
import { openEngine } from '../metadata/engine/open-engine.js';
import type { FlagPlace } from '../metadata/flag-places.js';
import { formatMetadata } from '../metadata/server/format.js';
import type { Part } from './create-part.js';

/** What may be asked for. */
export interface ExtentsOptions {
  readonly extentBytes?: number | undefined;
  readonly blockBytes?: number | undefined;
  /** Where the metadata is to be, if not on the volume. */
  readonly metadata?: string | undefined;
  /** Another region of the pool. */
  readonly journalImage?: string | undefined;
  /** What is to be usable of it. */
  readonly journalSizeBytes?: number | undefined;
  /** Where flags of what is not committed are kept unless said otherwise; default: at the metadata server. */
  readonly flags?: FlagPlace | undefined;
}

/** What the volume will be. */
export interface PlannedExtents extends ExtentSizes {
  /** On the volume. */
  readonly extents: number;
  readonly journalExtents: number;
  /** Of both halves of the metadata engine. */
  readonly metadataBytes: number;
  /** null: on the volume. */
  readonly metadata: string | null;
  readonly journalImage: string | null;
  readonly flags: FlagPlace;
}

/** Pages of the metadata have numbers of 32 bits; so many extents are beyond what they can map. */
const MOST_EXTENTS = 2 ** 32;

/** The shape of the volume. `stripeBytes`: data of a full stripe, or null. Throws USAGE for what cannot be. */
export function extentsShape(options: ExtentsOptions, stripeBytes: number | null): VolumeShape {
  const { blockBytes = DEFAULT_BLOCK_BYTES, journalImage, journalSizeBytes } = options;
  const extentBytes = options.extentBytes ?? defaultExtentBytes(stripeBytes, blockBytes);
  const sizes = { blockBytes, extentBytes };
  checkSizes(sizes);
  if (journalImage !== undefined && journalSizeBytes === undefined) {
    throw new UserError('USAGE', 'missing: --journal-size', {
      hint: 'how much of the journal image is to be usable? For example --journal-size 1GiB',
    });
  }
  if (journalImage === undefined && journalSizeBytes !== undefined)
    throw new UserError('USAGE', '--journal-size is of a journal image, and --journal-image names none');
  const journalExtents = journalSizeBytes === undefined ? 0 : Math.ceil(journalSizeBytes / extentBytes);
  if (journalImage !== undefined && journalExtents === 0)
    throw new UserError('USAGE', '--journal-size must be more than 0');
  const hasMetadataImage = options.metadata !== undefined;
  return { ...sizes, stripeBytes, hasMetadataImage, journalExtents };
}

/** Bytes of a device on which so much can be used. Throws USAGE for more extents than there can be. */
export function extentsDeviceBytes(sizeBytes: number, shape: VolumeShape): number {
  const extents = extentsFor(sizeBytes, shape);
  if (extents + shape.journalExtents <= MOST_EXTENTS) return leastVolumeBytes(extents, shape);
  throw new UserError(
    'USAGE',
    `${sizeBytes} bytes are too many for extents of ${shape.extentBytes} bytes: ${MOST_EXTENTS} extents are the most`,
    { hint: 'larger extents: --extent' },
  );
}

/** Throws NO_SPACE for a device that is too small. */
export function planExtents(
  name: string,
  deviceBytes: number,
  shape: VolumeShape,
  { metadata, journalImage, flags = 'metadata' }: ExtentsOptions,
): PlannedExtents {
  const layout = volumeLayout(name, deviceBytes, shape);
  const { blockBytes, extentBytes, journalExtents } = shape;
  const { extents } = layout.pool;
  const ofImage = metadataImageLayout(extents + journalExtents, shape).metadata;
  return {
    blockBytes,
    extentBytes,
    extents,
    journalExtents,
    metadataBytes: (layout.metadata ?? ofImage).length,
    metadata: metadata ?? null,
    journalImage: journalImage ?? null,
    flags,
  };
}

/** The images of its own: metadata, journal. */
export function extentsParts({
  metadata,
  journalImage,
  extents,
  journalExtents,
  ...sizes
}: PlannedExtents): Part[] {
  const parts: Part[] = [];
  if (metadata !== null) {
    const { imageBytes } = metadataImageLayout(extents + journalExtents, sizes);
    parts.push({ path: metadata, sizeBytes: imageBytes, flag: '--metadata' });
  }
  if (journalImage !== null) {
    const sizeBytes = journalImageBytes(journalExtents, sizes);
    parts.push({ path: journalImage, sizeBytes, flag: '--journal-image' });
  }
  return parts;
}

export interface ExtentsDevices {
  /** The volume's bytes, all zeroes. */
  readonly volume: BlockDevice;
  readonly metadata: BlockDevice | null;
  readonly journal: BlockDevice | null;
}

/** Makes the volume what it is, durably. */
export async function formatExtents(
  devices: ExtentsDevices,
  shape: VolumeShape,
  flags: FlagPlace = 'metadata',
): Promise<void> {
  const { volume, metadata, journal } = devices;
  const { blockBytes, extentBytes, journalExtents } = shape;
  const layout = volumeLayout(volume.name, volume.size, shape);
  const { extents } = layout.pool;
  const ofImage = metadataImageLayout(extents + journalExtents, shape);
  const shared = { volumeUuid: newUuid(), blockBytes, extentBytes, generation: 1 };
  const nothing = {
    ...{ metadata: null, pool: null, metadataImage: null, journalImage: null },
    flags: 'metadata',
  } as const;
  const ofMetadata: ExtentsSuperblock | null =
    metadata === null
      ? null
      : {
          ...shared,
          ...nothing,
          deviceUuid: newUuid(),
          role: 'metadata',
          deviceBytes: metadata.size,
          metadata: ofImage.metadata,
        };
  const ofJournal: ExtentsSuperblock | null =
    journal === null
      ? null
      : {
          ...shared,
          ...nothing,
          deviceUuid: newUuid(),
          role: 'journal',
          deviceBytes: journal.size,
          pool: { ...journalRegion(journal.size, extents, shape), extents: journalExtents },
        };
  const ofVolume: ExtentsSuperblock = {
    ...shared,
    deviceUuid: newUuid(),
    role: 'volume',
    deviceBytes: volume.size,
    metadata: layout.metadata,
    pool: layout.pool,
    metadataImage: ofMetadata?.deviceUuid ?? null,
    journalImage: ofJournal === null ? null : { uuid: ofJournal.deviceUuid, extents: journalExtents },
    flags,
  };
  const range =
    metadata === null ? { device: volume, ...layout.metadata! } : { device: metadata, ...ofImage.metadata };
  await formatEngine(range, (metadata === null ? layout : ofImage).logBytes, {
    blocksPerExtent: extentBytes / blockBytes,
    extents: extents + journalExtents,
  });
  if (ofMetadata !== null) await writeSuperblock(metadata!, ofMetadata);
  if (ofJournal !== null) await writeSuperblock(journal!, ofJournal);
  await writeSuperblock(volume, ofVolume);
  // Of files that have grown the length too.
  for (const device of [volume, metadata, journal]) await device?.flush();
}

async function formatEngine(
  range: EngineRange,
  logBytes: number,
  shape: { readonly blocksPerExtent: number; readonly extents: number },
): Promise<void> {
  await makeEngine(range, { logBytes });
  const engine = await openEngine(range, { warn: () => undefined });
  try {
    await formatMetadata(engine, shape);
  } finally {
    await engine.close();
  }
}

function newUuid(): string {
  return randomBytes(16).toString('hex');
}
