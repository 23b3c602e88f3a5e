/**
 * Folders of files that belong to a volume and lie beside its images: in the volume's directory, or in IMAGE.holdfast/ beside an
 * image, whatever links to it are called. Which there are is known by a file in each.
 */
import { realpath } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { statOrNull } from '../device/stat-or-null.js';
import { UserError } from '../errors.js';
import type { Located } from './locate.js';
import { readManifest } from './manifest.js';
import { isRemote } from './remote.js';

export interface FolderKind {
  readonly folder: string;
  /** The file without which it is none. */
  readonly marker: string;
  /** For people, of a directory's volume whose images are named one by one: why that is refused. */
  readonly refusal: (folder: string) => string;
}

/** Where a new one is to be; `what`: is to be in it. Throws UNSUPPORTED beside an export. */
export async function newFolder(
  { directory, images, label }: Located,
  folder: string,
  what: string,
): Promise<string> {
  if (directory !== null) return join(directory, folder);
  const image = images.find((one) => !isRemote(one));
  if (image !== undefined) return join(`${await ownName(image)}.holdfast`, folder);
  throw new UserError('UNSUPPORTED', `${label}: there is no place for ${what} beside an NBD export`, {
    hint: 'Do it where the export is served.',
  });
}

/** Of the volume that is this one image: in its directory, where a manifest there says that it is one, else beside it. */
export async function folderOfImage(named: string, folder: string): Promise<string> {
  const image = await ownName(named);
  const directory = dirname(image);
  const manifest = await readManifest(directory);
  const isOfDirectory =
    manifest?.kind === 'single' &&
    manifest.images.some((path) => resolve(directory, path) === resolve(image));
  return isOfDirectory ? join(directory, folder) : join(`${image}.holdfast`, folder);
}

/**
 * The one that is there; null: there is none.
 *
 * @throws UserError REFUSED for members of a directory that were named as images: what is written to them that way would pass by
 *   what is kept there. Not for who looks.
 */
export async function findFolder(
  { directory, images, label }: Located,
  { folder, marker, refusal }: FolderKind,
  { isLook = false } = {},
): Promise<string | null> {
  const existing = async (path: string) => ((await statOrNull(join(path, marker))) === null ? null : path);
  if (directory !== null) return existing(join(directory, folder));
  const local = await Promise.all(images.filter((image) => !isRemote(image)).map(ownName));
  for (const image of local) {
    const found = await existing(join(`${image}.holdfast`, folder));
    if (found !== null) return found;
  }
  for (const image of local) {
    const found = await existing(join(dirname(image), folder));
    if (found === null) continue;
    if (isLook) return found;
    throw new UserError('REFUSED', `${label}: ${refusal(found)}`, {
      hint: `Name the volume by its directory, ${dirname(image)}, then it is found.`,
      details: { image },
    });
  }
  return null;
}

/** The file's, where the image is a link to it. */
async function ownName(image: string): Promise<string> {
  // Of one that is not there, and of one that cannot be reached, who opens it tells.
  const own = await realpath(image).catch(() => image);
  return own === resolve(image) ? image : own;
}
