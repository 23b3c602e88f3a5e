/**
 * One life of a primary with its secondary: from an opening over what the devices hold to its end, which may be that the
 * process is killed. Connected as a volume connects an image (src/volume/replication/secondary/connect.ts, volume-replicas.ts): what is
 * durable in which order is the same.
 */
import type { BlockDevice } from '../../../src/device/contract.js';
import { UserError } from '../../../src/errors.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import type { Replica } from '../../../src/replication/replica.js';
import type { ConnectedSecondary } from '../../../src/replication/replica-parts.js';
import { Replication } from '../../../src/replication/replication.js';
import { openSecondary, readMarks, type SecondaryDevice } from '../../../src/replication/secondary/index.js';
import { DEFAULT_SETTINGS, type ReplicaSettings } from '../../../src/replication/settings.js';
import type { SecondaryTracking } from '../../../src/replication/tracking/secondary-tracking.js';
import { withCalls } from '../devices/with-calls.js';
import { Connection } from './connection.js';
import { HandClock } from './hand-clock.js';
import { type PairDevices, REPLICA_UUID, ReplicaList, VOLUME_UUID } from './pair-devices.js';
import { FIRST, lent } from './secondary-parts.js';

/** Nothing ends by the machine's clock: the longest that a timer takes. */
const NEVER_MS = 2 ** 31 - 1;

/** Small, so that few blocks come to all that is done by many. */
export const PAIR_SETTINGS: Omit<ReplicaSettings, 'clock'> = {
  ...DEFAULT_SETTINGS,
  idleMs: NEVER_MS,
  acknowledgeMs: 40_000,
  retryMs: 500,
  longestRetryMs: 500,
  queue: { bytes: 64 * BLOCK_BYTES, entries: 64 },
  inFlight: 4,
  sweep: { pieceBytes: BLOCK_BYTES, inFlight: 2, settleBytes: 3 * BLOCK_BYTES },
};

export interface LifeOptions {
  readonly settings?: Partial<ReplicaSettings> | undefined;
  readonly isPaused?: boolean;
  /** Between the primary and its secondary, as it is reached. */
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
  /** Recovered; nothing is written to it before this ends. */
  readonly onReached?: (device: SecondaryDevice) => Promise<void>;
}

export class PairLife {
  readonly clock = new HandClock();
  readonly warnings: string[] = [];
  #opened = 0;
  isReachable = true;
  /** Calls of this kind get no answer while the connection lasts. */
  hanging: 'flush' | 'write' | null = null;
  /** Why it could not be reached, when that was tried last. */
  refusal: Error | null = null;
  secondary: SecondaryDevice | null = null;
  replication!: Replication;
  replica!: Replica;
  tracking!: SecondaryTracking;
  #connection: Connection | null = null;

  private constructor(
    private readonly devices: PairDevices,
    private readonly options: LifeOptions,
  ) {}

  /** Nothing is sent before `replication.start`. */
  static async open(devices: PairDevices, options: LifeOptions): Promise<PairLife> {
    const life = new PairLife(devices, options);
    await life.#open();
    return life;
  }

  async #open(): Promise<void> {
    const { devices, options, clock, warnings } = this;
    const list = new ReplicaList(devices.list);
    const { isWhole } = await list.read();
    this.replication = await Replication.open({
      ...{ volumeUuid: VOLUME_UUID, primary: devices.primary, log: devices.log },
      replicas: [
        {
          ...{ name: 'second', uuid: REPLICA_UUID, map: devices.map, uncopied: devices.uncopied, isWhole },
          connect: () => this.#connect(list),
          settings: { ...PAIR_SETTINGS, clock, ...options.settings },
          isPaused: options.isPaused ?? false,
        },
      ],
      warn: (message) => warnings.push(message),
      onMapFailed: () => list.put({ isWhole: false, isMapLost: true }),
    });
    [this.replica] = this.replication.replicas as unknown as [Replica];
    [this.tracking] = this.replication.tracker.secondaries as unknown as [SecondaryTracking];
  }

  get isUp(): boolean {
    return this.#connection?.isUp ?? false;
  }

  /** Somebody has it open still: nobody else would get its lock. */
  get isLocked(): boolean {
    return this.#opened > 0;
  }

  /** What was on its way may have come there, and nobody hears of it. */
  disconnect(): void {
    this.isReachable = false;
    void this.#connection?.close();
  }

  reconnect(): void {
    this.isReachable = true;
    this.hanging = null;
    this.clock.advance(PAIR_SETTINGS.retryMs);
  }

  async #connect(list: ReplicaList): Promise<ConnectedSecondary> {
    try {
      return await this.#reach(list);
    } catch (error) {
      this.refusal = error as Error;
      throw error;
    }
  }

  async #reach(list: ReplicaList): Promise<ConnectedSecondary> {
    const { devices, options } = this;
    if (!this.isReachable) throw new UserError('IO_ERROR', 'nobody answers');
    const { state } = await readMarks(devices.marks);
    if (state === 'promoted' || state === 'promoting')
      throw new UserError('REFUSED', `it is ${state}`, { details: { reason: 'diverged' } });
    const secondary = await openSecondary(lent(devices), { nowMs: () => 1000 });
    this.#opened += 1;
    await options.onReached?.(secondary);
    const connection = new Connection(secondary, () => this.hanging);
    this.#connection = connection;
    this.secondary = secondary;
    return {
      device: options.overConnection?.(connection) ?? connection,
      epochBytes: secondary.epochBytes,
      beginResync: async () => {
        await list.put({ isWhole: false, isMapLost: false });
        await secondary.beginResync();
      },
      endResync: async () => {
        await secondary.endResync({ generation: FIRST });
        await list.put({ isWhole: true, isMapLost: false });
      },
      close: async () => {
        await connection.close();
        await secondary.close();
        this.#opened -= 1;
      },
    };
  }
}

/** Calls fail from the moment in which the process is gone. */
export function mortal(device: BlockDevice, isDead: () => boolean): BlockDevice {
  const orGone = () => {
    if (isDead()) throw new UserError('IO_ERROR', `${device.name}: the process is gone`);
  };
  return withCalls(device, {
    async write(offset, from, options) {
      orGone();
      await device.write(offset, from, options);
    },
    async writeZeroes(offset, length, options) {
      orGone();
      await device.writeZeroes(offset, length, options);
    },
    async trim(offset, length) {
      orGone();
      await device.trim(offset, length);
    },
    async flush() {
      orGone();
      await device.flush();
    },
    close: async () => undefined,
  });
}
