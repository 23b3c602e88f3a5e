/**
 * Makes a new volume: images, superblocks, and last the manifest, so that a volume that was not made to the end
 * is not taken for one. Nothing that holds data is touched without `force`; what was made before a failure
 * is taken away again.
 */
import { mkdir, readdir, rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageFile } from '../device/image-file.js';
import { UserError } from '../errors.js';
import { createArray, memberShape, newUuid } from '../raid/create.js';
import { layoutNumber } from '../raid/geometry.js';
import { firstContent, makeBlank } from './blank.js';
import { defaultName, manifestPath } from './locate.js';
import { MANIFEST_NAME, type Manifest, writeManifest } from './manifest.js';

export interface CreateVolumeOptions {
  readonly directory: string;
  readonly members: number;
  /** What is to be usable. */
  readonly sizeBytes: number;
  readonly chunkBytes: number;
  readonly layout: string;
  readonly name?: string | undefined;
  /** Where the members are to be, one each; default: in the directory. */
  readonly images?: readonly string[];
  /** Overwrite images and volumes that hold data. */
  readonly force: boolean;
}

export interface PlannedVolume {
  readonly name: string;
  readonly kind: 'raid' | 'single';
  readonly images: readonly string[];
  readonly imageSizeBytes: number;
  /** What will be usable: at least what was asked for. */
  readonly sizeBytes: number;
  /** Images that exist and hold data, with the offset of the first. */
  readonly overwrites: readonly { image: string; offsetBytes: number }[];
}

export interface CreatedVolume extends PlannedVolume {
  readonly uuid: string;
}

/** What `createVolume` would do; checks all that can be checked without writing. */
export async function planVolume(options: CreateVolumeOptions): Promise<PlannedVolume> {
  const layout = layoutNumber(options.layout);
  if (layout === undefined) throw new UserError('USAGE', `${options.layout} is not a layout of RAID-5`);
  const kind = options.members === 1 ? 'single' : 'raid';
  const shape = kind === 'raid' ? memberShape({ ...options, layout }) : null;
  const images = imagePaths(options, kind);
  const name = options.name ?? defaultName(options.directory);
  await checkDirectory(options);
  const overwrites: { image: string; offsetBytes: number }[] = [];
  for (const image of images) {
    const offsetBytes = await contentOf(image);
    if (offsetBytes !== null) overwrites.push({ image, offsetBytes });
  }
  const imageSizeBytes = shape?.imageSizeBytes ?? roundUp(options.sizeBytes, 512);
  return { name, kind, images, imageSizeBytes, sizeBytes: shape?.arraySizeBytes ?? imageSizeBytes, overwrites };
}

export async function createVolume(options: CreateVolumeOptions): Promise<CreatedVolume> {
  const plan = await planVolume(options);
  refuseOverwriting(plan, options);
  const madeDirectory = await makeDirectory(options.directory);
  const made: string[] = [];
  try {
    const devices = await openAll(plan, made);
    let uuid: string;
    try {
      uuid = await format(plan, options, devices);
    } finally {
      await Promise.all(devices.map((device) => device.close()));
    }
    await writeManifest(options.directory, manifestOf(plan, options, uuid));
    return { ...plan, uuid };
  } catch (error) {
    for (const path of made) await rm(path, { force: true });
    if (madeDirectory) await rmdir(options.directory).catch(() => undefined);
    throw error;
  }
}

async function format(plan: PlannedVolume, options: CreateVolumeOptions, devices: ImageFile[]): Promise<string> {
  for (const device of devices) if (plan.overwrites.some(({ image }) => image === device.name)) await makeBlank(device);
  if (plan.kind === 'single') return newUuid();
  return createArray(devices, { name: plan.name, shape: { ...options, layout: layoutNumber(options.layout)! } });
}

function manifestOf(plan: PlannedVolume, options: CreateVolumeOptions, uuid: string): Manifest {
  const images = plan.images.map((image) => manifestPath(options.directory, image));
  return { formatVersion: 1, name: plan.name, kind: plan.kind, format: 'raw', uuid, images };
}

async function openAll(plan: PlannedVolume, made: string[]): Promise<ImageFile[]> {
  const devices: ImageFile[] = [];
  try {
    for (const image of plan.images) {
      const exists = (await sizeOf(image)) !== null;
      const device = await ImageFile.open(image, {
        readOnly: false,
        ...(exists ? {} : { create: { size: plan.imageSizeBytes } }),
      });
      if (!exists) made.push(image);
      devices.push(device);
      if (device.size < plan.imageSizeBytes) throw tooSmall(device, plan);
    }
    return devices;
  } catch (error) {
    await Promise.all(devices.map((device) => device.close()));
    throw error;
  }
}

function tooSmall(device: ImageFile, plan: PlannedVolume): UserError {
  return new UserError('REFUSED', `${device.name} has ${device.size} bytes, ${plan.imageSizeBytes} are needed for a volume of this size`, {
    hint: 'make the image larger (truncate -s), or ask for a smaller --size',
    details: { image: device.name, sizeBytes: device.size, neededBytes: plan.imageSizeBytes },
  });
}

function imagePaths(options: CreateVolumeOptions, kind: 'raid' | 'single'): string[] {
  const given = options.images ?? [];
  if (given.length === 0) {
    if (kind === 'single') return [join(options.directory, 'disk.img')];
    return Array.from({ length: options.members }, (_, slot) => join(options.directory, `member-${slot}.img`));
  }
  if (given.length !== options.members) {
    throw new UserError('USAGE', `${options.members} members need ${options.members} images, ${given.length} were named with --image`);
  }
  if (new Set(given).size !== given.length) throw new UserError('USAGE', 'an image was named twice with --image');
  return [...given];
}

async function checkDirectory(options: CreateVolumeOptions): Promise<void> {
  const kind = await stat(options.directory).catch(() => null);
  if (kind === null) return;
  if (!kind.isDirectory()) {
    throw new UserError('NOT_BLANK', `${options.directory} is a file; VOLUME is a directory that create makes`, {
      hint: 'to place the members, name a directory and use --image FILE for each',
    });
  }
  const entries = await readdir(options.directory);
  if (entries.includes(MANIFEST_NAME) && !options.force) {
    throw new UserError('NOT_BLANK', `${options.directory} already holds a volume`, {
      hint: 'choose another directory; --force --yes makes a new volume of it, and what it holds is lost',
    });
  }
}

function refuseOverwriting(plan: PlannedVolume, options: CreateVolumeOptions): void {
  const [first] = plan.overwrites;
  if (first === undefined || options.force) return;
  throw new UserError('NOT_BLANK', `${first.image} is not blank: it holds data at offset ${first.offsetBytes}`, {
    hint: 'choose another image; --force --yes overwrites it, and what it holds is lost',
    details: { image: first.image, offsetBytes: first.offsetBytes },
  });
}

async function contentOf(image: string): Promise<number | null> {
  if ((await sizeOf(image)) === null) return null;
  const device = await ImageFile.open(image, { readOnly: true });
  try {
    return await firstContent(device);
  } finally {
    await device.close();
  }
}

async function sizeOf(image: string): Promise<number | null> {
  const kind = await stat(image).catch(() => null);
  return kind === null ? null : kind.size;
}

/** True if it was made here. */
async function makeDirectory(path: string): Promise<boolean> {
  return (await mkdir(path, { recursive: true })) !== undefined;
}

function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
