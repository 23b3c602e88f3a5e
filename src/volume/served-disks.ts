/**
 * What of a volume clients see as disks: the volume itself, or, of the format `extents`, files of it, each under its
 * own name. The commands of this machine reach every file, whether it is served to others or not.
 */
import { allEnded } from '../device/all-ended.js';
import type { BlockDevice } from '../device/contract.js';
import { isPunchable } from '../device/file-holes.js';
import { UserError } from '../errors.js';
import { type ExtentStore, FileDevice, type FileInfo } from '../extents/index.js';
import { noSuchFile } from '../metadata/server/refusals.js';
import type { CacheMode, Export } from '../nbd/server/export.js';
import type { NbdServer } from '../nbd/server/server.js';
import { defaultName } from './locate.js';
import type { Volume } from './model.js';
import { isRemote } from './remote.js';
import { ServedSnapshots } from './served-snapshots.js';

export interface DiskOptions {
  readonly access: 'read' | 'write';
  readonly cache: CacheMode;
  /**
   * A name for the volume, its own unless said otherwise; or the files that are served, all of them unless said
   * otherwise. The first one is the empty name too.
   */
  readonly exportNames: readonly string[];
  /** What stands between each disk and its clients; closing it closes the disk. */
  readonly over?: ((disk: BlockDevice, name: string) => BlockDevice) | undefined;
}

export class ServedDisks {
  private constructor(
    readonly exports: readonly Export[],
    readonly localExports: readonly Export[],
    private readonly files: ServedFiles | null,
    private readonly snapshots: ServedSnapshots,
    /** What its snapshots are called by, before the @. */
    readonly volumeName: string,
  ) {}

  /** @throws UserError USAGE, FILE_NOT_FOUND for names that cannot be served, and what opening files throws. */
  static async open(volume: Volume, options: DiskOptions): Promise<ServedDisks> {
    const own = volume.located.manifest?.name ?? defaultName(volume.label);
    const volumeName = volume.files === null ? (options.exportNames[0] ?? own) : own;
    const snapshots = new ServedSnapshots(volume.snapshots, volumeName, async () => {
      if (!volume.device.readOnly) await volume.device.flush();
    });
    if (volume.files === null) {
      const whole = { ...(await wholeVolume(volume, options)), contexts: () => snapshots.contexts() };
      return new ServedDisks([whole], [], null, snapshots, volumeName);
    }
    const files = new ServedFiles(volume, await volume.files.store(), options);
    try {
      const { exports, others } = await files.openAll();
      return new ServedDisks(exports, others, files, snapshots, volumeName);
    } catch (error) {
      await files.close();
      throw error;
    }
  }

  /** Files that are made and removed from now on come and go for the commands of this machine. */
  follow(server: NbdServer): void {
    this.files?.follow(server);
  }

  /** Snapshots are disks too, of all clients, as long as they are there. */
  addSnapshots(server: NbdServer): void {
    this.snapshots.follow(server);
  }

  async close(): Promise<void> {
    await this.snapshots.close();
    await this.files?.close();
  }
}

/** Its device is the volume's to close. */
async function wholeVolume(volume: Volume, options: DiskOptions): Promise<Export> {
  const { access, cache, exportNames, over = asItIs } = options;
  const { label, located } = volume;
  const [name = located.manifest?.name ?? defaultName(label), ...more] = exportNames;
  if (more.length > 0) throw new UserError('USAGE', `${label} is one disk: it has one --export`);
  const readOnly = access === 'read';
  const device = over(volume.device, name);
  return { name, description: label, device, cache, readOnly, zeroesFast: await zeroesFast(volume) };
}

function asItIs(disk: BlockDevice): BlockDevice {
  return disk;
}

/** Zeroing makes holes where all images can have them: no data is moved, however long the range is. */
async function zeroesFast({ held }: Volume): Promise<boolean> {
  const images = held.list().map(({ name }) => name);
  const answers = await Promise.all(images.map((name) => !isRemote(name) && isPunchable(name)));
  return answers.every(Boolean);
}

class ServedFiles {
  readonly #devices = new Map<string, FileDevice>();

  constructor(
    private readonly volume: Volume,
    private readonly store: ExtentStore,
    private readonly options: DiskOptions,
  ) {}

  async openAll(): Promise<{ exports: Export[]; others: Export[] }> {
    const all = new Map((await this.store.files.list()).map((info) => [info.name, info]));
    const { exportNames } = this.options;
    const missing = exportNames.find((name) => !all.has(name));
    if (missing !== undefined) throw noSuchFile(missing);
    const served = exportNames.length > 0 ? exportNames : [...all.keys()];
    if (served.length === 0) {
      throw new UserError('REFUSED', `${this.volume.label} has no files: there is nothing to serve`, {
        hint: 'make one: holdfast file create VOLUME NAME --size SIZE',
      });
    }
    const exports: Export[] = [];
    for (const name of served) exports.push(await this.#open(all.get(name)!));
    const others: Export[] = [];
    for (const [name, info] of all) if (!served.includes(name)) others.push(await this.#open(info));
    return { exports, others };
  }

  follow(server: NbdServer): void {
    this.volume.files?.listen(async (name, change) => {
      if (change === 'made') return server.addLocalExport(await this.#open(await this.store.files.get(name)));
      server.removeExport(name);
      await this.#devices.get(name)?.close();
      this.#devices.delete(name);
    });
  }

  async close(): Promise<void> {
    await allEnded([...this.#devices.values()].map((device) => device.close()));
  }

  async #open({ name, isReadOnly }: FileInfo): Promise<Export> {
    const { access, cache, over = asItIs } = this.options;
    const file = await this.store.openFile(name, { access: isReadOnly ? 'read' : access });
    const own = new FileDevice(file);
    this.#devices.set(name, own);
    const device = over(own, name);
    const description = `${name} of ${this.volume.label}`;
    // What is cleared has no extents any more: nothing is written for it.
    return { name, description, device, cache, readOnly: access === 'read', zeroesFast: true };
  }
}
