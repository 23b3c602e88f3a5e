/**
 * Whether a volume has snapshots, and what they are: one object for as long as it is open, since the first may be made meanwhile.
 *
 * Order of an opening for writing: the list is judged by what the volume is as it is found (stamp.ts), and says that it is open, before
 * anything of the volume is written, by recovery too; then the layers are opened over the gate. Of its end: all is flushed, the layers are
 * closed, the volume is closed, and last the list has its new stamp. A cut amid either leaves a list that says that it is open.
 */
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import type { Moments } from '../../snapshot/moments.js';
import { type MomentListener, Snapshots, textOfLeftOver } from '../../snapshot/snapshots.js';
import type { Located } from '../locate.js';
import { FileStore } from './file-store.js';
import { findSnapshotPlaces, newSnapshotPlaces, type SnapshotPlaces } from './places.js';
import { judged, readSnapshots, type SnapshotsContent } from './snapshots-file.js';
import type { VolumeStamp } from './stamp.js';

/** Reads what tells whether somebody else has written to the volume, as it is on disk now. */
export type StampReader = () => Promise<VolumeStamp>;

export interface SnapshotsBase {
  readonly label: string;
  /** What holds the volume's bytes, below the gate. */
  readonly device: BlockDevice;
  /** null: it is open for reading. */
  readonly moments: Moments | null;
  readonly warn: (message: string) => void;
}

interface Found {
  readonly places: SnapshotPlaces;
  readonly store: FileStore;
  readonly records: SnapshotsContent['moments'];
  /** Of these, those that were good when the volume was closed. */
  readonly voided: SnapshotsContent['moments'];
  /** Why containers that nobody needs could not be removed. */
  readonly leftOver: readonly unknown[];
}

export class VolumeSnapshots {
  #store: FileStore | null = null;
  #current: Snapshots | null = null;
  #base: SnapshotsBase | null = null;
  #isWell = false;
  #listener: MomentListener | null = null;

  private constructor(
    private readonly located: Located | null,
    private readonly stamp: StampReader,
    private readonly found: Found | null,
  ) {}

  /** Before anything of the volume is written. Throws METADATA_DAMAGED, REFUSED (places.ts). */
  static async find(
    located: Located,
    { stamp, sizeBytes, readOnly }: { stamp: StampReader; sizeBytes: number; readOnly: boolean },
  ): Promise<VolumeSnapshots> {
    const places = await findSnapshotPlaces(located, { isLook: readOnly });
    if (places === null) return new VolumeSnapshots(located, stamp, null);
    const content = await readSnapshots(places.list);
    const now = await stamp();
    const records = judged(content, now, sizeBytes);
    const store = new FileStore(places, { ...content, moments: [...records] }, readOnly);
    const leftOver: unknown[] = [];
    if (!readOnly) {
      await store.unseal(now);
      leftOver.push(...(await store.removeUnneeded(content.moments.flatMap(({ layers }) => layers))));
    }
    const voided = records.filter(
      ({ unusable }, at) => unusable !== null && content.moments[at]!.unusable === null,
    );
    return new VolumeSnapshots(located, stamp, { places, store, records, voided, leftOver });
  }

  /** Of what has no place for any. */
  static none(): VolumeSnapshots {
    return new VolumeSnapshots(null, () => Promise.reject(new Error('nobody asked')), null);
  }

  /** Nothing is written before it returns. */
  async open(base: SnapshotsBase): Promise<void> {
    this.#base = base;
    if (this.found === null) return;
    const { store, records, voided, leftOver } = this.found;
    for (const cause of leftOver) base.warn(textOfLeftOver(base.label, cause));
    // Told once, by who writes it down.
    if (base.moments !== null)
      for (const { name, kind, unusable } of voided)
        if (kind !== 'mark') base.warn(`${base.label}: snapshot ${name} is lost: ${unusable}`);
    this.#store = store;
    this.#current = await Snapshots.open({ ...base, store }, records);
  }

  /** null: it has none, and never had since it was opened. */
  get current(): Snapshots | null {
    return this.#current;
  }

  /** One listener: who serves the volume. What it throws refuses the change. */
  listen(listener: MomentListener): void {
    this.#listener = listener;
    this.#current?.listen(listener);
  }

  /** Those that there are, or a list for the first one. */
  async begin(): Promise<Snapshots> {
    if (this.#current !== null) return this.#current;
    const { located } = this;
    const base = this.#base;
    if (located === null || base === null) throw noPlace(base?.label ?? 'this');
    const places = newSnapshotPlaces(located);
    const store = await FileStore.create(places, {
      formatVersion: 1,
      sizeBytes: base.device.size,
      stamp: await this.stamp(),
      isOpen: base.moments !== null,
      moments: [],
    });
    const current = await Snapshots.open({ ...base, store }, []);
    if (this.#listener !== null) current.listen(this.#listener);
    this.#store = store;
    this.#current = current;
    return current;
  }

  /** All that was written is flushed, and nothing is written any more. */
  async close(): Promise<void> {
    await this.#current?.close();
    this.#isWell = true;
  }

  /** The volume is closed, and its images are as they stay. Does nothing where `close` did not end well. */
  async seal(): Promise<void> {
    if (this.#store === null || !this.#isWell || this.#base?.moments === null) return;
    await this.#store.seal(await this.stamp());
  }
}

/** The end of a volume that was written: what is on its way is kept too. */
export async function flushAndClose(device: BlockDevice, snapshots: VolumeSnapshots): Promise<void> {
  await device.flush();
  await snapshots.close();
}

function noPlace(label: string): UserError {
  return new UserError('UNSUPPORTED', `${label}: there is no place for snapshots of it here`, {
    hint: 'Make them where it is served.',
  });
}
