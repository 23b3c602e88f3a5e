/**
 * What a VOLUME argument names: a directory with a manifest, a directory of images, one image, or several.
 * Nothing is opened here but the manifest.
 */
import { lstat, readdir, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { fileError } from '../device/device-errors.js';
import { UserError } from '../errors.js';
import type { ExaminedImage } from '../raid/md/model.js';
import { MANIFEST_NAME, type Manifest, readManifest } from './manifest.js';
import { isRemote } from './remote.js';

/** Files in the volume's directory begin so in which clients keep flags (local-flags.ts). */
export const LOCAL_FLAGS_NAME = 'holdfast.flags';

export interface Located {
  /** As the user wrote it: for messages. */
  readonly label: string;
  /** The volume's directory; null where images were named. */
  readonly directory: string | null;
  readonly manifest: Manifest | null;
  /** Candidates, in order: with a manifest those that it names and what else lies in the directory. */
  readonly images: readonly string[];
  /** Those that the manifest names: one that is absent is a missing member, not a mistake. */
  readonly expected: ReadonlySet<string>;
}

export async function locateVolume(args: readonly string[]): Promise<Located> {
  const [first, ...more] = args;
  if (first === undefined) throw new UserError('USAGE', 'which volume? None was named');
  for (const arg of args) {
    if (arg === '') throw new UserError('USAGE', 'which volume? An empty name is none');
  }
  const files = args.filter((arg) => !isRemote(arg));
  const found = await Promise.all(files.map((arg) => statOrMissing(arg)));
  const directories = found.filter((entry) => entry.isDirectory());
  if (directories.length > 0 && more.length > 0) {
    throw new UserError('USAGE', 'name one directory, or the images of the members, not both');
  }
  if (directories.length > 0) return locateDirectory(first);
  await refuseTwice(args);
  return {
    label: args.length === 1 ? first : `${first} and ${more.length} more`,
    directory: null,
    manifest: null,
    images: args,
    expected: new Set(),
  };
}

/** How the manifest names an image: relative where it lies below the directory. */
export function manifestPath(directory: string, image: string): string {
  if (isRemote(image)) return image;
  const path = relative(resolve(directory), resolve(image));
  return path.startsWith('..') || isAbsolute(path) ? resolve(image) : path;
}

async function locateDirectory(directory: string): Promise<Located> {
  const manifest = await readManifest(directory);
  const named = (manifest?.images ?? []).map((path) => pathOf(directory, path));
  const others = manifest?.kind === 'single' ? [] : await filesIn(directory);
  const located = { label: directory, directory, manifest, images: named, expected: new Set(named) };
  // They are the volume's, and no members.
  const parts = EXTENTS_PARTS.flatMap((part) => extentsPartPath(located, part) ?? []);
  const beside = await withoutDoubles([...parts, ...named, ...others]);
  return { ...located, images: beside.slice(new Set(await Promise.all(parts.map(identity))).size) };
}

/** Images of its own that a volume of extents may have, as the manifest calls them. */
export const EXTENTS_PARTS = ['metadata', 'journalImage'] as const;
export type ExtentsPart = (typeof EXTENTS_PARTS)[number];

/** Where one is; null: the manifest names none. */
export function extentsPartPath({ manifest, directory }: Located, part: ExtentsPart): string | null {
  const path = manifest?.[part];
  return path === undefined || directory === null ? null : pathOf(directory, path);
}

/** All files that the volume consists of, as far as is known without opening any. */
export function ownImages(located: Located): string[] {
  return [...located.images, ...EXTENTS_PARTS.flatMap((part) => extentsPartPath(located, part) ?? [])];
}

/** The other way round. */
function pathOf(directory: string, named: string): string {
  return isRemote(named) || isAbsolute(named) ? named : join(directory, named);
}

/** One name for each file: links to an image are no copies of it. */
async function withoutDoubles(paths: readonly string[]): Promise<string[]> {
  const byIdentity = new Map<string, string>();
  for (const path of paths) {
    const own = await identity(path);
    if (!byIdentity.has(own)) byIdentity.set(own, path);
  }
  return [...byIdentity.values()];
}

/** Throws VOLUME_NOT_FOUND for a directory in which nothing says that it ever held a volume. */
export function assertHoldsVolume({ directory, manifest }: Located, images: readonly ExaminedImage[]): void {
  if (directory === null || manifest !== null) return;
  if (images.some((image) => image.superblocks.length + image.damaged.length > 0)) return;
  const what =
    images.length === 0 ? 'no image in it' : `none of the ${images.length} files in it has an md superblock`;
  throw new UserError('VOLUME_NOT_FOUND', `${directory} holds no volume: no ${MANIFEST_NAME}, and ${what}`, {
    hint: 'holdfast create makes a volume; a raw image in the directory is read by its own name',
    details: { directory },
  });
}

/** Regular files that could be images; our own and hidden ones are left out. */
async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory).catch((error: unknown) => {
    throw fileError(directory, 'read', error);
  });
  const paths = entries
    .filter((name) => !['.', MANIFEST_NAME, LOCAL_FLAGS_NAME].some((start) => name.startsWith(start)))
    .sort()
    .map((name) => join(directory, name));
  const kept: string[] = [];
  for (const path of paths) {
    const kind = await stat(path).catch(() => null);
    if (kind?.isFile() && kind.size > 0) kept.push(path);
  }
  return kept;
}

