/**
 * What making a volume would do, and whether it may: all that can be checked without writing. Nothing that holds data is
 * touched without `force`.
 */
import { readdir, stat } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { fileError } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { type ArrayShape, memberShape } from '../raid/create.js';
import { layoutNumber } from '../raid/geometry.js';
import { firstContent } from './blank.js';
import {
  type ExtentsOptions,
  extentsDeviceBytes,
  extentsParts,
  extentsShape,
  type PlannedExtents,
  planExtents,
} from './create-extents.js';
import { type Part, partContent, partNotBlank } from './create-part.js';
import { recordPart } from './create-record.js';
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
  /** The volume is to be of the format `extents`; absent: `raw`. */
  readonly extents?: ExtentsOptions | undefined;
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
  /** Of the format `extents`. */
  readonly extents?: PlannedExtents;
  /** Images, and other files of the volume, that exist and hold data, with the offset of the first. */
  readonly overwrites: readonly { image: string; offsetBytes: number }[];
  /** The directory holds a volume already, which would be one no more. */
  readonly replaces: boolean;
}

/** What md has for a name; a longer one would be cut without a word. */
const MAX_NAME_BYTES = 31;

/** What `createVolume` would do; checks all that can be checked without writing. */
export async function planVolume(options: CreateVolumeOptions): Promise<PlannedVolume> {
  if (layoutNumber(options.layout) === undefined)
    throw new UserError('USAGE', `${options.layout} is not a layout of RAID-5`);
  const kind = options.members === 1 ? 'single' : 'raid';
  checkNames(options);
  if (kind === 'single' && options.record !== undefined)
    throw new UserError('USAGE', 'one plain image has no stripes: --record is for RAID-5 volumes');
  const array = arrayShape(options);
  const shape = kind === 'raid' ? memberShape(array) : null;
  const images = imagePaths(options, kind);
  const name = options.name ?? defaultName(options.directory);
  checkPartNames(options, images);
  const replaces = await checkDirectory(options);
  const found = await Promise.all(images.map((image) => lookAt(image)));
  const overwrites = found.flatMap((each, index) =>
    each === null || each.offsetBytes === null
      ? []
      : [{ image: images[index]!, offsetBytes: each.offsetBytes }],
  );
  const imageSizeBytes = shape?.imageSizeBytes ?? roundUp(array.sizeBytes, 512);
  // A plain image that is there is used to its end.
  const deviceBytes = shape?.arraySizeBytes ?? Math.max(imageSizeBytes, found[0]?.sizeBytes ?? 0);
  const extents = extentsOf(options, name, deviceBytes);
  const plan: Planned = {
    name,
    kind,
    images,
    imageSizeBytes,
    sizeBytes: extents === null ? (shape?.arraySizeBytes ?? imageSizeBytes) : usableBytes(extents),
    record: options.record ?? null,
    ...(extents === null ? {} : { extents }),
  };
  for (const part of partsOf(plan, options)) {
    const offsetBytes = await partContent(part);
    if (offsetBytes !== null) overwrites.push({ image: part.path, offsetBytes });
  }
  return { ...plan, overwrites, replaces };
}

type Planned = Omit<PlannedVolume, 'overwrites' | 'replaces'>;

/** What is to be made of the images: in the format extents its size is larger than what files can use. */
export function arrayShape(options: CreateVolumeOptions): ArrayShape {
  const { extents, members, chunkBytes, sizeBytes } = options;
  const shape = { members, chunkBytes, sizeBytes, layout: layoutNumber(options.layout)! };
  if (extents === undefined) return shape;
  // What no array can be is refused before it is counted with.
  if (members !== 1) memberShape(shape);
  return { ...shape, sizeBytes: extentsDeviceBytes(sizeBytes, extentsShape(extents, stripeBytesOf(shape))) };
}

/** Data of a full stripe; null: one image has none. */
export function stripeBytesOf({
  members,
  chunkBytes,
}: Pick<CreateVolumeOptions, 'members' | 'chunkBytes'>): number | null {
  return members === 1 ? null : (members - 1) * chunkBytes;
}

function extentsOf(options: CreateVolumeOptions, name: string, deviceBytes: number): PlannedExtents | null {
  if (options.extents === undefined) return null;
  const shape = extentsShape(options.extents, stripeBytesOf(options));
  return planExtents(name, deviceBytes, shape, options.extents);
}

function usableBytes({ extents, extentBytes }: PlannedExtents): number {
  return extents * extentBytes;
}

/** The files of the volume beside its images, as long as they have to be. */
export function partsOf(
  { record, extents }: Pick<PlannedVolume, 'record' | 'extents'>,
  options: CreateVolumeOptions,
): Part[] {
  const { chunkBytes } = options;
  return [
    ...(record === null ? [] : [recordPart(record, { ...memberShape(arrayShape(options)), chunkBytes })]),
    ...(extents === undefined ? [] : extentsParts(extents)),
  ];
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

/** What has a place in the volume already would be overwritten by another part of it, or overwrite that. */
function checkPartNames(options: CreateVolumeOptions, images: readonly string[]): void {
  const taken = [...images, join(options.directory, MANIFEST_NAME)];
  for (const [flag, path] of namedParts(options)) {
    const other = taken.find((each) => resolve(each) === resolve(path));
    if (other !== undefined)
      throw new UserError('USAGE', `${flag} wants a file of its own: ${other} is another part of the volume`);
    taken.push(path);
  }
}

function namedParts({ record, extents }: CreateVolumeOptions): [string, string][] {
  const named: [string, string | undefined][] = [
    ['--record', record],
    ['--metadata', extents?.metadata],
    ['--journal-image', extents?.journalImage],
  ];
  return named.filter((each): each is [string, string] => each[1] !== undefined);
}

function checkNames(options: CreateVolumeOptions): void {
  const { directory, images = [], name } = options;
  if (directory === '') throw new UserError('USAGE', 'which volume? An empty name is none');
  const parts = namedParts(options);
  for (const [flag, path] of parts) if (path === '') throw new UserError('USAGE', `${flag} names no file`);
  for (const path of [directory, ...images, ...parts.map(([, path]) => path)]) refuseUri(path);
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
  const part = partsOf(plan, options).find(({ path }) => path === first.image);
  throw part === undefined ? notBlank(first.image, first.offsetBytes) : partNotBlank(part, first.offsetBytes);
}

export function notBlank(image: string, offsetBytes: number): UserError {
  return new UserError('NOT_BLANK', `${image} is not blank: it holds data at offset ${offsetBytes}`, {
    hint: 'choose another image; --force --yes overwrites it, and what it holds is lost',
    details: { image, offsetBytes },
  });
}

/** What there is of an image; null: it is not there. */
async function lookAt(image: string): Promise<{ sizeBytes: number; offsetBytes: number | null } | null> {
  if ((await sizeOf(image)) === null) return null;
  const device = await openImage(image, { readOnly: true });
  try {
    return { sizeBytes: device.size, offsetBytes: await firstContent(device) };
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
