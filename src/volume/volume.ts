/**
 * A volume, open: what its argument names, put together as a stack of devices, and taken apart in order.
 */
import type { BlockDevice } from '../device/contract.js';
import { ImageFile } from '../device/image-file.js';
import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import type { ExaminedImage, Judgement } from '../raid/md/model.js';
import { assertAllowed } from '../raid/open.js';
import type { SweepOptions } from '../raid/sweep.js';
import { judgeImages, openImages, pathsInUse } from './images.js';
import { type Located, locateVolume } from './locate.js';
import { openRaid } from './raid-stack.js';
import type { Recovery } from './recovery.js';
import { cached, closeInOrder } from './stack.js';

export interface OpenVolumeOptions {
  readonly access: 'read' | 'write';
  /** Start it though it is dirty and degraded. */
  readonly force?: boolean;
  /** Read an image that has a superblock as it is. Read only. */
  readonly asRaw?: boolean;
  readonly warn: (message: string) => void;
  /** Leave what is dirty as it is; whoever asks for this recovers it itself. */
  readonly recover?: boolean;
  readonly sweep?: Omit<SweepOptions, 'checkpoint'>;
}

/** What a single image is written in, where nothing makes a stripe. */
const RAW_STRIPE_BYTES = 1024 * 1024;

export interface Volume {
  readonly label: string;
  readonly located: Located;
  /** The volume's bytes: behind a write-back cache, and to the byte, where it is open for writing. */
  readonly device: BlockDevice;
  /** null for a single image. */
  readonly array: RaidArray | null;
  readonly judgement: Judgement | null;
  readonly recovery: Recovery | null;
  /** Closes an image of the set that does not serve (stale, faulty), so that it can be made a member anew. */
  release(image: string): Promise<void>;
  /** Closes this device, too, with the volume. */
  adopt(device: BlockDevice): void;
  /** Stops what is open in order, top down; the volume is clean after it, if it can be. */
  close(): Promise<void>;
}

export async function openVolume(args: readonly string[], options: OpenVolumeOptions): Promise<Volume> {
  const located = await locateVolume(args);
  if (options.asRaw === true) return openRaw(located, located.images, options, true);
  const found = await openImages(located.images, located.expected, 'look');
  const judgement = judgeImages(located, found.images);
  await found.close();
  if (isSingle(located, found.images)) return openRaw(located, located.images, options, false);
  assertAllowed(judgement, located.label, options.access === 'read');
  return openRaid(located, pathsInUse(judgement), options);
}

/** One image without any superblock, or what a manifest calls one. */
export function isSingle(located: Located, images: readonly ExaminedImage[]): boolean {
  if (located.manifest !== null) return located.manifest.kind === 'single';
  const [only] = images;
  if (only === undefined || images.length > 1 || located.directory !== null) return false;
  return only.superblocks.length === 0 && only.damaged.length === 0;
}

async function openRaw(
  located: Located,
  images: readonly string[],
  options: OpenVolumeOptions,
  asRaw: boolean,
): Promise<Volume> {
  const [image, ...others] = images;
  if (image === undefined || others.length > 0) {
    throw new UserError('USAGE', `${located.label}: a raw volume is one image, ${images.length} were named`);
  }
  const readOnly = options.access === 'read';
  if (asRaw && !readOnly) {
    throw new UserError('REFUSED', `${image}: --as-raw reads only: writing one member behind its array's back would make its parity wrong`);
  }
  const file = await ImageFile.open(image, { readOnly });
  const device = readOnly ? file : cached(file, RAW_STRIPE_BYTES);
  return {
    label: located.label,
    located,
    device,
    array: null,
    judgement: null,
    recovery: null,
    release: () => Promise.resolve(),
    adopt: () => undefined,
    close: () => closeInOrder([() => device.flush(), () => device.close(), () => file.close()]),
  };
}
