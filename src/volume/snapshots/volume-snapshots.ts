/**
 * Whether a volume has snapshots, and what they are: one object for as long as it is open, since the first may be made meanwhile.
 *
 * Order of an opening for writing: the list is judged by what the volume is as it is found (stamp.ts), and says that it is open, before
 * anything of the volume is written, by recovery too; then the layers are opened over the gate. An opening that fails before it has
 * written leaves the list as it was. Of its end: all is flushed, the layers are closed, the array is closed, and last, while its images
 * are locked, the list has its new stamp. A cut amid either leaves a list that says that it is open.
 */
import { randomInt } from 'node:crypto';
import type { ClaimingDevice } from '../../device/claiming-device.js';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import type { MomentListener } from '../../snapshot/moment.js';
import type { Moments } from '../../snapshot/moments.js';
import { textOfLeftOver } from '../../snapshot/refusals.js';
import { Snapshots } from '../../snapshot/snapshots.js';
import { closeFailed } from '../closing.js';
import type { Located } from '../locate.js';
import { FileStore } from './file-store.js';
import type { LayerRanges } from './layer-ranges.js';
import { findSnapshotPlaces, newSnapshotPlaces, type SnapshotPlaces } from './places.js';
import { judged, readSnapshots, type SnapshotsContent } from './snapshots-file.js';
import { isSameStamp, isStamped, type StampSource, type VolumeStamp } from './stamp.js';

export interface SnapshotsAsked {
  readonly source: StampSource;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly warn: (message: string) => void;
}

export interface SnapshotsBase {
  readonly label: string;
  /** What holds the volume's bytes, below the gate: containers may be ranges of it. */
  readonly device: ClaimingDevice;
  /** null: it is open for reading. */
  readonly moments: Moments | null;
  readonly warn: (message: string) => void;
}

interface Found {
  readonly places: SnapshotPlaces;
  /** As the list was, and the volume. */
  readonly content: SnapshotsContent;
  readonly stamp: VolumeStamp;
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
  #beginning: Promise<unknown> = Promise.resolve();
  #listener: MomentListener | null = null;

  private constructor(
    private readonly located: Located | null,
    private readonly source: StampSource | null,
    private readonly found: Found | null,
    /** Why the list of a volume that is open for reading cannot be read. */
    private readonly damage: UserError | null = null,
  ) {}

  /**
   * Finds them before anything of the volume is written, and has `open` open that. Throws METADATA_DAMAGED where it is to be written,
   * REFUSED (places.ts), and what `open` throws.
   */
  static async during<R>(
    located: Located,
    asked: SnapshotsAsked,
    open: (snapshots: VolumeSnapshots) => Promise<R>,
  ): Promise<R> {
    const snapshots = await VolumeSnapshots.#find(located, asked);
    try {
      return await open(snapshots);
    } catch (error) {
      await closeFailed(located.label, () => snapshots.#abandon(), asked.warn);
      throw error;
    }
  }

  static async #find(
    located: Located,
    { source, sizeBytes, readOnly }: SnapshotsAsked,
  ): Promise<VolumeSnapshots> {
    const places = await findSnapshotPlaces(located, { isLook: readOnly });
    if (places === null) return new VolumeSnapshots(located, source, null);
    const content = await readSnapshots(places.list).catch((error: unknown) => {
      if (readOnly && error instanceof UserError) return error;
      throw error;
    });
    if (content instanceof UserError) return new VolumeSnapshots(located, source, null, content);
    const stamp = await source.read();
    const judgement = judged(content, stamp, sizeBytes);
    const records = judgement.moments;
    const store = new FileStore(places, { ...content, ...judgement }, readOnly);
    const leftOver: unknown[] = [];
    if (!readOnly) {
      await store.unseal(stamp, newTag(source));
      leftOver.push(...(await store.removeUnneeded(content.moments.flatMap(({ layers }) => layers))));
    }
    const voided = records.filter(
      ({ unusable }, at) => unusable !== null && content.moments[at]!.unusable === null,
    );
    return new VolumeSnapshots(located, source, {
      ...{ places, content, stamp, store, records, voided, leftOver },
    });
  }

  /** Of what has no place for any. */
  static none(): VolumeSnapshots {
    return new VolumeSnapshots(null, null, null);
  }

  /** Nothing is written before it returns. */
  async open(base: SnapshotsBase): Promise<void> {
    this.#base = base;
    if (this.damage !== null) base.warn(this.damage.message);
    if (this.found === null) return;
    const { store, records, voided, leftOver } = this.found;
    for (const cause of leftOver) base.warn(textOfLeftOver(base.label, cause));
    // Told once, by who writes it down.
    if (base.moments !== null)
      for (const { name, kind, unusable } of voided)
        if (kind !== 'mark') base.warn(`${base.label}: snapshot ${name} is lost: ${unusable}`);
    this.#store = store;
    this.#current = await openOver(base, store, records);
    if (base.moments === null) return;
    for (const cause of await store.ranges.finish()) base.warn(textOfLeftOver(base.label, cause));
  }