/** The error for a single image that has fewer bytes than it was made with; null: it has them all. */
export function cutShort({ manifest }: Located, image: string, size: number): UserError | null {
  const lacking = (manifest?.sizeBytes ?? 0) - size;
  if (lacking <= 0) return null;
  return new UserError(
    'DATA_UNAVAILABLE',
    `${image} was cut short: it ends at offset ${size}, ${lacking} bytes are missing`,
    {
      hint: `bring the rest back; what is left is read by the image's own name: holdfast read ${image}`,
      details: { image, offsetBytes: size, lengthBytes: lacking },
    },
  );
}

/** Throws for the single image of a volume that is not there, or was cut short. */
export async function assertWhole(located: Located, image: string): Promise<void> {
  if (isRemote(image)) return;
  const { size } = await statOrMissing(image);
  const error = cutShort(located, image, size);
  if (error !== null) throw error;
}

async function statOrMissing(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'EACCES' || code === 'EPERM') {
      throw new UserError('PERMISSION_DENIED', `${path}: permission denied`, {
        details: { image: path },
        cause: error,
      });
    }
    const dangling = await lstat(path).catch(() => null);
    throw new UserError(
      'VOLUME_NOT_FOUND',
      `${path}: ${dangling === null ? 'no such file or directory' : 'the link points nowhere'}`,
      {
        hint: 'VOLUME is a directory made by `holdfast create`, a directory of images, or the images of the members',
        details: { image: path },
        cause: error,
      },
    );
  }
}

/** The same for all names of one file. */
async function identity(path: string): Promise<string> {
  const file = await stat(path).catch(() => null);
  return file === null ? resolve(path) : `${file.dev}:${file.ino}`;
}

/** Whether both are there, and are one file. */
export async function sameFile(a: string, b: string): Promise<boolean> {
  if (isRemote(a) || isRemote(b)) return a === b;
  const [first, second] = await Promise.all([stat(a).catch(() => null), stat(b).catch(() => null)]);
  return first !== null && second !== null && first.dev === second.dev && first.ino === second.ino;
}

async function refuseTwice(args: readonly string[]): Promise<void> {
  const seen = new Map<string, string>();
  for (const arg of args) {
    const real = await identity(arg);
    const before = seen.get(real);
    if (before !== undefined) {
      throw new UserError('USAGE', `${arg} and ${before} are the same file: name every member once`);
    }
    seen.set(real, arg);
  }
}

/** Throws UNSUPPORTED for an NBD URI: as a path it would be made, or not be found. */
export function refuseUri(arg: string): void {
  if (!isRemote(arg)) return;
  throw new UserError('UNSUPPORTED', `${arg}: a new volume is not made on an NBD export in this version`, {
    hint: 'name an image file or a directory',
  });
}

/** What a volume is called when nothing says so. */
export function defaultName(path: string): string {
  return basename(resolve(path)) || 'volume';
}
