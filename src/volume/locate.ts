/**
 * What a VOLUME argument names: a directory with a manifest, a directory of images, one image, or several.
 * Nothing is opened here but the manifest.
 */
import { lstat, readdir, realpath, stat } from 'node:fs/promises';
import { basename, isAbsolute, join, relative, resolve } from 'node:path';
import { UserError } from '../errors.js';
import { MANIFEST_NAME, type Manifest, readManifest } from './manifest.js';

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
  for (const arg of args) refuseUri(arg);
  const found = await Promise.all(args.map((arg) => statOrMissing(arg)));
  const directories = found.filter((entry) => entry.isDirectory());
  if (directories.length > 0 && more.length > 0) {
    throw new UserError('USAGE', 'name one directory, or the images of the members, not both');
  }
  if (directories.length > 0) return locateDirectory(first);
  await refuseTwice(args);
  return { label: args.length === 1 ? first : `${first} and ${more.length} more`, directory: null, manifest: null, images: args, expected: new Set() };
}

/** How the manifest names an image: relative where it lies below the directory. */
export function manifestPath(directory: string, image: string): string {
  const path = relative(resolve(directory), resolve(image));
  return path.startsWith('..') || isAbsolute(path) ? resolve(image) : path;
}

async function locateDirectory(directory: string): Promise<Located> {
  const manifest = await readManifest(directory);
  const named = (manifest?.images ?? []).map((path) => (isAbsolute(path) ? path : join(directory, path)));
  const identities = new Set(await Promise.all(named.map(identity)));
  const others: string[] = [];
  for (const path of await filesIn(directory)) if (!identities.has(await identity(path))) others.push(path);
  const images = manifest?.kind === 'single' ? named : [...named, ...others];
  return { label: directory, directory, manifest, images, expected: new Set(named) };
}

/** Regular files that could be images; our own and hidden ones are left out. */
async function filesIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory);
  const paths = entries
    .filter((name) => !name.startsWith('.') && !name.startsWith(MANIFEST_NAME))
    .sort()
    .map((name) => join(directory, name));
  const kept: string[] = [];
  for (const path of paths) {
    const kind = await stat(path).catch(() => null);
    if (kind?.isFile() && kind.size > 0) kept.push(path);
  }
  return kept;
}

async function statOrMissing(path: string) {
  try {
    return await stat(path);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : '';
    if (code === 'EACCES' || code === 'EPERM') {
      throw new UserError('PERMISSION_DENIED', `${path}: permission denied`, { details: { image: path }, cause: error });
    }
    const dangling = await lstat(path).catch(() => null);
    throw new UserError('VOLUME_NOT_FOUND', `${path}: ${dangling === null ? 'no such file or directory' : 'the link points nowhere'}`, {
      hint: 'VOLUME is a directory made by `holdfast create`, a directory of images, or the images of the members',
      details: { image: path },
      cause: error,
    });
  }
}

async function identity(path: string): Promise<string> {
  return realpath(path).catch(() => resolve(path));
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

function refuseUri(arg: string): void {
  if (!/^nbds?(\+unix)?:\/\//.test(arg)) return;
  throw new UserError('UNSUPPORTED', `${arg}: NBD volumes are not supported in this version`);
}

/** What a volume is called when nothing says so. */
export function defaultName(path: string): string {
  return basename(resolve(path)) || 'volume';
}
