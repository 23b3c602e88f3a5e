/**
 * The manifest of a volume's directory: which images are its members, wherever they lie, and what the volume
 * is called. What the members themselves say (roles, events, geometry) is never in it: md's superblocks are
 * the only truth about an array, and the kernel changes them without knowing of us. It is replaced as a whole.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { fileError, systemCode } from '../device/device-errors.js';
import { replaceJson } from '../device/replace-json.js';
import { UserError } from '../errors.js';

export const MANIFEST_NAME = 'holdfast.json';

const schema = z
  .object({
    formatVersion: z.literal(1),
    name: z.string().min(1),
    /** `raid`: the images are members of one md array. `single`: one image is the volume. */
    kind: z.enum(['raid', 'single']),
    /** What the volume holds: the user's own bytes, or files on extents. */
    format: z.enum(['raw', 'extents']),
    /** The array's set UUID; for a single image, one of the volume's own. */
    uuid: z.string().min(1),
    /** Paths, relative ones from the directory of the manifest. */
    images: z.array(z.string().min(1)).min(1),
    /** The file that the dirty-stripe record is kept in; absent: on the members. A path as those of images. */
    record: z.string().min(1).optional(),
    /** Of the format extents: where the metadata is; absent: on the volume. A path as those of images. */
    metadata: z.string().min(1).optional(),
    /** Of the format extents: where more of its pool is. */
    journalImage: z.string().min(1).optional(),
    /** Of a single image: its size when it was made. Nothing else could tell that it was cut short. */
    sizeBytes: z.number().int().nonnegative().optional(),
  })
  .refine(({ kind, images }) => kind === 'raid' || images.length === 1, {
    message: 'a volume of the kind single is one image',
    path: ['images'],
  });

export type Manifest = z.infer<typeof schema>;

/** null where there is none. Throws REFUSED for one that cannot be understood. */
export async function readManifest(directory: string): Promise<Manifest | null> {
  const path = join(directory, MANIFEST_NAME);
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw fileError(path, 'read', error);
  }
  try {
    return schema.parse(JSON.parse(text));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
    throw new UserError('REFUSED', `${path} is not a manifest that this version understands: ${why}`, {
      hint: "name the members' images as arguments instead of the directory, or move the file away",
      details: { file: path },
      cause: error,
    });
  }
}

/** Resolves when the manifest is durable; until then, and when it fails, the old one counts. */
export async function writeManifest(directory: string, manifest: Manifest): Promise<void> {
  await replaceJson(join(directory, MANIFEST_NAME), manifest);
}
