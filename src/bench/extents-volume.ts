/**
 * Volumes of files for benches: made by the product's own `create`, opened by its own `openVolume`, with a counter at
 * every image. What reaches the images is counted in three places, because they are paid for different things: the bytes
 * of extents (`data`), the metadata, which has an image of its own here, and what an array writes about itself
 * (superblocks and dirty-stripe records, before the data of its members).
 */
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import { ImageFile } from '../device/image-file.js';
import { interpose } from '../device/open-image.js';
import type { ExtentFile, ExtentStore } from '../extents/index.js';
import { createVolume, openVolume, type Volume } from '../volume/index.js';
import { closeInOrder } from '../volume/stack.js';
import type { Counts } from './bench.js';
import { DATA_OFFSET_BYTES, type MEMBERS, MIB, varied } from './bench-array.js';
import { CountingDevice, DeviceTally, measured } from './counting-device.js';
import { inOrder } from './workload.js';

export const BLOCK_BYTES = 4096;
const CHUNK_BYTES = 64 * 1024;
const FILE = 'disk';

export interface VolumeTally {
  readonly data: DeviceTally;
  readonly metadata: DeviceTally;
  readonly records: DeviceTally;
}

export interface BenchVolume {
  /** Its directory; its metadata image lies beside it. */
  readonly path: string;
  readonly kind: 'raid' | 'single';
  readonly images: readonly string[];
}

export interface VolumeShape {
  readonly members: 1 | typeof MEMBERS;
  /** Absent: what `create` takes. null: the volume holds no files, it is of the format `raw`. */
  readonly extentBytes?: number | null;
}

export interface BenchFile {
  readonly file: ExtentFile;
  readonly store: ExtentStore;
  readonly extentBytes: number;
  readonly tally: VolumeTally;
  close(): Promise<void>;
}

const METADATA = '.metadata';

/** Sparse, as every new one. */
export async function makeVolume(
  path: string,
  sizeBytes: number,
  { members, extentBytes }: VolumeShape,
): Promise<BenchVolume> {
  const { kind, images } = await createVolume({
    directory: path,
    members,
    sizeBytes,
    chunkBytes: CHUNK_BYTES,
    layout: 'left-symmetric',
    ...(extentBytes === null ? {} : { extents: { metadata: `${path}${METADATA}`, extentBytes } }),
    force: false,
  });
  return { path, kind, images };
}

/**
 * Gives all of its images room on the disk, with the bytes that they have. The extents that a journal comes to use for the
 * first time would else be slower than those which are written again.
 */
export async function allocate({ images }: BenchVolume): Promise<void> {
  const piece = Buffer.alloc(MIB);
  for (const image of images) {
    const handle = await open(image, 'r+');
    try {
      for (let at = 0; ; at += MIB) {
        const { bytesRead } = await handle.read(piece, 0, MIB, at);
        if (bytesRead === 0) break;
        await handle.write(piece, 0, bytesRead, at);
      }
      await handle.datasync();
    } finally {
      await handle.close();
    }
  }
}

/** A volume is so many times its file: the journal has twice the room of it. */
export const VOLUME_SHARE = 3;

/** A new file that is fully used, of a volume that is open for writing with it. */
export async function openBenchFile(made: BenchVolume, fileBytes: number): Promise<BenchFile> {
  const { volume, tally } = await openCounted(made, 'write');
  try {
    const store = await volume.files!.store();
    await store.files.create(FILE, { sizeBytes: fileBytes });
    const file = await store.openFile(FILE, { access: 'write' });
    await fill(file, fileBytes);
    const close = () => closeInOrder([() => file.close(), () => volume.close()]);
    return { file, store, extentBytes: store.extentBytes, tally, close };
  } catch (error) {
    await volume.close();
    throw error;
  }
}

async function fill(file: ExtentFile, fileBytes: number): Promise<void> {
  const content = varied(8 * MIB);
  for (const offset of inOrder(Math.ceil(fileBytes / content.length), content.length)) {
    await file.write(offset, content.subarray(0, Math.min(content.length, fileBytes - offset)));
    await file.commit({ isComplete: true });
  }
}

/** With its files open, where it has any. Every image that is opened for it is counted. */
export async function openCounted(
  { path, kind }: BenchVolume,
  access: 'read' | 'write',
): Promise<{ readonly volume: Volume; readonly tally: VolumeTally }> {
  const tally = newTally();
  const { data, metadata, records } = tally;
  const dataFrom = kind === 'raid' ? DATA_OFFSET_BYTES : 0;
  const remove = interpose((image, { readOnly }) => {
    if (image.name.endsWith(METADATA)) return new CountingDevice(image, metadata);
    // As a volume of one image has it (volume/volume.ts): else a cache would lie over the counter, and take what is counted.
    if (kind === 'single' && !readOnly && image instanceof ImageFile) image.takeBytes();
    return new CountingDevice(image, (offset) => (offset < dataFrom ? records : data));
  });
  try {
    const volume = await openVolume([path], { access, warn: () => undefined });
    try {
      await volume.files?.store();
    } catch (error) {
      await volume.close();
      throw error;
    }
    return { volume, tally };
  } finally {
    remove();
  }
}

function newTally(): VolumeTally {
  return { data: new DeviceTally(), metadata: new DeviceTally(), records: new DeviceTally() };
}

export interface MediaSample {
  readonly seconds: number;
  readonly data: Counts;
  readonly metadata: Counts;
  readonly records: Counts;
}

/**
 * How long `work` takes, and what the images are asked for meanwhile. What it leaves to be done in the background is to be
 * over when it ends.
 */
export async function measuredMedia(tally: VolumeTally, work: () => Promise<unknown>): Promise<MediaSample> {
  for (const each of [tally.metadata, tally.records]) each.take();
  const { seconds, counts } = await measured(tally.data, work);
  return { seconds, data: counts!, metadata: tally.metadata.take(), records: tally.records.take() };
}

/** Of a sample, by the names that are shown. */
export function mediaCounts({ data, metadata }: MediaSample) {
  return {
    written: data.writtenBytes!,
    read: data.readBytes!,
    metadataWritten: metadata.writtenBytes!,
  };
}

/** Files of a size on volumes of all kinds: each is made when it is first asked for, and closed with all the others. */
export class BenchFiles {
  readonly #files = new Map<string, Promise<BenchFile>>();

  constructor(
    private readonly directory: string,
    private readonly fileBytes: number,
  ) {}

  get(shape: VolumeShape): Promise<BenchFile> {
    const name = `files-${this.fileBytes}-${shape.members}-${shape.extentBytes ?? 'default'}`;
    const found = this.#files.get(name);
    if (found !== undefined) return found;
    const opened = this.#open(join(this.directory, name), shape);
    this.#files.set(name, opened);
    return opened;
  }

  async #open(path: string, shape: VolumeShape): Promise<BenchFile> {
    const volume = await makeVolume(path, VOLUME_SHARE * this.fileBytes, shape);
    await allocate(volume);
    return openBenchFile(volume, this.fileBytes);
  }

  /** Whoever asked for one that could not be made has been told why. */
  async close(): Promise<void> {
    const opened = await Promise.allSettled(this.#files.values());
    await closeInOrder(
      opened.flatMap((each) => (each.status === 'fulfilled' ? [() => each.value.close()] : [])),
    );
  }
}

/** `4 KiB`, `1 MiB`: whole ones. */
export function formatBytes(bytes: number): string {
  return bytes % MIB === 0 ? `${bytes / MIB} MiB` : `${bytes / 1024} KiB`;
}
