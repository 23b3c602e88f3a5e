/** Volumes on files that were cut amid writes: as a user finds them. */

import { ImageFile, type ImageFileOptions } from '../../../../src/device/image-file.js';
import { judgeDevices } from '../../../../src/lab/self/raid/arrays.js';
import { RECORD_COPIES } from '../../../../src/raid/record/index.js';
import { fileBytes } from '../../../../src/raid/record/places.js';
import { openVolume } from '../../../../src/volume/index.js';
import type { SeededRandom } from '../../../support/devices/seeded-random.js';
import type { TestVolume } from '../../../support/volumes.js';
import { spoilParity } from './crashed-array.js';
import { openFor } from './watched-array.js';

/** A new sector at the beginning of each of these stripes, of which no parity is right then. Gives what was written. */
export async function cutAmidWrites(
  { images }: Pick<TestVolume, 'images'>,
  stripes: readonly number[],
  random: SeededRandom,
  record?: string,
): Promise<{ offset: number; bytes: Uint8Array }[]> {
  const devices = await Promise.all(images.map((image) => ImageFile.open(image, { readOnly: false })));
  const { freshest } = await judgeDevices(devices);
  const size = fileBytes(freshest!, RECORD_COPIES);
  const file = record === undefined ? null : await openOrCreate(record, size);
  const array = await openFor(devices, file === null ? {} : { recordFile: file });
  const written = stripes.map((stripe) => ({
    offset: stripe * array.core.geometry.stripeDataBytes,
    bytes: random.bytes(512),
  }));
  for (const { offset, bytes } of written) await array.write(offset, bytes);
  await spoilParity(devices, stripes, random);
  await Promise.all([...devices, ...(file === null ? [] : [file])].map((device) => device.close()));
  return written;
}

/** Opened for writing though it is dirty and degraded, and closed; gives what was warned of. */
export async function startByForce({ directory }: Pick<TestVolume, 'directory'>): Promise<string> {
  const warnings: string[] = [];
  const warn = (message: string): void => void warnings.push(message);
  await (await openVolume([directory], { access: 'write', force: true, warn })).close();
  return warnings.join();
}

async function openOrCreate(path: string, size: number): Promise<ImageFile> {
  const options: ImageFileOptions = { readOnly: false };
  return ImageFile.open(path, options).catch(() => ImageFile.open(path, { ...options, create: { size } }));
}
