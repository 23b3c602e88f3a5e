/**
 * What making a volume would do, and whether it may: all that can be checked without writing. Nothing that holds data is
 * touched without `force`.
 */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileError } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { memberShape } from '../raid/create.js';
import { layoutNumber } from '../raid/geometry.js';
import { firstContent } from './blank.js';
import { recordFileContent, recordNotBlank } from './create-record.js';
import { defaultName, refuseUri } from './locate.js';
import { MANIFEST_NAME } from './manifest.js';

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
  /** Where the dirty-stripe record is to be kept, if not on the members. */
  readonly record?: string | undefined;
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
  /** The file that the dirty-stripe record is to be kept in; null: on the members. */
  readonly record: string | null;
  /** Images, and the record's file, that exist and hold data, with the offset of the first. */
  readonly overwrites: readonly { image: string; offsetBytes: number }[];
  /** The directory holds a volume already, which would be one no more. */
  readonly replaces: boolean;
}

/** What md has for a name; a longer one would be cut without a word. */
const MAX_NAME_BYTES = 31;

/** What `createVolume` would do; checks all that can be checked without writing. */
export async function planVolume(options: CreateVolumeOptions): Promise<PlannedVolume> {
  const layout = layoutNumber(options.layout);
  if (layout === undefined) throw new UserError('USAGE', `${options.layout} is not a layout of RAID-5`);
  const kind = options.members === 1 ? 'single' : 'raid';
  checkNames(options);
  if (kind === 'single' && options.record !== undefined)
    throw new UserError('USAGE', 'one plain image has no stripes: --record is for RAID-5 volumes');
  const shape = kind === 'raid' ? memberShape({ ...options, layout }) : null;
  const images = imagePaths(options, kind);
  if (options.record !== undefined) checkRecordName(options.record, images, options.directory);
  const name = options.name ?? defaultName(options.directory);
  const replaces = await checkDirectory(options);
  const overwrites: { image: string; offsetBytes: number }[] = [];
  for (const image of images) {
    const offsetBytes = await contentOf(image);
    if (offsetBytes !== null) overwrites.push({ image, offsetBytes });
  }
  const { record = null, chunkBytes } = options;
  if (record !== null && shape !== null) {
    const offsetBytes = await recordFileContent(record, { ...shape, chunkBytes });
    if (offsetBytes !== null) overwrites.push({ image: record, offsetBytes });
  }
  const imageSizeBytes = shape?.imageSizeBytes ?? roundUp(options.sizeBytes, 512);
  return {
    name,
    kind,
    images,
    imageSizeBytes,
    sizeBytes: shape?.arraySizeBytes ?? imageSizeBytes,
    record,
    overwrites,
    replaces,
  };
}

function imagePaths(options: CreateVolumeOptions, kind: 'raid' | 'single'): string[] {
  const given = options.images ?? [];
  if (given.length === 0) {
    if (kind === 'single') return [join(options.directory, 'disk.img')];
    return Array.from({ length: options.members }, (_, slot) =>
      join(options.directory, `member-${slot}.img`),
    );
  }
  if (given.length !== options.members) {
    throw new UserError(
      'USAGE',
      `${options.members} members need ${options.members} images, ${given.length} were named with --image`,
    );
  }
  if (new Set(given.map((image) => resolve(image))).size !== given.length)
    throw new UserError('USAGE', 'an image was named twice with --image');
  return [...given];
}

/** What has a place in the volume already would be overwritten by it, or overwrite it. */
function checkRecordName(record: string, images: readonly string[], directory: string): void {
  const taken = [...images, join(directory, MANIFEST_NAME)].find((path) => resolve(path) === resolve(record));
  if (taken === undefined) return;
  throw new UserError('USAGE', `--record wants a file of its own: ${taken} is another part of the volume`);
}

function checkNames({ directory, images = [], record, name }: CreateVolumeOptions): void {
  if (directory === '') throw new UserError('USAGE', 'which volume? An empty name is none');
  if (record === '') throw new UserError('USAGE', '--record names no file');
  for (const path of [directory, ...images, ...(record === undefined ? [] : [record])]) refuseUri(path);
  if (name === undefined) return;
  const bytes = Buffer.byteLength(name);
  if (bytes === 0 || bytes > MAX_NAME_BYTES) {
    throw new UserError('USAGE', `--name has ${bytes} bytes: md has room for 1 to ${MAX_NAME_BYTES}`);
  }
}

/** True if it holds a volume, which is to be replaced. */
async function checkDirectory(options: CreateVolumeOptions): Promise<boolean> {
  const kind = await stat(options.directory).catch(() => null);
  if (kind === null) return false;
  if (!kind.isDirectory()) {
    throw new UserError(
      'NOT_BLANK',
      `${options.directory} is a file; VOLUME is a directory that create makes`,
      {
        hint: 'to place the members, name a directory and use --image FILE for each',
      },
    );
  }
  const entries = await readdir(options.directory).catch((error: unknown) => {
    throw fileError(options.directory, 'read', error);
  });
  const replaces = entries.includes(MANIFEST_NAME);
  if (replaces && !options.force) {
    throw new UserError('NOT_BLANK', `${options.directory} already holds a volume`, {
      hint: 'choose another directory; --force --yes makes a new volume of it, and what it holds is lost',
    });
  }
  return replaces;
}

export function refuseOverwriting(plan: PlannedVolume, options: CreateVolumeOptions): void {
  const [first] = plan.overwrites;
  if (first === undefined || options.force) return;
  if (first.image === plan.record) throw recordNotBlank(first.image, first.offsetBytes);
  throw notBlank(first.image, first.offsetBytes);
}

export function notBlank(image: string, offsetBytes: number): UserError {
  return new UserError('NOT_BLANK', `${image} is not blank: it holds data at offset ${offsetBytes}`, {
    hint: 'choose another image; --force --yes overwrites it, and what it holds is lost',
    details: { image, offsetBytes },
  });
}

async function contentOf(image: string): Promise<number | null> {
  if ((await sizeOf(image)) === null) return null;
  const device = await openImage(image, { readOnly: true });
  try {
    return await firstContent(device);
  } finally {
    await device.close();
  }
}

/** null: it is not there. */
export async function sizeOf(image: string): Promise<number | null> {
  const kind = await stat(image).catch(() => null);
  return kind === null ? null : kind.size;
}

function roundUp(bytes: number, unit: number): number {
  return Math.ceil(bytes / unit) * unit;
}