  /** The volume could not be opened. Where nothing was written to it, the list says what it said before; still locked. */
  async #abandon(): Promise<void> {
    const { found, source } = this;
    if (found === null || source === null || found.store.readOnly) return;
    if (isSameStamp(await source.read(), found.stamp)) await found.store.putBack(found.content);
  }

  /** null: it has none, and never had since it was opened. Throws METADATA_DAMAGED where the list cannot be read. */
  get current(): Snapshots | null {
    if (this.damage !== null) throw this.damage;
    return this.#current;
  }

  /** Of the volume itself, where containers are; null: there never was a list. */
  get ranges(): LayerRanges | null {
    return this.#store?.ranges ?? null;
  }

  /** As `current`, for who can do without: null too where the list cannot be read, which was told. */
  get known(): Snapshots | null {
    return this.#current;
  }

  /** One listener: who serves the volume. What it throws refuses the change. */
  listen(listener: MomentListener): void {
    this.#listener = listener;
    this.#current?.listen(listener);
  }

  /**
   * Those that there are, or a list for the first one; `isDurable`: of what outlives the opening. Throws UNSUPPORTED where there is
   * no place for any, or nobody could tell later whether they are good.
   */
  begin(asked: { readonly isDurable: boolean }): Promise<Snapshots> {
    const begun = this.#beginning.then(() => this.#begin(asked));
    this.#beginning = begun.catch(() => {});
    return begun;
  }

  async #begin({ isDurable }: { readonly isDurable: boolean }): Promise<Snapshots> {
    const { located, source } = this;
    const base = this.#base;
    if (this.damage !== null) throw this.damage;
    if (located === null || source === null || base === null) throw noPlace(base?.label ?? 'this');
    const found = await source.read();
    if (isDurable && found.kind === 'image' && found.changedNs === null) throw noTime(base.label);
    if (isDurable && !isStamped(found) && base.moments === null) throw noStamp(base.label);
    if (this.#current === null) await this.#beginList(located, source, base);
    // An opening that nobody could tell from md's would be believed whatever md has done.
    if (isDurable && !isStamped(found)) {
      await source.leave();
      const stamp = await source.read();
      if (!isStamped(stamp)) throw new Error(`${base.label} has no stamp of this opening`);
      await this.#store!.unseal(stamp, newTag(source));
    }
    return this.#current!;
  }

  async #beginList(located: Located, source: StampSource, base: SnapshotsBase): Promise<void> {
    const places = await newSnapshotPlaces(located);
    const store = await FileStore.create(places, {
      ...{ formatVersion: 1, sizeBytes: base.device.size, moments: [], ranges: [] },
      ...{ stamp: await source.read(), openingTag: newTag(source), isOpen: base.moments !== null },
    });
    const current = await openOver(base, store, []);
    if (this.#listener !== null) current.listen(this.#listener);
    this.#store = store;
    this.#current = current;
  }

  /** All that was written is flushed, and nothing is written any more. */
  async close(): Promise<void> {
    await this.#current?.close();
    this.#isWell = true;
  }

  /** The images are as they stay, and locked still. Does nothing where `close` did not end well. */
  async seal(): Promise<void> {
    if (this.#store === null || this.source === null || !this.#isWell || this.#base?.moments === null) return;
    await this.#store.seal(await this.source.read());
  }
}

async function openOver(
  base: SnapshotsBase,
  store: FileStore,
  records: SnapshotsContent['moments'],
): Promise<Snapshots> {
  store.ranges.over(base.device, base.moments);
  const snapshots = await Snapshots.open({ ...base, store }, records);
  store.ranges.onOverwritten((isMeant, cause) => snapshots.lose(isMeant, cause));
  return snapshots;
}

/** The end of a volume that was written: what is on its way is kept too. */
export async function flushAndClose(device: BlockDevice, snapshots: VolumeSnapshots): Promise<void> {
  await device.flush();
  await snapshots.close();
}

/** Of what is written from now on. */
function newTag(source: StampSource): string {
  const tag = randomInt(1, 2 ** 32);
  source.tag(tag);
  return tag.toString(16).padStart(8, '0');
}

/** It is open for reading: none can be left. */
function noStamp(label: string): UserError {
  return new UserError('UNSUPPORTED', `${label}: holdfast has not written to it since Linux's md has`, {
    hint: 'The next command that writes to it makes up for that.',
    details: { image: label },
  });
}

function noTime(label: string): UserError {
  return new UserError(
    'UNSUPPORTED',
    `${label}: of a block device nobody can tell later who has written to it`,
    {
      hint: 'A snapshot in memory is had while it is served (--container memory).',
      details: { image: label },
    },
  );
}

function noPlace(label: string): UserError {
  return new UserError('UNSUPPORTED', `${label}: there is no place for snapshots of it here`, {
    hint: 'Make them where it is served.',
  });
}
