/**
 * A primary with its log and maps on one power supply, a secondary on another, and a connection between them that can be
 * lost. What is left of a life is what its devices hold; the next life opens over them.
 */
import { randomUUID } from 'node:crypto';
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { UserError } from '../../../src/errors.js';
import { Connection } from '../../../src/lab/self/replication/connection.js';
import { BLOCK_BYTES, blocksOf } from '../../../src/replication/blocks.js';
import { logFileBytes, TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../../src/replication/map/page.js';
import type { Replica } from '../../../src/replication/replica.js';
import type { ConnectedSecondary } from '../../../src/replication/replica-parts.js';
import { Replication } from '../../../src/replication/replication.js';
import type { PrimaryFlushes } from '../../../src/replication/sending/primary-flushes.js';
import { type Clock, DEFAULT_SETTINGS, type ReplicaSettings } from '../../../src/replication/settings.js';
import { type CutMode, PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';
import { until } from './parts.js';

/** Barriers that are taken out, to see that it shows. */
export interface Plants {
  readonly keepsBarrier?: Readonly<Record<string, () => boolean>>;
  /** What was written to the primary counts as durable there. */
  readonly primaryIsDurable?: boolean;
  /** A sweep settles with the flush of the secondary alone. */
  readonly settlesWithoutPrimary?: boolean;
  readonly isWholeAtOnce?: boolean;
  /** What is copied is clean on disk before it is flushed. */
  readonly releasesEarly?: boolean;
}

export interface StageOptions {
  readonly plants?: Plants;
  readonly blocks?: number;
  readonly logSectors?: number;
  readonly seed?: number;
  readonly maxDelayTurns?: number;
  readonly settings?: Partial<ReplicaSettings>;
  /** The replication is opened held. */
  readonly heldFor?: string;
  /** What the replication sees of log and map. */
  readonly wrap?: (device: BlockDevice, name: 'log' | 'map') => BlockDevice;
}

/** Waits are turns of the loop. */
export class TurnClock implements Clock {
  ms = 0;
  nowMs(): number {
    return this.ms;
  }

  async wait(ms: number): Promise<void> {
    this.ms += ms;
    for (let turn = 0; turn < 3; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
}

export class ReplicationStage {
  readonly sizeBytes: number;
  readonly volumeUuid = randomUUID().replaceAll('-', '');
  readonly replicaUuid = randomUUID().replaceAll('-', '');
  readonly clock = new TurnClock();
  readonly warnings: string[] = [];
  /** Replicas of which it is durable that all of their map is lost. */
  readonly failedMaps: string[] = [];
  isReachable = true;
  beforeResync: () => Promise<void> = async () => {};
  #hanging: 'flush' | 'write' | null = null;
  /** How often the secondary was reached. */
  reached = 0;
  /** The last word of the replication: the secondary is a moment of the primary. */
  isWhole = false;
  #connections: Connection[] = [];
  primary!: VolatileDevice;
  log!: VolatileDevice;
  map!: VolatileDevice;
  uncopied!: VolatileDevice;
  secondary!: VolatileDevice;
  replication!: Replication;
  replica!: Replica;

  private constructor(readonly options: StageOptions) {
    this.sizeBytes = (options.blocks ?? 64) * BLOCK_BYTES;
  }

  /** Both sides are blank, and so are log and map. */
  static async make(options: StageOptions = {}): Promise<ReplicationStage> {
    const stage = new ReplicationStage(options);
    const blocks = blocksOf(stage.sizeBytes);
    const log = new MemoryDevice(logFileBytes(options.logSectors ?? 16));
    const map = new MemoryDevice(mapFileBytes(blocks));
    await TransactionLog.format(log, { volumeUuid: stage.volumeUuid });
    await MapFile.format(map, { ...stage.#owner, blocks });
    const uncopied = new MemoryDevice(mapFileBytes(blocks));
    await MapFile.format(uncopied, { ...stage.#owner, kind: 'uncopied', blocks });
    await stage.#powerPrimary([new MemoryDevice(stage.sizeBytes), log, map, uncopied]);
    await stage.#powerSecondary(new MemoryDevice(stage.sizeBytes));
    stage.isWhole = true;
    return stage;
  }

  /** Open, too. */
  static async makeInSync(options: StageOptions = {}): Promise<ReplicationStage> {
    const stage = await ReplicationStage.make(options);
    await stage.open();
    await stage.inSync();
    return stage;
  }

  /** It was in sync, a block was written while it was away, and it is another volume's when it is back. */
  static async makeDiverged(): Promise<ReplicationStage> {
    const stage = await ReplicationStage.makeInSync();
    stage.disconnect();
    await stage.device.write(0, new Uint8Array(BLOCK_BYTES).fill(1));
    stage.beforeResync = async () => {
      throw new UserError('REFUSED', 'it is of another volume', { details: { reason: 'diverged' } });
    };
    stage.isReachable = true;
    await until('it has diverged', () => stage.replica.state === 'diverged');
    return stage;
  }

  get #owner() {
    return { volumeUuid: this.volumeUuid, replicaUuid: this.replicaUuid, kind: 'dirty' as const };
  }

  async #powerPrimary(devices: readonly MemoryDevice[]): Promise<void> {
    const power = new PowerSupply();
    const names = ['primary', 'log', 'map', 'uncopied'];
    const [primary, log, map, uncopied] = await Promise.all(
      devices.map((content, at) => this.#volatile(content, names[at]!, power, at)),
    );
    this.primary = primary!;
    this.log = log!;
    this.map = map!;
    this.uncopied = uncopied!;
  }

  async #powerSecondary(content: MemoryDevice): Promise<void> {
    this.secondary = await this.#volatile(content, 'secondary', new PowerSupply(), 7);
  }

  async #volatile(
    content: MemoryDevice,
    name: string,
    power: PowerSupply,
    at: number,
  ): Promise<VolatileDevice> {
    const { seed = 1, maxDelayTurns = 0 } = this.options;
    const keepsBarrier = this.options.plants?.keepsBarrier?.[name];
    let isFilled = false;
    const device = new VolatileDevice(content.size, {
      ...{ name, power, seed: seed + at, maxDelayTurns },
      keepsBarrier: () => !isFilled || (keepsBarrier?.() ?? true),
    });
    const bytes = await contentOf(content);
    await device.write(0, bytes, { fua: true });
    isFilled = true;
    return device;
  }

  async open({ starts = true } = {}): Promise<void> {
    const { wrap = (device: BlockDevice) => device } = this.options;
    this.replication = await Replication.open({
      volumeUuid: this.volumeUuid,
      primary: this.primary,
      heldFor: this.options.heldFor ?? null,
      log: wrap(this.log, 'log'),
      replicas: [
        {
          name: 'second',
          uuid: this.replicaUuid,
          map: wrap(this.map, 'map'),
          uncopied: this.uncopied,
          isWhole: this.isWhole,
          connect: async () => this.#connect(),
          settings: {
            ...DEFAULT_SETTINGS,
            idleMs: 1,
            retryMs: 5,
            clock: this.clock,
            ...this.options.settings,
          },
          isPaused: false,
        },
      ],
      warn: (message) => this.warnings.push(message),
      onMapFailed: async (name) => {
        if (!this.primary.power.isOn) throw new Error('the power is off');
        if (!this.failedMaps.includes(name)) this.failedMaps.push(name);
      },
    });
    [this.replica] = this.replication.replicas as unknown as [Replica];
    this.#plant();
    if (starts) await this.replication.start();
  }

  /** Parts that are nobody else's business. */
  #plant(): void {
    const { primaryIsDurable, settlesWithoutPrimary, releasesEarly } = this.options.plants ?? {};
    const { replication, replica } = this;
    const { flushes } = replication as unknown as { flushes: PrimaryFlushes };
    if (primaryIsDurable === true) flushes.isDurable = () => true;
    const flush = flushes.flush.bind(flushes);
    if (settlesWithoutPrimary === true)
      flushes.flush = async () => {
        if (replica.state !== 'resyncing') await flush();
      };
    if (releasesEarly !== true) return;
    const { tracker } = replication;
    const [tracking] = [...tracker.secondaries];
    const copy = tracker.copy.bind(tracker);
    tracker.copy = async (range, read) => {
      const isRead = await copy(range, read);
      if (!isRead) return false;
      tracking!.map.clear(range);
      await tracking!.file.release();
      return true;
    };
  }

  get device(): BlockDevice {
    return this.replication.device;
  }

  disconnect(): void {
    this.isReachable = false;
    for (const connection of this.#connections) void connection.close();
    this.#connections = [];
  }

  /** Calls of this kind get no answer, until `inSync`. */
  hang(call: 'flush' | 'write'): void {
    this.#hanging = call;
  }

  /** Primary and secondary are alike, and nothing is dirty, after this. That a connection was lost shows when it is used. */
  async inSync(): Promise<void> {
    this.isReachable = true;
    this.#hanging = null;
    const { replica, device } = this;
    for (let tries = 0; tries < 20; tries++) {
      await replica.settled();
      await device.flush();
      await replica.drained().catch(() => {});
      await device.flush();
      if (replica.state === 'in-sync' && replica.dirtyBlocks === 0) return;
    }
    throw new Error(`${replica.state}: ${replica.reason}; ${replica.dirtyBlocks} blocks are dirty`);
  }

  /** The power of the primary goes. */
  async crashPrimary(seed: number, mode?: CutMode): Promise<void> {
    const left = [this.primary, this.log, this.map, this.uncopied].map((device) =>
      device.cutPower(seed, mode),
    );
    this.disconnect();
    await this.replication.close().catch(() => {});
    await this.#powerPrimary(left);
    this.isReachable = true;
  }

  async crashSecondary(seed: number, mode?: CutMode): Promise<void> {
    const left = this.secondary.cutPower(seed, mode);
    this.disconnect();
    await this.#powerSecondary(left);
    this.isReachable = true;
  }

  /** Blocks that are not alike on both sides. */
  async differing(): Promise<number[]> {
    const [a, b] = await Promise.all([contentOf(this.primary), contentOf(this.secondary)]);
    return Array.from({ length: blocksOf(this.sizeBytes) }, (_, block) => block).filter((block) => {
      const at = block * BLOCK_BYTES;
      return Buffer.compare(a.subarray(at, at + BLOCK_BYTES), b.subarray(at, at + BLOCK_BYTES)) !== 0;
    });
  }

  #connect(): ConnectedSecondary {
    if (!this.isReachable) throw new Error('nobody answers');
    this.reached += 1;
    const device = new Connection(this.secondary, () => this.#hanging);
    this.#connections.push(device);
    return {
      device,
      epochBytes: 64 * BLOCK_BYTES,
      beginResync: async () => {
        this.isWhole = this.options.plants?.isWholeAtOnce === true;
        await this.beforeResync();
      },
      endResync: async () => {
        this.isWhole = true;
      },
      close: () => device.close(),
    };
  }
}

export async function contentOf(device: BlockDevice): Promise<Buffer> {
  const bytes = Buffer.alloc(device.size);
  await device.read(0, bytes);
  return bytes;
}
