/**
 * The replicas of a volume that is open for writing: its log and maps opened, what each is told to do, and what is done to them.
 */
import { rm } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import type { BatchDevice, BlockDevice } from '../../device/contract.js';
import { openImage } from '../../device/open-image.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, blocksWithin } from '../../replication/blocks.js';
import type { Replica } from '../../replication/replica.js';
import type { ReplicatedDevice } from '../../replication/replicated-device.js';
import { type ReplicaDescription, Replication } from '../../replication/replication.js';
import type { SecondaryTracking } from '../../replication/tracking/secondary-tracking.js';
import { type Verified, verify } from '../../replication/verify.js';
import { absoluteImage, isRemote } from '../remote.js';
import { closeInOrder } from '../stack.js';
import { type DescribeOptions, describe, mapFailed } from './describe.js';
import { withOldPrimary } from './generations/coming-back.js';
import { describeFormer, openSincePromote, removeFormerMaps } from './generations/former-primary.js';
import { assertPromoted, imageOf, markDiffering } from './generations/old-primary.js';
import { discardThere } from './generations/promoted-side.js';
import { refuseOldPrimary, refusePromoted } from './generations/refusals.js';
import { inSync, type SyncMethod, type SyncReporting } from './in-sync.js';
import { closersOf, type Maps, makeMaps, openMaps, removeMaps } from './map-files.js';
import { type AddReplicaOptions, newEntry } from './new-entry.js';
import { readTracked } from './on-disk.js';
import { Outages } from './outages.js';
import type { PrimaryPlaces } from './places.js';
import { closedMeanwhile, type Generation, type ReplicaEntry, ReplicasFile } from './replicas-file.js';
import { prepareSecondary } from './secondary/connect.js';
import { type ReplicaStatus, statusOf } from './status.js';
import { markUsed } from './used-blocks.js';

/** A command that was short waits so long for a secondary that is being reached or resynced when it ends. */
const CLOSE_WAIT_MS = 10_000;

export interface OpenReplicasOptions {
  /** See ReplicationParts. */
  readonly heldFor?: string | null;
  /** A secondary that takes shorter epochs is refused. */
  readonly leastEpochBytes?: number;
}

/** Open as long as the replica is there. */
interface Held {
  readonly replica: Replica;
  readonly maps: Maps;
}

export class VolumeReplicas {
  readonly #held = new Map<string, Held>();
  /** For whom what is written here since a promote is tracked; null: there was none. */
  #former: { readonly replica: Replica; readonly map: BlockDevice } | null = null;
  #isForgotten = false;
  /** Replicas that are being put into the list. */
  readonly #entering = new Set<Promise<Replica>>();
  #isClosing = false;

  private constructor(
    private readonly places: PrimaryPlaces,
    private readonly file: ReplicasFile,
    private readonly primary: BlockDevice,
    private readonly log: BlockDevice,
    private readonly replication: Replication,
    private readonly about: DescribeOptions,
    private readonly warn: (message: string) => void,
  ) {}

  /** Nothing is sent before this returns. */
  static async open(
    places: PrimaryPlaces,
    primary: BlockDevice | BatchDevice,
    warn: (message: string) => void,
    { heldFor = null, leastEpochBytes = 0 }: OpenReplicasOptions = {},
  ): Promise<VolumeReplicas> {
    const file = await ReplicasFile.open(places.replicas);
    const { volumeUuid, sizeBytes, replicas, former } = file.content;
    if (sizeBytes !== primary.size) throw otherSize(primary, sizeBytes, places);
    const closers: (() => Promise<void>)[] = [];
    try {
      const log = await openImage(places.log, { readOnly: false });
      closers.push(() => log.close());
      const outages = new Outages(file, warn);
      const descriptions: ReplicaDescription[] = [];
      const maps: Maps[] = [];
      for (const entry of replicas) {
        const its = await openMaps(places, file, entry);
        closers.push(...closersOf(its));
        maps.push(its);
        descriptions.push(describe(file, entry, its, { outages, leastEpochBytes }));
      }
      const since = former === null ? null : await openSincePromote(places, file, former);
      if (since !== null) {
        closers.push(() => since.close());
        descriptions.push(describeFormer(former!, since));
      }
      const replication = await Replication.open({
        ...{ volumeUuid, primary, log, replicas: descriptions, warn, heldFor },
        onMapFailed: (name, cause) => mapFailed(file, name, cause, warn),
      });
      const volume = new VolumeReplicas(
        places,
        file,
        primary,
        log,
        replication,
        { outages, leastEpochBytes },
        warn,
      );
      const opened = [...replication.replicas];
      for (const [i, its] of maps.entries())
        volume.#held.set(opened[i]!.name, { replica: opened[i]!, maps: its });
      if (since !== null) volume.#former = { replica: opened.at(-1)!, map: since };
      await replication.start();
      return volume;
    } catch (error) {
      await closeInOrder(closers);
      throw error;
    }
  }

