/** Volumes as files that are damaged on purpose: images of fixtures, and changes of what lies in an image. */
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockDevice } from '../../../src/device/contract.js';
import { ImageFile } from '../../../src/device/image-file.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import { SUPERBLOCK_V1 } from '../../../src/raid/md/fields-superblock.js';
import type { Superblock } from '../../../src/raid/md/model.js';
import { checksumV1 } from '../../../src/raid/md/superblock-v1.js';
import { setUuidBytes } from '../../../src/raid/md/uuid.js';
import {
  type FoundRecord,
  goodRecords,
  memberPlace,
  type RecordContent,
  readPlace,
} from '../../../src/raid/record/index.js';
import { loadMetadata } from '../../support/md-fixtures.js';

/** The members of an array of which only the metadata is there, as sparse files in a new folder. */
export async function unpackMetadata(name: string, directory: string): Promise<string[]> {
  await mkdir(directory, { recursive: true });
  const { devices } = await loadMetadata(name);
  const paths: string[] = [];
  for (const device of devices) {
    const path = join(directory, device.name);
    const file = await ImageFile.open(path, { readOnly: false, create: { size: device.size } });
    for (const { kind, offset, length } of await device.extents(0, device.size)) {
      if (kind !== 'data') continue;
      const bytes = new Uint8Array(length);
      await device.read(offset, bytes);
      await file.write(offset, bytes);
    }
    await file.close();
    paths.push(path);
  }
  return paths;
}

/** Overwrites bytes of a file, wherever they lie. */
export async function overwrite(path: string, offset: number, bytes: Uint8Array): Promise<void> {
  const file = await open(path, 'r+');
  try {
    await file.write(bytes, 0, bytes.byteLength, offset);
  } finally {
    await file.close();
  }
}

/** Turns all bits of a byte round. */
export async function rot(path: string, offset: number): Promise<void> {
  const byte = await bytesAt(path, offset, 1);
  await overwrite(
    path,
    offset,
    byte.map((value) => value ^ 0xff),
  );
}

export async function bytesAt(path: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(path, 'r');
  try {
    const bytes = new Uint8Array(length);
    await file.read(bytes, 0, length, offset);
    return bytes;
  } finally {
    await file.close();
  }
}

/** Images, open for writing while `use` runs. */
export async function withImages<T>(
  paths: readonly string[],
  use: (devices: readonly BlockDevice[]) => Promise<T>,
): Promise<T> {
  const devices = await Promise.all(paths.map((path) => ImageFile.open(path, { readOnly: false })));
  try {
    return await use(devices);
  } finally {
    for (const device of devices) {
      await device.flush();
      await device.close();
    }
  }
}

export function superblockIn(path: string): Promise<Superblock> {
  return withImages([path], async ([device]) => (await examineImage(device!)).superblocks[0]!);
}

/** Changes a superblock of version 1, and makes its checksum right again. */
export async function changeFields(
  path: string,
  change: (view: ReturnType<(typeof SUPERBLOCK_V1)['at']>, raw: Uint8Array) => void,
): Promise<void> {
  const { raw, superOffset } = await superblockIn(path);
  const bytes = raw.slice();
  const view = SUPERBLOCK_V1.at(bytes);
  change(view, bytes);
  view.setNumber('sb_csum', checksumV1(bytes, view.number('max_dev')));
  await overwrite(path, superOffset, bytes);
}

export interface GoodRecord extends FoundRecord {
  readonly image: string;
  /** In the image. */
  readonly offset: number;
  readonly record: RecordContent;
  readonly setUuid: Uint8Array;
}

/** The good dirty-stripe records of a member, the newest first. */
export function recordsIn(path: string): Promise<GoodRecord[]> {
  return withImages([path], async ([device]) => {
    const superblock = (await examineImage(device!)).superblocks[0]!;
    const place = await memberPlace(device!, superblock);
    if ('reason' in place) throw new Error(place.reason);
    const setUuid = setUuidBytes(superblock);
    const found = await readPlace(place, setUuid);
    return goodRecords(found)
      .map((each) => ({
        ...each,
        image: path,
        offset: place.offset + each.slot * place.slotBytes,
        setUuid,
      }))
      .sort((a, b) => Number(b.record.generation - a.record.generation));
  });
}
