/**
 * Arrays for benches: made by the product's own `create`, filled once (every block of the images is allocated),
 * and opened layer by layer as a volume is, but with a counter between the array and each image.
 */
import { join } from 'node:path';
import type { WriteBackCache } from '../device/cache/index.js';
import type { BlockDevice } from '../device/contract.js';
import { ImageFile } from '../device/image-file.js';
import type { RaidArray } from '../raid/array.js';
import { examineImage } from '../raid/md/examine.js';
import { judge } from '../raid/md/judge.js';
import { openArray } from '../raid/open.js';
import { createVolume } from '../volume/create.js';
import { cached, closeInOrder } from '../volume/stack.js';
import { CountingDevice, countedCalls, DeviceTally } from './counting-device.js';
import { inOrder, perform } from './workload.js';

export const MIB = 1024 * 1024;
export const MEMBERS = 4;
const CHUNK_BYTES = 64 * 1024;
/** What `create` puts before the data of members this small (raid/create.ts). */
export const DATA_OFFSET_BYTES = MIB;
/** Behind md's superblock at 4 KiB and what mdadm puts behind it (raid/record/places.ts). */
const RECORD_OFFSET_BYTES = 40 * 1024;

export interface BenchArray {
  readonly array: RaidArray;
  /** The cache of a volume, over the array; it takes any range of bytes. */
  readonly volume: WriteBackCache | null;
  /** Of all members' devices. */
  readonly tally: DeviceTally;
  /** Counted as the members are. */
  openImage(path: string): Promise<BlockDevice>;
  /** Flushes what is open for writing; the array is clean then. */
  close(): Promise<void>;
  /** Closes the images as they are, as if the process had been killed. Nothing is being written. */
  abandon(): Promise<void>;
}

/** Paths of the images of a new array whose members hold `memberBytes` each, filled with bytes that vary. */
export async function makeArray(directory: string, name: string, memberBytes: number): Promise<string[]> {
  const { images } = await createVolume({
    directory: join(directory, name),
    members: MEMBERS,
    sizeBytes: memberBytes * (MEMBERS - 1),
    chunkBytes: CHUNK_BYTES,
    layout: 'left-symmetric',
    force: false,
  });
  const opened = await openBenchArray(images, { readOnly: false, cache: true });
  try {
    await fill(opened.volume!);
  } finally {
    await opened.close();
  }
  return [...images];
}

async function fill(device: BlockDevice): Promise<void> {
  const content = varied(MIB);
  const offsets = inOrder(Math.ceil(device.size / MIB), MIB);
  await perform({ title: 'fill', requestBytes: MIB, offsets, depth: 4 }, (offset) =>
    device.write(offset, content.subarray(0, Math.min(MIB, device.size - offset))),
  );
}

/** Bytes of no short period, so that a chunk is not like its neighbours. */
export function varied(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at++) bytes[at] = Math.imul(at, 0x9e3779b1) >>> 24;
  return bytes;
}

/** An array of these images; one that is left out is a missing member. */
export async function openBenchArray(
  images: readonly string[],
  options: {
    readonly readOnly: boolean;
    readonly cache?: boolean;
    /** Whether a dirty-stripe record is kept. It is unless said otherwise. */
    readonly record?: boolean;
  },
): Promise<BenchArray> {
  const tally = new DeviceTally();
  const calls = countedCalls(tally);
  const devices: BlockDevice[] = [];
  const openImage = async (path: string): Promise<BlockDevice> => {
    const image = await ImageFile.open(path, { readOnly: options.readOnly, calls });
    const device = new CountingDevice(image, tally, isRecord);
    devices.push(device);
    return device;
  };
  const closeImages = (): Promise<unknown> => Promise.all(devices.map((device) => device.close()));
  try {
    for (const path of images) await openImage(path);
    const judgement = judge(await Promise.all(devices.map((device) => examineImage(device))));
    const array = await openArray(judgement, {
      name: 'bench',
      readOnly: options.readOnly,
      warn: () => undefined,
      withoutRecord: options.record === false,
    });
    const volume = options.cache === true ? cached(array, array.core.geometry.stripeDataBytes) : null;
    const upper = volume === null ? [] : [() => volume.flush(), () => volume.close()];
    const close = (): Promise<void> => closeInOrder([...upper, () => array.close(), closeImages]);
    const abandon = async (): Promise<void> => {
      array.activity.close();
      array.core.closeArena();
      await closeImages();
    };
    return { array, volume, tally, openImage, close, abandon };
  } catch (error) {
    await closeImages();
    throw error;
  }
}

function isRecord(offset: number): boolean {
  return RECORD_OFFSET_BYTES <= offset && offset < DATA_OFFSET_BYTES;
}
