/**
 * A primary's side of one of its secondaries: how it is reached, and what is on the way to it. Connected as a volume connects an
 * image (src/volume/replication/secondary/connect.ts): what is durable in which order is the same.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import type { Replica } from '../../../replication/replica.js';
import type { ConnectedSecondary } from '../../../replication/replica-parts.js';
import type { ReplicaDescription } from '../../../replication/replication.js';
import { openSecondary, readMarks, type SecondaryDevice } from '../../../replication/secondary/index.js';
import { DEFAULT_SETTINGS, type ReplicaSettings } from '../../../replication/settings.js';
import type { SecondaryTracking } from '../../../replication/tracking/secondary-tracking.js';
import { Connection } from './connection.js';
import type { HandClock } from './hand-clock.js';
import { type ReplicaDevices, uuidOf } from './pair-devices.js';
import type { Reached, SecondaryHost } from './reached.js';
import type { ReplicaEntry, ReplicaList, SecondaryName } from './replica-list.js';
import { FIRST, lent } from './secondary-parts.js';

/** Nothing ends by the machine's clock: the longest that a timer takes. */
const NEVER_MS = 2 ** 31 - 1;

/** Small, so that few blocks come to all that is done by many. */
const SETTINGS: Omit<ReplicaSettings, 'clock'> = {
  ...DEFAULT_SETTINGS,
  idleMs: NEVER_MS,
  acknowledgeMs: 40_000,
  retryMs: 500,
  longestRetryMs: 500,
  queue: { bytes: 64 * BLOCK_BYTES, entries: 64 },
  inFlight: 4,
  sweep: { pieceBytes: BLOCK_BYTES, inFlight: 2, settleBytes: 3 * BLOCK_BYTES },
};

/** Of each secondary, what is not as it is by default. */
export type LinkSettings = (name: SecondaryName) => Partial<ReplicaSettings>;

export interface LinkOptions {
  readonly settings: LinkSettings;
  /** Between the primary and its secondary, as it is reached. */
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
  /** Who offers the secondary, where it has replicas of its own. */
  readonly host?: SecondaryHost | undefined;
}

export class PairLink {
  replica!: Replica;
  tracking!: SecondaryTracking;
  isReachable = true;
  /** Calls of this kind get no answer while the connection lasts. */
  hanging: 'flush' | 'write' | null = null;
  /** Why it could not be reached, when that was tried last. */
  refusal: Error | null = null;
  secondary: SecondaryDevice | null = null;
  #connection: Connection | null = null;
  #opened = 0;

  constructor(
    private readonly devices: ReplicaDevices,
    private readonly list: ReplicaList,
    private readonly clock: HandClock,
    private readonly options: LinkOptions,
  ) {}

  get name(): SecondaryName {
    return this.devices.name;
  }

  get isUp(): boolean {
    return this.#connection?.isUp ?? false;
  }

  /** Somebody has it open still: nobody else would get its lock. */
  get isLocked(): boolean {
    return this.#opened > 0;
  }

  /** Why it is not in sync. */
  get trouble(): string {
    return `${this.replica.state}: ${this.refusal?.message ?? this.replica.reason}`;
  }

  describe({ isWhole }: ReplicaEntry): ReplicaDescription {
    const { name, map, uncopied } = this.devices;
    return {
      ...{ name, uuid: uuidOf(name), map, uncopied, isWhole, isPaused: false },
      connect: () => this.#connect(),
      settings: { ...SETTINGS, clock: this.clock, ...this.options.settings(name) },
    };
  }

  /** What was on its way may have come there, and nobody hears of it. */
  disconnect(): void {
    this.isReachable = false;
    void this.#connection?.close();
  }

  reconnect(): void {
    this.isReachable = true;
    this.hanging = null;
    this.clock.advance(SETTINGS.retryMs);
  }

  async #connect(): Promise<ConnectedSecondary> {
    try {
      return await this.#reach();
    } catch (error) {
      this.refusal = error as Error;
      throw error;
    }
  }

  async #reach(): Promise<ConnectedSecondary> {
    const { devices, list, options } = this;
    if (!this.isReachable) throw new UserError('IO_ERROR', 'nobody answers');
    const { state } = await readMarks(devices.marks);
    if (state === 'promoted' || state === 'promoting')
      throw new UserError('REFUSED', `it is ${state}`, { details: { reason: 'diverged' } });
    const { secondary, ...reached } = await (devices.own === null ? openHere(devices) : options.host!.join());
    this.#opened += 1;
    const connection = new Connection(reached.device, () => this.hanging);
    this.#connection = connection;
    this.secondary = secondary;
    return {
      device: options.overConnection?.(connection) ?? connection,
      epochBytes: reached.epochBytes,
      beginResync: async () => {
        await list.put(this.name, { isWhole: false, isMapLost: false });
        await reached.beginResync();
      },
      endResync: async () => {
        await reached.endResync();
        await list.put(this.name, { isWhole: true, isMapLost: false });
      },
      close: async () => {
        await connection.close();
        await reached.close();
        this.#opened -= 1;
      },
    };
  }
}

async function openHere(devices: ReplicaDevices): Promise<Reached> {
  const secondary = await openSecondary(lent(devices), { nowMs: () => 1000 });
  return {
    ...{ secondary, device: secondary, epochBytes: secondary.epochBytes },
    beginResync: () => secondary.beginResync(),
    endResync: () => secondary.endResync({ generation: FIRST }),
    close: () => secondary.close(),
  };
}
