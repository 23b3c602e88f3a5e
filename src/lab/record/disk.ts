/**
 * The disk that is recorded, and its server: an image, an export of another server, or a volume, of which each image is
 * recorded and the volume is served.
 *
 * What becomes of it at the end differs. A flush that no client asked for is none of the trace: what it has not flushed is
 * volatile. A volume is closed all the same, which flushes its images and writes superblocks: that is work of its own, and a
 * cut amid it is one to be looked at.
 */
import { realpath, stat } from 'node:fs/promises';
import type { BlockDevice } from '../../device/contract.js';
import { isPunchable } from '../../device/file-holes.js';
import { ImageFile } from '../../device/image-file.js';
import { statOrNull } from '../../device/stat-or-null.js';
import { UserError } from '../../errors.js';
import { NbdDevice } from '../../nbd/client/nbd-device.js';
import { isNbdUri, parseNbdUri } from '../../nbd/client/uri.js';
import { NbdServer } from '../../nbd/server/server.js';
import { defaultName, locateVolume } from '../../volume/locate.js';
import { assertNoSecondary } from '../../volume/replication/no-secondary.js';
import { findPrimaryPlaces } from '../../volume/replication/places.js';
import { ServedVolume } from '../../volume/serve.js';
import { findSnapshotPlaces } from '../../volume/snapshots/places.js';
import type { CopyOptions } from './copy-base.js';
import { RecordedFiles } from './recorded-files.js';
import { RecordedImages } from './recorded-images.js';
import type { Recording } from './recording.js';
import { changedFiles, smallFilesOf } from './volume-files.js';

export interface RecordedDisk {
  readonly server: NbdServer;
  readonly exportName: string;
  /** Requests in flight end, and what belongs to the trace is done. Stopping twice is allowed. */
  stop(): Promise<void>;
  /** After it, and after the recording: the rest. Closing twice is allowed. */
  close(): Promise<void>;
}

export interface DiskOptions extends CopyOptions {
  /** Of an image that is not there yet, and is made. */
  readonly sizeBytes?: number | undefined;
  /** It is a file by FUSE too, to which any bytes may be written: clients are not held to sectors then. */
  readonly asFile?: boolean | undefined;
  readonly warn: (message: string) => void;
  /** What is thrown and is a fault of ours. */
  readonly onFault: (error: unknown) => void;
}

/** @throws UserError FILE_NOT_FOUND, USAGE, and what opening an image, an export or a volume throws. */
export async function openDisk(
  name: string,
  recording: Recording,
  options: DiskOptions,
): Promise<RecordedDisk> {
  if (isNbdUri(name)) return openExport(name, recording, options);
  const found = await statOrNull(name);
  if (found === null) return openImage(name, await madeImage(name, options), recording, options);
  if (found.isDirectory() || (await hasParts(name))) return openVolume(name, recording, options);
  const image = await ImageFile.open(name, { readOnly: false });
  return openImage(name, await ofSize(image, options), recording, options);
}

async function madeImage(name: string, { sizeBytes }: DiskOptions): Promise<BlockDevice> {
  if (sizeBytes !== undefined) return ImageFile.open(name, { readOnly: false, create: { size: sizeBytes } });
  throw new UserError('FILE_NOT_FOUND', `${name}: no such image`, {
    hint: 'With --size SIZE it is made: a sparse file, all zeroes.',
    details: { image: name },
  });
}

async function ofSize(image: BlockDevice, { sizeBytes }: DiskOptions): Promise<BlockDevice> {
  const { name, size } = image;
  if (sizeBytes === undefined || sizeBytes === size) return image;
  await image.close();
  throw new UserError('USAGE', `${name} is there, and has ${size} bytes, not ${sizeBytes}`, {
    hint: 'Leave out --size, or name an image that is not there yet.',
    details: { image: name, sizeBytes: size },
  });
}

function refuseSize(name: string, what: string, { sizeBytes }: DiskOptions): void {
  if (sizeBytes === undefined) return;
  throw new UserError('USAGE', `--size: ${name} is ${what}, and has the size that it has`, {
    hint: 'Leave out --size.',
  });
}

