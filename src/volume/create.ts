/**
 * Makes a new volume: images, superblocks, and last the manifest, so that a volume that was not made to the end
 * is not taken for one. Nothing that holds data is touched without `force`; what was made before a failure
 * is taken away again.
 */

import { mkdir, rm, rmdir } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { fileError } from '../device/device-errors.js';
import { syncDirectory } from '../device/image-open.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { createArray, eraseArray, newUuid } from '../raid/create.js';
import { examineImage } from '../raid/md/examine.js';
import { judge } from '../raid/md/judge.js';
import { openArray } from '../raid/open.js';
import { claimBlank, makeBlank } from './blank.js';
import { extentsShape, formatExtents } from './create-extents.js';
import { NewPart, type Part } from './create-part.js';
import {
  arrayShape,
  type CreateVolumeOptions,
  notBlank,
  type PlannedVolume,
  partsOf,
  planVolume,
  refuseOverwriting,
  sizeOf,
  stripeBytesOf,
} from './create-plan.js';
import { formatRecord } from './create-record.js';
import { LOCAL_CLIENT } from './extents.js';
import { removeLocalFlags } from './local-flags.js';
import { manifestPath } from './locate.js';
import { type Manifest, writeManifest } from './manifest.js';
import { forgetSnapshots } from './snapshots/void.js';

export interface CreatedVolume extends PlannedVolume {
  readonly uuid: string;
}

export async function createVolume(options: CreateVolumeOptions): Promise<CreatedVolume> {
  const plan = await planVolume(options);
  refuseOverwriting(plan, options);
  const madeDirectory = await makeDirectory(options.directory);
  const images: OpenImages = { devices: [], made: [], blank: [] };
  const parts: NewParts = new Map();
  try {
    await openAll(plan, images);
    for (const part of partsOf(plan, options)) parts.set(part.flag, await NewPart.open(part, options.force));
    const paths = images.devices.map(({ name }) => name);
    if (options.force) await forgetSnapshots(options.directory, paths);
    for (const device of images.devices) {
      // Once more, now under the lock: since the plan was made, another process may have filled the image.
      await claimBlank(device, options.force, (offsetBytes) => notBlank(device.name, offsetBytes));
      images.blank.push(device);
    }
    // Not before all are known to be blank, where nothing is to be lost.
    if (!options.force) await forgetSnapshots(options.directory, paths);
    const uuid = await format(plan, options, images.devices);
    const record = parts.get('--record')?.device ?? null;
    if (record !== null) await formatRecord(record, images.devices);
    if (options.extents !== undefined) await formatInside(plan, options, images.devices, parts);
    // What a client had kept of the volume that was there is nothing to this one.
    if (plan.replaces) await removeLocalFlags(options.directory, LOCAL_CLIENT);
    await writeManifest(options.directory, manifestOf(plan, options, uuid));
    return { ...plan, uuid };
  } catch (error) {
    await takeBack(plan, images, parts);
    if (madeDirectory) await rmdir(options.directory).catch(() => undefined);
    throw error;
  } finally {
    await Promise.all([...images.devices, ...parts.values()].map((each) => each.close()));
  }
}

type NewParts = Map<Part['flag'], NewPart>;

/** Makes the volume one of extents, in the array that was just made of the images, or in the one image. */
async function formatInside(
  { name, kind }: PlannedVolume,
  options: CreateVolumeOptions,
  images: readonly BlockDevice[],
  parts: NewParts,
): Promise<void> {
  const shape = extentsShape(options.extents!, stripeBytesOf(options));
  const metadata = parts.get('--metadata')?.device ?? null;
  const journal = parts.get('--journal-image')?.device ?? null;
  if (kind === 'single')
    return formatExtents({ volume: images[0]!, metadata, journal }, shape, options.extents?.flags);
  const recordFile = parts.get('--record')?.device;
  const judgement = judge(await Promise.all(images.map((image) => examineImage(image))), {});
  const array = await openArray(judgement, { name, readOnly: false, warn: () => undefined, recordFile });
  try {
    await formatExtents({ volume: array, metadata, journal }, shape, options.extents?.flags);
  } finally {
    await array.close();
  }
}

/** The images of a volume that is being made; locked. */
interface OpenImages {
  readonly devices: BlockDevice[];
  /** Paths of those that were not there before. */
  readonly made: string[];
  /** Those that hold nothing but what we write. */
  readonly blank: BlockDevice[];
}

/** Failures here are not told: what went wrong first is what the user must hear. */
async function takeBack(
  { extents }: PlannedVolume,
  { made, blank }: OpenImages,
  parts: NewParts,
): Promise<void> {
  const kept = blank.filter((device) => !made.includes(device.name));
  await Promise.allSettled([
    ...made.map((path) => rm(path, { force: true })),
    extents === undefined ? eraseArray(kept) : Promise.all(kept.map((device) => makeBlank(device))),
    ...[...parts.values()].map((part) => part.takeBack()),
  ]);
}

async function format(
  plan: PlannedVolume,
  options: CreateVolumeOptions,
  devices: readonly BlockDevice[],
): Promise<string> {
  if (plan.kind === 'single') return newUuid();
  return createArray(devices, {
    name: plan.name,
    shape: arrayShape(options),
  });
}

function manifestOf(plan: PlannedVolume, options: CreateVolumeOptions, uuid: string): Manifest {
  const named = (path: string) => manifestPath(options.directory, path);
  const { name, kind, record, extents } = plan;
  const { metadata = null, journalImage = null } = extents ?? {};
  return {
    formatVersion: 1,
    name,
    kind,
    format: extents === undefined ? 'raw' : 'extents',
    uuid,
    images: plan.images.map(named),
    ...(record === null ? {} : { record: named(record) }),
    ...(metadata === null ? {} : { metadata: named(metadata) }),
    ...(journalImage === null ? {} : { journalImage: named(journalImage) }),
    ...(kind === 'single' ? { sizeBytes: plan.imageSizeBytes } : {}),
  };
}

async function openAll(plan: PlannedVolume, { devices, made }: OpenImages): Promise<void> {
  for (const image of plan.images) {
    const exists = (await sizeOf(image)) !== null;
    const device = await openImage(image, {
      readOnly: false,
      ...(exists ? {} : { create: { size: plan.imageSizeBytes } }),
    });
    if (!exists) made.push(image);
    devices.push(device);
    if (device.size < plan.imageSizeBytes) throw tooSmall(device, plan);
  }
}

function tooSmall(device: BlockDevice, plan: PlannedVolume): UserError {
  return new UserError(
    'REFUSED',
    `${device.name} has ${device.size} bytes, ${plan.imageSizeBytes} are needed for a volume of this size`,
    {
      hint: 'make the image larger (truncate -s), or ask for a smaller --size',
      details: { image: device.name, sizeBytes: device.size, neededBytes: plan.imageSizeBytes },
    },
  );
}

/** True if it was made here. */
async function makeDirectory(path: string): Promise<boolean> {
  try {
    const first = await mkdir(path, { recursive: true });
    if (first === undefined) return false;
    // A volume is durable when the directories that lead to it are.
    for (let above = dirname(resolve(path)); above.length >= dirname(first).length; above = dirname(above)) {
      await syncDirectory(above);
      if (above === dirname(above)) break;
    }
    return true;
  } catch (error) {
    throw fileError(path, 'made', error);
  }
}
