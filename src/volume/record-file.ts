/**
 * A dirty-stripe record in a file of its own, on another disk than the members or where they have no room for it.
 * Without it a volume that was not closed is resynced whole, and ranges that were in doubt are forgotten.
 */
import { isAbsolute, join } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { DeviceError } from '../device/contract.js';
import { openImage } from '../device/open-image.js';
import { UserError } from '../errors.js';
import { examineImage } from '../raid/md/examine.js';
import type { Judgement, Superblock } from '../raid/md/model.js';
import { setUuidBytes } from '../raid/md/uuid.js';
import { fileBytes, filePlaces, RECORD_COPIES, readPlace } from '../raid/record/index.js';
import { firstContent } from './blank.js';
import type { Located } from './locate.js';
import type { OpenVolumeOptions } from './model.js';

type Options = Pick<OpenVolumeOptions, 'access' | 'record' | 'warn'>;

/** Where the record is to be, if not on the members. */
export function recordPath({ manifest, directory }: Located, named: string | undefined): string | null {
  if (named !== undefined) return named;
  const path = manifest?.record;
  if (path === undefined) return null;
  return isAbsolute(path) || directory === null ? path : join(directory, path);
}

/** null: there is none to be had, or the members have it. Who writes makes one that is not there. */
export async function openRecordFile(
  located: Located,
  { freshest }: Judgement,
  options: Options,
): Promise<BlockDevice | null> {
  const path = recordPath(located, options.record);
  if (path === null || freshest === null) return null;
  const readOnly = options.access === 'read';
  const size = fileBytes(freshest, RECORD_COPIES);
  try {
    return await checked(await openImage(path, { readOnly, lock: !readOnly }), freshest, size);
  } catch (error) {
    if (!(error instanceof DeviceError) || error.code !== 'VOLUME_NOT_FOUND') throw error;
    options.warn(
      `the record file ${path} is not there: if the volume was not closed, all of it is resynced, and what was in doubt is not known any more`,
    );
    return readOnly ? null : await openImage(path, { readOnly, create: { size } });
  }
}

/** Throws for a file that holds anything but records of this array: it is not ours to overwrite. */
async function checked(file: BlockDevice, superblock: Superblock, size: number): Promise<BlockDevice> {
  try {
    const { superblocks, damaged } = await examineImage(file);
    if (superblocks.length + damaged.length > 0) throw notARecord(file, 'it is a member of an array');
    if (file.size < size) throw notARecord(file, `it has ${file.size} bytes, ${size} are needed`);
    const uuid = setUuidBytes(superblock);
    const places = filePlaces(file, superblock, RECORD_COPIES);
    const found = (await Promise.all(places.map((place) => readPlace(place, uuid)))).flat();
    if (found.every(({ record }) => record === null) && !file.readOnly) {
      const offset = await firstContent(file);
      if (offset !== null) throw notARecord(file, `it holds something else, at offset ${offset}`);
    }
    return file;
  } catch (error) {
    await file.close();
    throw error;
  }
}

function notARecord(file: BlockDevice, why: string): UserError {
  return new UserError('REFUSED', `${file.name} is no record of this volume: ${why}`, {
    hint: 'name the file that the record was kept in, or one that is not there yet',
    details: { image: file.name },
  });
}
