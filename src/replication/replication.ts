/**
 * The replication of a volume: its log, and its replicas with their maps, put together over what holds the data.
 *
 * An opening makes of what it finds one thing before the first write: what is listed in the log goes, durably, into the map of each replica,
 * and the log is empty then. What of either cannot be believed counts as dirty, and is said: all of a page that is damaged, all
 * of everything where the log is (decision 12).
 *
 * While the primary is no moment of anything, since it is resynced itself, its replicas are held: away until they are released.
 * That is not written down.
 */

import { allEnded } from '../device/all-ended.js';
import type { BatchDevice, BlockDevice } from '../device/contract.js';
import { type BlockRange, blocksOf } from './blocks.js';
import { TransactionLog } from './log/transaction-log.js';
import { MapFile } from './map/map-file.js';
import { Replica } from './replica.js';
import type { ConnectedSecondary } from './replica-parts.js';
import { ReplicatedDevice } from './replicated-device.js';
import { PrimaryFlushes } from './sending/primary-flushes.js';
import { DEFAULT_SETTINGS, type ReplicaSettings } from './settings.js';
import type { ReplicaState } from './standing.js';
import type { SecondaryTracking } from './tracking/secondary-tracking.js';
import { Tracker } from './tracking/tracker.js';
import { UncopiedBlocks } from './tracking/uncopied-blocks.js';

export interface ReplicaDescription {
  readonly name: string;
  readonly uuid: string;
  /** Where its map is, and that of blocks that were never copied; null: there are none. */
  readonly map: BlockDevice;
  readonly uncopied: BlockDevice | null;
  /** See ReplicaParts. */
  readonly isWhole: boolean;
  readonly connect: (signal: AbortSignal) => Promise<ConnectedSecondary>;
  readonly settings: ReplicaSettings;
  readonly isPaused: boolean;
  /** See ReplicaParts. */
  readonly onStanding?: (state: ReplicaState) => void;
}

export interface ReplicationParts {
  readonly volumeUuid: string;
  readonly primary: BlockDevice | BatchDevice;
  /** Where the log is. */
  readonly log: BlockDevice;
  readonly replicas: readonly ReplicaDescription[];
  /** It is opened held, for this reason: see `hold`. */
  readonly heldFor?: string | null;
  readonly warn: (message: string) => void;
  /** Its map cannot be written any more: that all of it is dirty must be durable elsewhere when this returns. */
  readonly onMapFailed: (replica: string, cause: unknown) => Promise<void>;
}

/** A write that finds the log full waits so long for what is on its way; then the secondary that is furthest behind is lost. */
const LOG_WAIT_MS = 50;
/** How often acknowledgements that are late are looked for, in parts of their limit. */
const LOOKS_IN_A_LIMIT = 4;

export class Replication {
  readonly device: ReplicatedDevice;
  readonly replicas = new Set<Replica>();
  readonly #trackings = new Map<Replica, SecondaryTracking>();
  readonly #timers = new Map<Replica, NodeJS.Timeout>();
  #heldFor: string | null;
  /** The last hold, to its end. */
  #holding: Promise<void> = Promise.resolve();

  private constructor(
    private readonly parts: ReplicationParts,
    readonly log: TransactionLog,
    readonly tracker: Tracker,
    private readonly flushes: PrimaryFlushes,
  ) {
    this.#heldFor = parts.heldFor ?? null;
    this.device = new ReplicatedDevice(parts.primary, tracker, flushes, this.replicas);
  }