/** Replicas or snapshots, which have to hear of what is written: then it is not the image alone. Throws where they could not. */
async function hasParts(image: string): Promise<boolean> {
  const located = await locateVolume([image]);
  await assertNoSecondary(image, false);
  const found = [await findPrimaryPlaces(located), await findSnapshotPlaces(located)];
  return found.some((places) => places !== null);
}

async function openExport(uri: string, recording: Recording, options: DiskOptions): Promise<RecordedDisk> {
  refuseSize(uri, 'an NBD export', options);
  const { exportName } = parseNbdUri(uri);
  const device = await NbdDevice.open(uri, { readOnly: false });
  return serveDevice(device, { name: exportName || 'disk', zeroesFast: false }, recording, options);
}

async function openImage(
  name: string,
  image: BlockDevice,
  recording: Recording,
  options: DiskOptions,
): Promise<RecordedDisk> {
  try {
    const found = await stat(name);
    const tail = found.isFile() ? found.size - image.size : 0;
    if (tail > 0) options.warn(`${name} ends amid a sector: its last ${tail} bytes are left out`);
    const shown = { name: defaultName(name), zeroesFast: await isPunchable(name) };
    return await serveDevice(image, shown, recording, options);
  } catch (error) {
    await image.close();
    throw error;
  }
}

async function serveDevice(
  device: BlockDevice,
  { name, zeroesFast }: { readonly name: string; readonly zeroesFast: boolean },
  recording: Recording,
  options: DiskOptions,
): Promise<RecordedDisk> {
  try {
    const recorded = await recording.record(device, device.name, options);
    const minimumBlockBytes = smallestWrite(options);
    const shown = { name, description: device.name, device: recorded, zeroesFast, minimumBlockBytes };
    const server = new NbdServer({ exports: [{ ...shown, cache: 'writeback' }], onFault: options.onFault });
    const close = async (): Promise<void> => {
      try {
        await device.flush();
      } finally {
        await device.close();
      }
    };
    let closed: Promise<void> | null = null;
    return {
      server,
      exportName: name,
      stop: () => server.stop(undefined, false),
      close: () => {
        closed ??= close();
        return closed;
      },
    };
  } catch (error) {
    await device.close();
    throw error;
  }
}

/** nbdfuse hands on what is written as it is, or refuses it where the server says that it takes only sectors. */
function smallestWrite({ asFile = false }: DiskOptions): number | undefined {
  return asFile ? 1 : undefined;
}

async function listsOf(named: string): Promise<string[]> {
  const located = await locateVolume([named]);
  const [replicas, snapshots] = [await findPrimaryPlaces(located), await findSnapshotPlaces(located)];
  return [replicas?.replicas, snapshots?.list].filter((path) => path !== undefined);
}

async function openVolume(name: string, recording: Recording, options: DiskOptions): Promise<RecordedDisk> {
  refuseSize(name, 'a volume', options);
  const { signal = new AbortController().signal, onProgress = () => undefined, warn, onFault } = options;
  const named = await realpath(name);
  const files = await smallFilesOf(named);
  recording.volume(named, files);
  const lists = new RecordedFiles(recording, files);
  const ends = [new RecordedImages(recording, options).install(), lists.install()];
  const uninstall = (): void => {
    for (const end of ends) end();
  };
  try {
    await lists.know(await listsOf(named));
    const served = await ServedVolume.open([named], {
      access: 'write',
      exportNames: [],
      cache: 'writeback',
      sweep: { signal, onProgress },
      warn,
      onFault,
      over: (disk, exportName) => recording.recordDisk(disk, exportName),
    });
    const stop = async (): Promise<void> => {
      try {
        await served.stop();
        const changed = changedFiles(files, await smallFilesOf(named));
        for (const path of lists.paths) changed.delete(path);
        recording.files(changed);
      } finally {
        uninstall();
      }
    };
    return { server: served.server, exportName: served.exportName, stop, close: async () => undefined };
  } catch (error) {
    uninstall();
    throw error;
  }
}
