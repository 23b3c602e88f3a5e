/**
 * A volume and its secondary, promoted, both written since: the old primary and the new one. In a folder whose state can be put back, so
 * that the same can be done to it again and again.
 */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { open, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { openImage } from '../../../src/device/open-image.js';
import { createVolume, openVolume, promoteSecondary, type Volume } from '../../../src/volume/index.js';
import { enableTracking } from '../../../src/volume/replication/enable.js';
import { placesOfImage } from '../../../src/volume/replication/places.js';
import { VolumeReplicas } from '../../../src/volume/replication/volume-replicas.js';

export const BLOCK_BYTES = 4096;
const SIZE = 1024 * 1024;
const OPTIONS = { mode: 'async', onLoss: 'continue', force: false, limits: {}, usesAll: true } as const;

export interface Tracked extends Pick<Volume, 'device'> {
  readonly tracking: Pick<Volume['tracking'], 'replicas'>;
}

export class Diverged {
  #lives = 0;
  #keptFrom = '';
  private constructor(private readonly folder: string) {}

  /** In sync, and nobody has promoted anything yet. */
  static async inSync(folder: string): Promise<Diverged> {
    const pair = new Diverged(folder);
    const directory = pair.primary;
    await createVolume({
      ...{ directory, members: 1, sizeBytes: SIZE, chunkBytes: 65536, layout: 'left-symmetric' },
      ...{ force: false, limits: {} },
    });
    await pair.with(directory, async (volume) => void (await enableTracking(volume)));
    await pair.with(directory, async (volume) => {
      await volume.device.write(0, randomBytes(SIZE / 2));
      await volume.tracking.replicas!.add({ ...OPTIONS, to: pair.second });
      await pair.sync(volume);
    });
    return pair;
  }

  static async make(folder: string): Promise<Diverged> {
    const pair = await Diverged.inSync(folder);
    await promoteSecondary(pair.second);
    await pair.write(pair.second, 10, 3);
    await pair.write(pair.primary, 12, 4);
    await pair.write(pair.primary, 100, 1);
    return pair;
  }

  get primary(): string {
    return join(this.folder, this.#live, 'v');
  }

  get primaryImage(): string {
    return join(this.primary, 'disk.img');
  }

  get second(): string {
    return join(this.folder, this.#live, 's.img');
  }

  async keep(): Promise<void> {
    await this.#copy(this.#live, 'kept');
    this.#keptFrom = this.#live;
  }

  /**
   * In a place of its own each time: work whose power was cut goes on in this process, and may still write, where it was, what
   * does not go through a device.
   */
  async putBack(): Promise<void> {
    this.#lives += 1;
    await this.#copy('kept', this.#live);
    for (const name of [this.primary, this.second]) {
      const { replicas } = await placesOfImage(name === this.primary ? this.primaryImage : name);
      const list = await readFile(replicas, 'utf8').catch(() => null);
      if (list !== null) await writeFile(replicas, list.replaceAll(`/${this.#keptFrom}/`, `/${this.#live}/`));
    }
  }

  get #live(): string {
    return `live-${this.#lives}`;
  }

  async with<T>(name: string, use: (volume: Volume) => Promise<T>): Promise<T> {
    const volume = await openVolume([name], { access: 'write', warn: () => {} });
    try {
      return await use(volume);
    } finally {
      await volume.close();
    }
  }

  /** Without the cache of a volume, whose memory a power cut would not give back. */
  async withBare<T>(image: string, use: (volume: Tracked) => Promise<T>): Promise<T> {
    const device = await openImage(image, { readOnly: false });
    try {
      const replicas = await VolumeReplicas.open(await placesOfImage(image), device, () => {});
      try {
        return await use({ device: replicas.device, tracking: { replicas } });
      } finally {
        await replicas.close();
      }
    } finally {
      await device.close();
    }
  }

  async write(name: string, block: number, count: number): Promise<void> {
    await this.with(name, (volume) =>
      volume.device.write(block * BLOCK_BYTES, randomBytes(count * BLOCK_BYTES)),
    );
  }

  /** Behind everybody's back. */
  async writeRaw(image: string, block: number, bytes: Uint8Array): Promise<void> {
    const file = await open(image, 'r+');
    await file.write(bytes, 0, bytes.length, block * BLOCK_BYTES);
    await file.close();
  }

  /** The old primary becomes a secondary of the new one. */
  async rejoin(volume: Tracked): Promise<number> {
    const { discardedBlocks } = await volume.tracking.replicas!.rejoin({ ...OPTIONS, to: this.primary });
    return discardedBlocks;
  }

  /** Blocks that were copied. */
  async sync(volume: Tracked): Promise<number> {
    await volume.device.flush();
    const { name } = volume.tracking.replicas!.list()[0]!;
    const { copiedBlocks } = await volume.tracking.replicas!.sync(name, {
      signal: new AbortController().signal,
    });
    return copiedBlocks;
  }

  async contents(): Promise<{ primary: Buffer; second: Buffer }> {
    return { primary: await readFile(this.primaryImage), second: await readFile(this.second) };
  }

  async #copy(from: string, to: string): Promise<void> {
    const [source, target] = [join(this.folder, from), join(this.folder, to)];
    await rm(target, { recursive: true, force: true });
    await promisify(execFile)('cp', ['-a', '--sparse=always', source, target]);
  }
}
