/**
 * A secondary that has a secondary of its own: `second`, a SecondaryDevice on memory, with a replication over it and gathered
 * epochs over that; and `third`, a SecondaryDevice on a power supply of its own, over a connection that is lost with it.
 */
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { Connection } from '../../../src/lab/self/replication/connection.js';
import {
  contentOf,
  create,
  FIRST,
  lent,
  memoryParts,
  PARTS,
  type PartName,
  partsBy,
  SECOND,
} from '../../../src/lab/self/replication/secondary-parts.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import { BLOCK_BYTES, blocksOf } from '../../../src/replication/blocks.js';
import { SECTOR_BYTES } from '../../../src/replication/file-header.js';
import { GatheredEpochs } from '../../../src/replication/gathered-epochs.js';
import { logFileBytes, TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../../src/replication/map/page.js';
import type { Replica } from '../../../src/replication/replica.js';
import type { ConnectedSecondary } from '../../../src/replication/replica-parts.js';
import { Replication } from '../../../src/replication/replication.js';
import { openSecondary, promote, type SecondaryDevice } from '../../../src/replication/secondary/index.js';
import { DEFAULT_SETTINGS, type ReplicaSettings } from '../../../src/replication/settings.js';
import { PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';
import { TurnClock } from './stage.js';

/** What may be gathered over what takes epochs of `lowerBytes`: see GatheredEpochsOptions. */
export function gatherableBytes(lowerBytes: number): number {
  return Math.floor((lowerBytes * 2) / 3 / SECTOR_BYTES) * SECTOR_BYTES;
}

export interface ChainOptions {
  readonly imageBytes?: number;
  /** Of the epoch logs. */
  readonly logBytes?: number;
  readonly thirdLogBytes?: number;
  readonly seed?: number;
  readonly maxDelayTurns?: number;
  readonly settings?: Partial<ReplicaSettings>;
  /** `second`, as the replication has it. */
  readonly wrap?: (second: SecondaryDevice) => BlockDevice;
  /** What third has made durable is a moment now. */
  readonly onMoment?: (content: Uint8Array) => void;
}

type Parts<D> = Record<PartName, D>;

/** What a resync copies at a time is no longer than an epoch of a short log. */
const SHORT_LOG = { sweep: { pieceBytes: BLOCK_BYTES, inFlight: 2, settleBytes: 1e9 } };

const IDENTITY = { volumeUuid: '01'.repeat(16), replicaUuid: '03'.repeat(16) };

export class Chain {
  readonly clock = new TurnClock();
  readonly sizeBytes: number;
  secondParts!: Parts<MemoryDevice>;
  second!: SecondaryDevice;
  replication!: Replication;
  replica!: Replica;
  device!: GatheredEpochs;
  #third!: Parts<VolatileDevice>;
  #power = new PowerSupply();
  #connections: Connection[] = [];

  private constructor(readonly options: ChainOptions) {
    this.sizeBytes = options.imageBytes ?? 64 * 1024;
  }

  /** Both are blank, and third is not connected yet. */
  static async make(options: ChainOptions = {}): Promise<Chain> {
    const chain = new Chain(options);
    const { logBytes = 256 * 1024, thirdLogBytes = logBytes } = options;
    const imageBytes = chain.sizeBytes;
    chain.secondParts = memoryParts({ imageBytes, logBytes });
    await create(chain.secondParts, imageBytes);
    const third = memoryParts({ imageBytes, logBytes: thirdLogBytes });
    await create(third, imageBytes);
    await chain.#powerThird(third);
    await chain.#open();
    return chain;
  }

  async #open(): Promise<void> {
    const blocks = blocksOf(this.sizeBytes);
    const log = new MemoryDevice(logFileBytes(64));
    const [map, uncopied] = [new MemoryDevice(mapFileBytes(blocks)), new MemoryDevice(mapFileBytes(blocks))];
    await TransactionLog.format(log, IDENTITY);
    await MapFile.format(map, { ...IDENTITY, kind: 'dirty', blocks });
    await MapFile.format(uncopied, { ...IDENTITY, kind: 'uncopied', blocks });
    this.second = await openSecondary(lent(this.secondParts));
    const { wrap = (second) => second, settings } = this.options;
    this.replication = await Replication.open({
      ...{ volumeUuid: IDENTITY.volumeUuid, primary: wrap(this.second), log },
      replicas: [
        {
          ...{ name: 'third', uuid: IDENTITY.replicaUuid, map, uncopied, isWhole: true, isPaused: false },
          connect: () => this.#connect(),
          settings: {
            ...DEFAULT_SETTINGS,
            ...SHORT_LOG,
            idleMs: 1,
            retryMs: 5,
            clock: this.clock,
            ...settings,
          },
        },
      ],
      warn: () => {},
      onMapFailed: async (_, cause) => {
        throw cause;
      },
    });
    [this.replica] = this.replication.replicas as unknown as [Replica];
    const epochBytes = gatherableBytes(this.second.epochBytes);
    this.device = new GatheredEpochs(this.replication.device, { epochBytes });
  }

  async close(): Promise<void> {
    await this.replication.close();
    await this.second.close();
  }

  disconnect(): void {
    for (const connection of this.#connections) void connection.close();
    this.#connections = [];
  }

  /** The power of third goes, and comes again: what a promotion of what is left would have. */
  async cutThird(seed: number): Promise<Uint8Array> {
    const left = partsBy((part, at) => this.#third[part].cutPower(seed + at));
    this.disconnect();
    const promoted = await promotedContent(left, this.sizeBytes);
    await this.#powerThird(left);
    return promoted;
  }

  /** As a power cut now would leave it that leaves all that was written, and as it would be promoted then. */
  secondContent(): Promise<Uint8Array> {
    return promotedContent(this.secondParts, this.sizeBytes);
  }

  /** As a crash leaves it. */
  async reopenedSecond(): Promise<SecondaryDevice> {
    await this.close();
    this.second = await openSecondary(lent(this.secondParts));
    return this.second;
  }

  /** As it would be promoted now. */
  thirdContent(): Promise<Uint8Array> {
    return promotedContent(this.#third, this.sizeBytes);
  }

  /** Both are alike, and nothing is dirty, after this. */
  async inSync(): Promise<void> {
    const { replica, replication } = this;
    for (let tries = 0; tries < 20; tries++) {
      await replica.settled();
      await replication.device.flush();
      await replica.drained().catch(() => {});
      await replication.device.flush();
      if (replica.state === 'in-sync' && replica.dirtyBlocks === 0) return;
    }
    throw new Error(`${replica.state}: ${replica.reason}; ${replica.dirtyBlocks} blocks are dirty`);
  }

  async #powerThird(content: Parts<MemoryDevice>): Promise<void> {
    const { seed = 1, maxDelayTurns = 0 } = this.options;
    this.#power = new PowerSupply();
    this.#third = partsBy(
      (part, at) =>
        new VolatileDevice(content[part].size, {
          ...{ name: part, power: this.#power, seed: seed + at, maxDelayTurns },
        }),
    );
    for (const part of PARTS) await this.#third[part].write(0, await contentOf(content[part]), { fua: true });
  }

  async #connect(): Promise<ConnectedSecondary> {
    const third = await openSecondary(lent(this.#third));
    const connection = new Connection(third, () => null);
    this.#connections.push(connection);
    // What it holds between two epochs is told, where it is a moment.
    const tell = async () => {
      if (third.marks.state === 'consistent') this.options.onMoment?.(await contentOf(third, this.sizeBytes));
    };
    const flush = async () => {
      await connection.flush();
      await tell();
    };
    return {
      device: withCalls<BlockDevice>(connection, { flush }),
      epochBytes: third.epochBytes,
      beginResync: () => third.beginResync(),
      endResync: async () => {
        await third.endResync({ generation: FIRST });
        await tell();
      },
      close: async () => {
        await connection.close();
        await third.close().catch(() => {});
      },
    };
  }
}

/** The image as a promotion of these parts leaves it; they are not changed. */
export async function promotedContent(parts: Parts<BlockDevice>, sizeBytes: number): Promise<Uint8Array> {
  const copies = await copiedParts(parts);
  await promote(copies, { newGeneration: SECOND });
  return contentOf(copies.image, sizeBytes);
}

/** As of the turn of the call, where they are memory. */
async function copiedParts(parts: Parts<BlockDevice>): Promise<Parts<MemoryDevice>> {
  const contents = await Promise.all(PARTS.map((part) => contentOf(parts[part])));
  const copies = partsBy((part) => new MemoryDevice(parts[part].size, { name: part }));
  for (const [at, part] of PARTS.entries()) await copies[part].write(0, contents[at]!);
  return copies;
}
