/**
 * Opens candidate images and finds out what they are: once without locks to see which count, and, for who
 * reads or writes, a second time with locks, judged anew: between the two looks another process may have
 * changed everything.
 */

import { type BlockDevice, DeviceError } from '../device/contract.js';
import { systemCode } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import { examineImage } from '../raid/md/examine.js';
import { judge } from '../raid/md/judge.js';
import type { ExaminedImage, Judgement } from '../raid/md/model.js';
import type { Located } from './locate.js';

/**
 * `look` takes no lock and is not stopped by one: status and examine also want to see a volume that is in use.
 */
export type Access = 'look' | 'read' | 'write';

export interface OpenedImages {
  readonly images: readonly ExaminedImage[];
  /** Named by the manifest and not there, or not to be opened: path and why. */
  readonly absent: ReadonlyMap<string, string>;
  close(): Promise<void>;
}

/** Throws what stops it from opening an image that is there: never takes an unreadable one for a missing one. */
export async function openImages(
  paths: readonly string[],
  expected: ReadonlySet<string>,
  access: Access,
): Promise<OpenedImages> {
  const images: ExaminedImage[] = [];
  const absent = new Map<string, string>();
  const close = async () => {
    await Promise.all(images.map((image) => image.device.close()));
  };
  try {
    for (const path of paths) {
      const device = await openOne(path, access, expected, absent);
      if (device !== null) images.push(await examineImage(device));
    }
  } catch (error) {
    await close();
    throw error;
  }
  return { images, absent, close };
}

async function openOne(
  path: string,
  access: Access,
  expected: ReadonlySet<string>,
  absent: Map<string, string>,
): Promise<BlockDevice | null> {
  try {
    return await openImage(path, { readOnly: access !== 'write', lock: access !== 'look' });
  } catch (error) {
    const missing = error instanceof DeviceError && systemCode(error.fault.cause) === 'ENOENT';
    if (!missing || !expected.has(path)) throw error;
    absent.set(path, 'the image is not there');
    return null;
  }
}

export function judgeImages(located: Located, images: readonly ExaminedImage[]): Judgement {
  const uuid = located.manifest?.kind === 'raid' ? located.manifest.uuid : undefined;
  return judge(images, uuid === undefined ? {} : { setUuid: uuid });
}

/** What a look without locks finds; the images are closed again. */
export async function lookAndJudge(
  located: Located,
): Promise<Omit<OpenedImages, 'close'> & { readonly judgement: Judgement }> {
  const { images, absent, close } = await openImages(located.images, located.expected, 'look');
  try {
    return { images, absent, judgement: judgeImages(located, images) };
  } finally {
    await close();
  }
}

/** Those of the images that the array needs, or that claim to be of it: what is to be locked. */
export function pathsInUse(judgement: Judgement): string[] {
  return judgement.members.flatMap((member) =>
    member.image !== null && member.state !== 'foreign' && member.superblock !== null ? [member.image] : [],
  );
}
