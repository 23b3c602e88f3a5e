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
import { createArray, eraseArray, memberShape, newUuid } from '../raid/create.js';
import { layoutNumber } from '../raid/geometry.js';
import { firstContent, makeBlank } from './blank.js';
import {
  type CreateVolumeOptions,
  notBlank,
  type PlannedVolume,
  planVolume,
  refuseOverwriting,
  sizeOf,
} from './create-plan.js';
import { NewRecordFile } from './create-record.js';
import { manifestPath } from './locate.js';
import { type Manifest, writeManifest } from './manifest.js';

export interface CreatedVolume extends PlannedVolume {
  readonly uuid: string;
}

export async function createVolume(options: CreateVolumeOptions): Promise<CreatedVolume> {
  const plan = await planVolume(options);
  refuseOverwriting(plan, options);
  const madeDirectory = await makeDirectory(options.directory);
  const images: OpenImages = { devices: [], made: [], blank: [] };
  let record: NewRecordFile | null = null;
  try {
    await openAll(plan, images);
    record = await openRecord(plan, options);
    for (const device of images.devices) {
      await clear(device, options);
      images.blank.push(device);
    }
    const uuid = await format(plan, options, images.devices);
    await record?.format(images.devices);
    await writeManifest(options.directory, manifestOf(plan, options, uuid));
    return { ...plan, uuid };
  } catch (error) {
    await takeBack(images, record);
    if (madeDirectory) await rmdir(options.directory).catch(() => undefined);
    throw error;
  } finally {
    await Promise.all([...images.devices, ...(record === null ? [] : [record])].map((each) => each.close()));
  }
}

async function openRecord(plan: PlannedVolume, options: CreateVolumeOptions): Promise<NewRecordFile | null> {
  if (plan.record === null) return null;
  const shape = memberShape({ ...options, layout: layoutNumber(options.layout)! });
  return NewRecordFile.open(plan.record, { ...shape, chunkBytes: options.chunkBytes }, options.force);
}

/** The images of a volume that is being made; locked. */
interface OpenImages {
  readonly devices: BlockDevice[];
  /** Paths of those that were not there before. */
  readonly made: string[];
  /** Those that hold nothing but what we write. */
  readonly blank: BlockDevice[];
}

/** Once more, now under the lock: since the plan was made, another process may have filled the image. */
async function clear(device: BlockDevice, options: CreateVolumeOptions): Promise<void> {
  const offsetBytes = await firstContent(device);
  if (offsetBytes === null) return;
  if (!options.force) throw notBlank(device.name, offsetBytes);
  await makeBlank(device);
}

/** Failures here are not told: what went wrong first is what the user must hear. */
async function takeBack({ made, blank }: OpenImages, record: NewRecordFile | null): Promise<void> {
  const kept = blank.filter((device) => !made.includes(device.name));
  await Promise.allSettled([
    ...made.map((path) => rm(path, { force: true })),
    eraseArray(kept),
    record?.takeBack(),
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
    shape: { ...options, layout: layoutNumber(options.layout)! },
  });
}

function manifestOf(plan: PlannedVolume, options: CreateVolumeOptions, uuid: string): Manifest {
  const images = plan.images.map((image) => manifestPath(options.directory, image));
  const size = plan.kind === 'single' ? { sizeBytes: plan.imageSizeBytes } : {};
  const record =
    options.record === undefined ? {} : { record: manifestPath(options.directory, options.record) };
  return {
    formatVersion: 1,
    name: plan.name,
    kind: plan.kind,
    format: 'raw',
    uuid,
    images,
    ...record,
    ...size,
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
