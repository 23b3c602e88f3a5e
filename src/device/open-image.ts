/**
 * The one way in which a volume's images are opened. What has to see every call on every image (a recorder that
 * can cut the power, a log of what is overwritten) is put between here, once, and knows nothing of who opens them.
 */
import type { BlockDevice } from './contract.js';
import { ImageFile, type ImageFileOptions } from './image-file.js';

/** What stands between an image and its user. Closing it closes the image. */
export type Interposer = (
  image: BlockDevice,
  options: ImageFileOptions,
) => BlockDevice | Promise<BlockDevice>;

/** Called before an image is opened: who keeps one open that its user has closed gives it up here. */
export type Usher = (path: string, options: ImageFileOptions) => Promise<void>;

interface Interposed {
  readonly interposer: Interposer;
  readonly usher: Usher | undefined;
}

/** The last put in is the nearest to the user. */
const interposed: Interposed[] = [];

/**
 * Puts `interposer` between every image that is opened from now on and its user. Call what it returns to take it out
 * again; devices that are open stay as they are.
 */
export function interpose(interposer: Interposer, usher?: Usher): () => void {
  const entry: Interposed = { interposer, usher };
  interposed.push(entry);
  return () => {
    const at = interposed.indexOf(entry);
    if (at >= 0) interposed.splice(at, 1);
  };
}

/** Images that are no files, and how they are opened. */
export interface Elsewhere {
  isName(path: string): boolean;
  open(path: string, options: ImageFileOptions): Promise<BlockDevice>;
}

const elsewhere: Elsewhere[] = [];

/** Makes names of another kind known, for as long as the process runs, or until what it returns is called. */
export function openElsewhere(kind: Elsewhere): () => void {
  elsewhere.push(kind);
  return () => void elsewhere.splice(elsewhere.indexOf(kind), 1);
}

/** As `ImageFile.open`, with the same errors; what is known to lie elsewhere has errors of its own. */
export async function openImage(path: string, options: ImageFileOptions): Promise<BlockDevice> {
  for (const { usher } of interposed) await usher?.(path, options);
  const kind = elsewhere.find((each) => each.isName(path)) ?? ImageFile;
  let device = await kind.open(path, options);
  try {
    for (const { interposer } of interposed) device = await interposer(device, options);
    return device;
  } catch (error) {
    await device.close();
    throw error;
  }
}