  /** Nothing is sent before `start`. Throws what keeps the log or a map from being used. */
  static async open(parts: ReplicationParts): Promise<Replication> {
    const { volumeUuid, warn, replicas } = parts;
    const maps = await Promise.all(replicas.map((one) => openMaps(parts, one)));
    const files = maps.map(({ dirty }) => dirty);
    const opened = await TransactionLog.open(parts.log, { volumeUuid });
    for (const warning of opened.warnings) warn(warning);
    let log = opened.log;
    if (log === null) {
      warn(`${opened.damage}; all blocks of all replicas are dirty`);
      // What the log listed is on disk in the maps before it is gone.
      for (const { map } of files) map.setAll();
      await allEnded(files.map((file) => file.persist([{ from: 0, count: file.map.blocks }])));
      log = await TransactionLog.format(parts.log, { volumeUuid });
    }
    const replication = Replication.#over(parts, log);
    for (const [i, description] of replicas.entries()) replication.#add(description, maps[i]!);
    if (opened.log !== null) await replication.tracker.recover(opened.active);
    return replication;
  }

  static #over(parts: ReplicationParts, log: TransactionLog): Replication {
    const flushes: PrimaryFlushes = new PrimaryFlushes(parts.primary, () => {
      for (const replica of replication.replicas) replica.primaryFlushed();
    });
    const tracker = new Tracker({
      log,
      relieve: () => replication.#relieve(),
      onLost: (secondary, reason, cause) => replication.#of(secondary)?.lost(reason, cause),
      onMapFailed: ({ name }, cause) => parts.onMapFailed(name, cause),
    });
    const replication: Replication = new Replication(parts, log, tracker, flushes);
    return replication;
  }

  /** All that are to be sent to begin. When it returns, writes find synchronous ones as they are. */
  async start(): Promise<void> {
    await Promise.all([...this.replicas].map((replica) => this.#begin(replica)));
  }

  /**
   * While the volume is in use. What is written from now on is dirty for it; what else is to be copied the caller marks
   * before `resume`.
   */
  async track(description: ReplicaDescription): Promise<{ replica: Replica; tracking: SecondaryTracking }> {
    const replica = this.#add(description, await openMaps(this.parts, description));
    return { replica, tracking: this.#trackings.get(replica)! };
  }

  /** It was never copied to the secondary, and need not be. */
  isUncopied(replica: Replica, block: number): boolean {
    return this.#trackings.get(replica)?.uncopied?.map.has(block) ?? false;
  }

  /** One that was paused, or was only tracked; returns as `start`. */
  async resume(replica: Replica): Promise<void> {
    replica.resume();
    await this.#begin(replica);
  }

  /**
   * All replicas are away until `release`, also those that are added meanwhile: what the primary is from now on is no moment
   * of anything. What is written is dirty for them. When it returns, nothing more is sent to any.
   */
  async hold(reason: string): Promise<void> {
    this.#heldFor = reason;
    this.#holding = allEnded([...this.replicas].map((replica) => replica.hold(reason)));
    await this.#holding;
  }

  /** Those that were to be sent to begin again; returns as `start`. */
  async release(): Promise<void> {
    this.#heldFor = null;
    await this.#holding.catch(() => {});
    // Held again meanwhile.
    if (this.#heldFor !== null) return;
    const released = [...this.replicas].filter((replica) => replica.release());
    await Promise.all(released.map((replica) => this.#begin(replica)));
  }

  /** Blocks that may differ from it, as of now. */
  dirtyRanges(replica: Replica): BlockRange[] {
    return [...this.#trackings.get(replica)!.map.runs()];
  }

  /** These blocks are to be copied to it as well; durable when it returns. */
  async mark(replica: Replica, ranges: readonly BlockRange[]): Promise<void> {
    const tracking = this.#trackings.get(replica)!;
    for (const range of ranges) tracking.mark(range);
    await tracking.file.persist(ranges);
  }

  /** What is durable on both sides is on disk as such: nothing of it is copied again after a crash. */
  async settle(replica: Replica): Promise<void> {
    this.tracker.dropExpected();
    await this.device.flush();
    await replica.cleaned();
    // What was written amid its resync is in its map, and may be clean since that ended.
    const { mapFailure, file } = this.#trackings.get(replica)!;
    if (mapFailure === null) await file.release();
    if (this.tracker.logFailure === null) await this.log.sayDone();
  }

  /** It is forgotten: its map is of no more use. */
  async remove(replica: Replica): Promise<void> {
    await replica.pause();
    this.tracker.remove(this.#trackings.get(replica)!);
    this.replicas.delete(replica);
    this.#trackings.delete(replica);
    clearInterval(this.#timers.get(replica));
  }

  /** The device must be flushed. What is queued is sent first, if it can be. */
  async close(): Promise<void> {
    this.tracker.dropExpected();
    // One that does not answer is late, also now.
    await allEnded([...this.replicas].map((replica) => replica.close()));
    for (const timer of this.#timers.values()) clearInterval(timer);
    const files = this.#usable().flatMap(({ file, uncopied }) => [
      file,
      ...(uncopied === null ? [] : [uncopied.file]),
    ]);
    await allEnded(files.map((file) => file.release()));
    if (this.tracker.logFailure === null) await this.log.sayDone();
  }

  /** Maps that can still be written; of the others it is durable elsewhere that all of them is dirty. */
  #usable(): SecondaryTracking[] {
    return [...this.#trackings.values()].filter(({ mapFailure }) => mapFailure === null);
  }

  async #relieve(): Promise<void> {
    // What is acknowledged may lack the primary's flush alone; and who was flushed hurries.
    await this.flushes.flush();
    const replicas = [...this.replicas];
    const { clock } = replicas[0]?.settings ?? DEFAULT_SETTINGS;
    const limit = new AbortController();
    const sent = Promise.allSettled(replicas.map((replica) => replica.cleaned()));
    await Promise.race([sent, clock.wait(LOG_WAIT_MS, limit.signal)]);
    limit.abort();
  }

  #add(description: ReplicaDescription, { dirty, uncopied }: Maps): Replica {
    const { tracker, flushes, parts } = this;
    const tracking = tracker.add(description.name, dirty);
    tracking.uncopied = uncopied;
    const replica = new Replica({
      ...{ tracker, tracking, flushes, primary: parts.primary, warn: parts.warn, heldFor: this.#heldFor },
      ...description,
    });
    this.#trackings.set(replica, tracking);
    this.replicas.add(replica);
    return replica;
  }

  async #begin(replica: Replica): Promise<void> {
    if (!replica.start()) return;
    clearInterval(this.#timers.get(replica));
    const { acknowledgeMs, mode } = replica.settings;
    const timer = setInterval(() => replica.checkDeadline(), acknowledgeMs / LOOKS_IN_A_LIMIT);
    timer.unref();
    this.#timers.set(replica, timer);
    if (mode === 'sync') await replica.firstContact();
  }

  #of(tracking: SecondaryTracking): Replica | undefined {
    return [...this.#trackings].find(([, its]) => its === tracking)?.[0];
  }
}

interface Maps {
  readonly dirty: MapFile;
  readonly uncopied: UncopiedBlocks | null;
}

async function openMaps(
  { volumeUuid, primary, warn }: ReplicationParts,
  { uuid, map, uncopied }: ReplicaDescription,
): Promise<Maps> {
  const owner = { volumeUuid, blocks: blocksOf(primary.size), replicaUuid: uuid };
  const dirty = await MapFile.open(map, { ...owner, kind: 'dirty' });
  for (const what of dirty.damage) warn(what);
  if (uncopied === null) return { dirty: dirty.file, uncopied: null };
  const never = await MapFile.open(uncopied, { ...owner, kind: 'uncopied' });
  for (const what of never.damage) warn(what);
  // Durable before anything is written in place of what was damaged.
  for (const range of never.inDoubt) dirty.file.map.set(range);
  await dirty.file.persist(never.inDoubt);
  return { dirty: dirty.file, uncopied: new UncopiedBlocks(never.file, never.inDoubt) };
}
