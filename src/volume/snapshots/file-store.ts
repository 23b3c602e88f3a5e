/** The list and the layers of a volume's moments, in files. */
import { mkdir, readdir, rm } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import type { BlockDevice } from '../../device/contract.js';
import { fileError } from '../../device/device-errors.js';
import { syncDirectory } from '../../device/image-open.js';
import { openImage } from '../../device/open-image.js';
import type { LayerRecord, MomentRecord, SnapshotStore } from '../../snapshot/layers/records.js';
import { LayerRanges } from './layer-ranges.js';
import { LAYER_SUFFIX, placeOfRange, type SnapshotPlaces, type VolumeRange } from './places.js';
import { allVoided, type SnapshotsContent, writeSnapshots } from './snapshots-file.js';
import type { VolumeStamp } from './stamp.js';

export class FileStore implements SnapshotStore {
  /** Of the volume itself, that are layers. */
  readonly ranges = new LayerRanges({
    ranges: () => this.content.ranges,
    needs: (needed) =>
      this.content.moments.some(({ layers }) => layers.some(({ place }) => place === needed)),
    add: (range) => this.#write(({ ranges }) => ({ ranges: [...withoutRange(ranges, range), range] })),
    remove: (range) => this.#write(({ ranges }) => ({ ranges: withoutRange(ranges, range) })),
  });
  #writing: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly places: SnapshotPlaces,
    private content: SnapshotsContent,
    readonly readOnly: boolean,
  ) {}

  /** Makes the folder, and a list without moments, of a volume that is open for writing. */
  static async create(places: SnapshotPlaces, content: SnapshotsContent): Promise<FileStore> {
    await mkdir(places.directory, { recursive: true, mode: 0o700 }).catch((error: unknown) => {
      throw fileError(places.directory, 'made', error);
    });
    await syncDirectory(dirname(places.directory));
    await writeSnapshots(places.list, content);
    return new FileStore(places, content, false);
  }

  async save(records: readonly MomentRecord[]): Promise<void> {
    // Those of one that is not written down are not here.
    const moments = records as SnapshotsContent['moments'];
    await this.#write(() => ({ moments }));
  }

  /** What it has is no good any more, and what lies in the volume may be another's. */
  async voidAll(why: string): Promise<void> {
    await this.#write((content) => allVoided(content, why));
  }

  /** From now on, until `seal`, the volume is written, by an opening of this tag: durable when it returns. */
  async unseal(stamp: VolumeStamp, openingTag: string): Promise<void> {
    await this.#write(() => ({ stamp, openingTag, isOpen: true }));
  }

  /** As it was found. */
  async putBack(found: SnapshotsContent): Promise<void> {
    await this.#write(() => found);
  }

  /** It is closed, and its stamp is this from now on. */
  async seal(stamp: VolumeStamp): Promise<void> {
    await this.#write(() => ({ stamp, isOpen: false }));
  }

  async createLayer(layer: LayerRecord, bytes: number): Promise<BlockDevice> {
    const place = this.places.layer(layer);
    if (place.kind === 'range') return this.ranges.take(layer.place);
    const { path } = place;
    const device = await openImage(path, { readOnly: false, create: { size: bytes } });
    await syncDirectory(dirname(path));
    return device;
  }

  async openLayer(layer: LayerRecord): Promise<BlockDevice> {
    const { readOnly } = this;
    const place = this.places.layer(layer);
    if (place.kind === 'range') return this.ranges.open(layer.place);
    return openImage(place.path, { readOnly, lock: !readOnly });
  }

  async removeLayer(layer: LayerRecord): Promise<void> {
    const place = this.places.layer(layer);
    if (place.kind === 'range') return this.ranges.giveBack(layer.place);
    const { path } = place;
    await rm(path, { force: true }).catch((error: unknown) => {
      throw fileError(path, 'removed', error);
    });
    await syncDirectory(dirname(path));
  }

  /**
   * What a cut has left, and of `known` what the list does not name any more, but for ranges: those are for when the volume is open.
   * Returns why some of these could not be.
   */
  async removeUnneeded(known: readonly LayerRecord[]): Promise<unknown[]> {
    const { directory } = this.places;
    const needed = new Set(this.content.moments.flatMap(({ layers }) => layers.map(({ id }) => id)));
    const causes: unknown[] = [];
    const files = known.filter((layer) => this.places.layer(layer).kind === 'file');
    for (const layer of files)
      if (!needed.has(layer.id)) await this.removeLayer(layer).catch((cause: unknown) => causes.push(cause));
    for (const name of await readdir(directory)) {
      if (name.endsWith(LAYER_SUFFIX) && !needed.has(basename(name, LAYER_SUFFIX)))
        await rm(join(directory, name), { force: true });
    }
    return causes;
  }

  /** One after another, each of what the one before has left. */
  #write(change: (content: SnapshotsContent) => Partial<SnapshotsContent>): Promise<void> {
    const writing = this.#writing.then(async () => {
      const content = { ...this.content, ...change(this.content) };
      await writeSnapshots(this.places.list, content);
      this.content = content;
    });
    this.#writing = writing.catch(() => {});
    return writing;
  }
}

function withoutRange(ranges: readonly VolumeRange[], range: VolumeRange): VolumeRange[] {
  return ranges.filter((each) => placeOfRange(each) !== placeOfRange(range));
}