  /** What stands over the primary. */
  get device(): ReplicatedDevice {
    return this.replication.device;
  }

  /** Every write is to be durable on both sides before it is answered. */
  get isSynchronous(): boolean {
    return this.file.content.replicas.some(({ mode }) => mode === 'sync');
  }

  list(): ReplicaStatus[] {
    // One that is just being added or removed is in one of both alone.
    return this.file.content.replicas.flatMap((entry) => {
      const held = this.#held.get(entry.name);
      return held === undefined ? [] : [statusOf(entry, held.replica)];
    });
  }

  /** All that is `used` is copied. Ends when that has begun. */
  async add(options: AddReplicaOptions): Promise<ReplicaStatus> {
    const { force, usesAll } = options;
    const asked = newEntry(this.file, options, absoluteImage(options.to));
    if (!force) await refuseOldPrimary(asked.to, this.file.content);
    const { isServed } = await prepareSecondary(asked, this.file.content, { force });
    const entry = { ...asked, isServed };
    const replica = await this.#track(entry, async (tracking) => {
      await markUsed(this.primary, tracking, { isTrusted: !usesAll });
      await this.file.add(entry);
    });
    await this.replication.resume(replica);
    return this.#status(entry.name);
  }

  /** The former primary becomes a secondary (generations/old-primary.ts): what it wrote is lost, and what differs is copied. */
  async rejoin(options: AddReplicaOptions): Promise<ReplicaStatus & { readonly discardedBlocks: number }> {
    const former = this.#former;
    const image = await imageOf(options.to);
    await assertPromoted(this.primary.name, this.file.content);
    const { replica, name, discardedBlocks } = await withOldPrimary(
      image,
      this.file.content,
      async (old, rejoining) => {
        const entry = { ...newEntry(this.file, options, image), isServed: isRemote(image) };
        const replica = await this.#track(entry, async (tracking) => {
          const ours = former === null ? [] : this.replication.dirtyRanges(former.replica);
          await markDiffering(tracking, old, ours, (await readTracked(this.places)).former!.putBack);
          await rejoining.make({ replicaUuid: entry.uuid, generation: this.file.content.generation });
          await this.file.addFormer(entry);
        });
        await rejoining.forget();
        return { replica, name: entry.name, discardedBlocks: old.changed.count };
      },
    );
    this.#former = null;
    if (former !== null) {
      await this.replication.remove(former.replica);
      await former.map.close();
      await removeFormerMaps(this.places);
    }
    await this.replication.resume(replica);
    return { ...this.#status(name), discardedBlocks };
  }

  /** The secondary stays as it is. */
  async remove(name: string): Promise<ReplicaEntry> {
    const held = this.#named(name);
    const entry = this.file.entry(name)!;
    await this.replication.remove(held.replica);
    // Refused where it was closed meanwhile: its maps are another's then.
    await this.file.remove(name);
    this.#held.delete(name);
    await closeInOrder(closersOf(held.maps));
    await removeMaps(this.places, name);
    return entry;
  }

  async pause(name: string): Promise<ReplicaStatus> {
    const { replica } = this.#named(name);
    await this.file.update(name, { isPaused: true });
    await replica.pause();
    return this.#status(name);
  }

  /** @throws UserError REFUSED where it was promoted meanwhile. */
  async resume(name: string): Promise<ReplicaStatus> {
    const { replica } = this.#named(name);
    await refusePromoted(this.file.entry(name)!, this.file.content, replica.dirtyBlocks);
    await this.file.update(name, { isPaused: false });
    await this.replication.resume(replica);
    return this.#status(name);
  }

  /** As `resume`, of one that was promoted: what was written there is lost (promoted-side.ts). */
  async discard(name: string): Promise<ReplicaStatus> {
    const { replica } = this.#named(name);
    const entry = this.file.entry(name)!;
    // It may just be reaching for it.
    await replica.pause();
    try {
      await discardThere({
        ...{ entry, whose: this.file.content },
        mark: async (ranges) => {
          // Where neither side has written anything it is whole, as it was.
          if (ranges.length > 0) await this.file.update(name, { isWhole: false });
          await this.replication.mark(replica, ranges);
        },
      });
    } catch (error) {
      if (!entry.isPaused) await this.replication.resume(replica);
      throw error;
    }
    await this.file.update(name, { isPaused: false, diverged: null });
    await this.replication.resume(replica);
    return this.#status(name);
  }

  /**
   * Ends when it is in sync, and on disk as such. What was copied since the volume was opened: a resync begins by itself, and
   * may have ended before anybody asks. Throws what keeps it from that.
   */
  async sync(
    name: string,
    reporting: SyncReporting,
    method: SyncMethod = 'sweep',
  ): Promise<{ copiedBlocks: number; copiedBytes: number }> {
    const { replica } = this.#named(name);
    await inSync(replica, reporting, method);
    await this.replication.settle(replica);
    return replica.totals;
  }

  async verify(
    name: string,
    repair: boolean,
    signal: AbortSignal,
  ): Promise<Verified & { repairedBlocks: number }> {
    const { replica } = this.#named(name);
    await this.sync(name, { signal });
    const found = await verify(
      {
        ...{ replica, tracker: this.replication.tracker, primary: this.primary },
        isUncopied: (block) => this.replication.isUncopied(replica, block),
        settle: () => this.sync(name, { signal }),
      },
      signal,
    );
    if (!repair || found.differingBlocks === 0) return { ...found, repairedBlocks: 0 };
    await replica.copyAgain(
      found.ranges.map(({ offsetBytes, lengthBytes }) => blocksWithin(offsetBytes, lengthBytes)),
    );
    await this.sync(name, { signal });
    return { ...found, repairedBlocks: found.differingBlocks };
  }

  /** What is queued is sent, as far as it can be in so long. */
  async drained(mostMs: number): Promise<void> {
    const sent = [...this.#held.values()].map(({ replica }) => replica.cleaned());
    await Promise.race([Promise.allSettled(sent), setTimeout(mostMs, undefined, { ref: false })]);
  }

  /** What stands below is no moment of anything: nothing is sent to them, until `release`. */
  hold(reason: string): Promise<void> {
    return this.replication.hold(reason);
  }

  release(): Promise<void> {
    return this.replication.release();
  }

  /** Of what stands below. Durable when it returns. */
  setGeneration(generation: Generation): Promise<void> {
    return this.file.setGeneration(generation);
  }

  /** Nothing is tracked any more when the volume is closed. */
  forget(): void {
    this.#isForgotten = true;
  }

  /**
   * The device must be flushed. `waitMs`: for those that are being reached or resynced. `tells`: which are left to be copied, as
   * nobody will go on with them now.
   */
  async close({ waitMs = CLOSE_WAIT_MS, tells = true } = {}): Promise<void> {
    this.#isClosing = true;
    // Who is at work on maps ends that first; who comes to it later finds it closed.
    await Promise.allSettled(this.#entering);
    const replicas = [...this.#held.values()];
    await Promise.all(replicas.map(({ replica }) => replica.attempted(waitMs)));
    this.about.outages.close();
    const away = this.list().filter(({ state }) => state === 'unsynchronized' || state === 'diverged');
    await closeInOrder([
      () => this.replication.close(),
      ...replicas.flatMap(({ maps }) => closersOf(maps)),
      async () => this.#former?.map.close(),
      () => this.log.close(),
      () => this.file.close(),
    ]);
    if (this.#isForgotten) await rm(this.places.directory, { recursive: true });
    if (!tells) return;
    for (const { name, state, reason, dirtyBlocks } of away)
      this.warn(
        `replica ${name} is ${state} (${reason}): ${dirtyBlocks} blocks of ${BLOCK_BYTES} bytes are to be copied`,
      );
  }

  /**
   * What is written from now on is dirty for it. `enter` marks what was written before, and then puts it into the list; where
   * that fails it is tracked no more, and what is left of its maps the next one of its name makes anew.
   */
  async #track(entry: ReplicaEntry, enter: (tracking: SecondaryTracking) => Promise<void>): Promise<Replica> {
    if (this.#isClosing) throw closedMeanwhile(this.primary.name);
    const entering = this.#entered(entry, enter);
    this.#entering.add(entering);
    return entering.finally(() => this.#entering.delete(entering));
  }

  async #entered(
    entry: ReplicaEntry,
    enter: (tracking: SecondaryTracking) => Promise<void>,
  ): Promise<Replica> {
    const maps = await makeMaps(this.places, this.file.content, entry);
    const undo = closersOf(maps);
    try {
      const { replica, tracking } = await this.replication.track(
        describe(this.file, entry, maps, this.about),
      );
      undo.unshift(() => this.replication.remove(replica));
      await enter(tracking);
      this.#held.set(entry.name, { replica, maps });
      return replica;
    } catch (error) {
      await closeInOrder(undo);
      throw error;
    }
  }

  #named(name: string): Held {
    const held = this.#held.get(name);
    if (held !== undefined) return held;
    const names = this.file.content.replicas.map((one) => one.name);
    throw new UserError('FILE_NOT_FOUND', `there is no replica ${name}`, {
      hint:
        names.length === 0
          ? 'The volume has none: holdfast replica add makes one.'
          : `There are: ${names.join(', ')}.`,
      details: { replica: name },
    });
  }

  #status(name: string): ReplicaStatus {
    return statusOf(this.file.entry(name)!, this.#named(name).replica);
  }
}

function otherSize({ name, size }: BlockDevice, sizeBytes: number, places: PrimaryPlaces): UserError {
  return new UserError('REFUSED', `${name} has ${size} bytes; its replicas are of a volume of ${sizeBytes}`, {
    hint: `If it was made anew: move ${places.directory} away, and add the replicas again.`,
    details: { image: name, sizeBytes: size },
  });
}
