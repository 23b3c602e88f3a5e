/**
 * The images that a command opens while its power may be cut: recorded, and within reach to the end, so that what the
 * cut leaves can be written onto them.
 *
 * Invariants
 * - An image that was opened for writing stays open, and locked, when the command closes it: nobody comes in between
 *   the command and the cut. It is given up only to the command itself, which opens it again.
 * - One image is one device of the trace, under whatever path and however often it is opened.
 */
import { stat } from 'node:fs/promises';
import type { BlockDevice } from '../device/contract.js';
import { ImageFile, type ImageFileOptions } from '../device/image-file.js';
import { interpose } from '../device/open-image.js';
import type { Recorder } from './recorder.js';

interface Written {
  readonly path: string;
  /** The image itself; null while it is closed. */
  device: BlockDevice | null;
  isUsed: boolean;
}

export class InjectedImages {
  /** By identity. */
  readonly #written = new Map<string, Written>();
  readonly #readers = new Set<BlockDevice>();
  readonly #recorder: Recorder;

  constructor(recorder: Recorder) {
    this.#recorder = recorder;
  }

  /** From now on images are recorded. Returns what ends that. */
  install(): () => void {
    return interpose(
      (image, options) => this.#wrap(image, options),
      (path, options) => this.#makeWay(path, options),
    );
  }

  /**
   * The image behind each device of the trace, open for writing.
   * @throws DeviceError if one had to be opened again and cannot be.
   */
  async open(): Promise<BlockDevice[]> {
    // Of an image that was closed a reader may be left, whose lock would stand in the way of our own.
    for (const reader of this.#readers) await reader.close();
    this.#readers.clear();
    const devices: BlockDevice[] = [];
    for (const written of this.#written.values()) {
      written.device ??= await ImageFile.open(written.path, { readOnly: false });
      devices.push(written.device);
    }
    return devices;
  }

  async close(): Promise<void> {
    for (const reader of this.#readers) await reader.close();
    for (const { device } of this.#written.values()) await device?.close();
  }

  async #wrap(image: BlockDevice, { readOnly }: ImageFileOptions): Promise<BlockDevice> {
    if (readOnly) {
      this.#readers.add(image);
      const close = async (): Promise<void> => {
        this.#readers.delete(image);
        await image.close();
      };
      return this.#recorder.record(image, { close });
    }
    const identity = await identityOf(image.name);
    const written = this.#written.get(identity) ?? { path: image.name, device: image, isUsed: true };
    written.device = image;
    written.isUsed = true;
    this.#written.set(identity, written);
    const close = async (): Promise<void> => {
      written.isUsed = false;
    };
    return this.#recorder.record(image, { identity, close });
  }

  /** An image that is kept open for the cut alone is locked, and its user would be turned away by that. */
  async #makeWay(path: string, { lock = true, create }: ImageFileOptions): Promise<void> {
    if (this.#recorder.isHalted) await new Promise(() => undefined);
    if (!lock || create !== undefined) return;
    const written = this.#written.get(await identityOf(path));
    if (written === undefined || written.isUsed || written.device === null) return;
    await written.device.close();
    written.device = null;
  }
}

/** Which file it is, under whatever name; one that is not there, or not to be seen, is told apart by its path. */
export async function identityOf(path: string): Promise<string> {
  const found = await stat(path, { bigint: true }).catch(() => null);
  return found === null ? path : `${found.dev}:${found.ino}`;
}
