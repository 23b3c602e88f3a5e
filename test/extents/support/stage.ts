/**
 * A store over a metadata server and targets in memory, which can die: what is left of a life is what its engine and its
 * targets hold, and the next life opens over them. Targets are volatile devices on one power supply, and an engine commit
 * is two of its events, so that a test can cut at each of them.
 */
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import type { ClientPool, PoolTarget, StoreOptions } from '../../../src/extents/contract.js';
import { slotBytes } from '../../../src/extents/flags/local.js';
import { type ExtentFile, ExtentStore, type LocalFlagsFile } from '../../../src/extents/index.js';
import type { Change, Entry, MetadataEngine } from '../../../src/metadata/engine/contract.js';
import { MemoryEngine } from '../../../src/metadata/engine/memory-engine.js';
import type { FlagPlace } from '../../../src/metadata/flag-places.js';
import { checkMetadata } from '../../../src/metadata/server/check.js';
import { formatMetadata } from '../../../src/metadata/server/format.js';
import { MetadataServer } from '../../../src/metadata/server/server.js';
import { type CutMode, PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';

export const BLOCK_BYTES = 512;
export const BLOCKS = 8;
export const EXTENT_BYTES = BLOCK_BYTES * BLOCKS;

export const VOLUME_UUID = '5e'.repeat(16);

/** What survives a life, seen from one: nothing goes in any more when the power is off. */
class LivingEngine implements MetadataEngine {
  constructor(
    private readonly content: MemoryEngine,
    private readonly power: PowerSupply,
  ) {}

  async get(key: Uint8Array): Promise<Uint8Array | null> {
    if (!this.power.isOn) this.power.event();
    return this.content.get(key);
  }

  entries(from: Uint8Array, to: Uint8Array): AsyncIterable<Entry> {
    if (!this.power.isOn) this.power.event();
    return this.content.entries(from, to);
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.power.event();
    await this.content.commit(changes);
    await new Promise((resolve) => setImmediate(resolve));
    this.power.event();
  }

  async checkpoint(): Promise<void> {}
  async close(): Promise<void> {}
}

export interface StageOptions {
  readonly extents?: number;
  readonly blocks?: number;
  readonly blockBytes?: number;
  /** Where extents lie: from one on the first target, the rest on a second one. */
  readonly splitAt?: number;
  readonly seed?: number;
  readonly maxDelayTurns?: number;
  /** What the store sees of a target. */
  readonly wrap?: (device: BlockDevice, at: number) => BlockDevice;
  readonly store?: Partial<StoreOptions>;
  readonly leaseMs?: number;
  /** Where flags of what is not committed are kept. */
  readonly flags?: FlagPlace;
}

export class Stage {
  readonly content = new MemoryEngine();
  power = new PowerSupply();
  volatile: VolatileDevice[] = [];
  /** The client's own file, on the same power supply. */
  local!: VolatileDevice;
  isLocalThere = false;
  server!: MetadataServer;
  pool!: ClientPool;
  nowMs = 1000;
  warnings: string[] = [];
  readonly blockBytes: number;
  readonly extentBytes: number;
  readonly extents: number;

  private constructor(readonly options: StageOptions) {
    this.blockBytes = options.blockBytes ?? BLOCK_BYTES;
    this.extentBytes = this.blockBytes * (options.blocks ?? BLOCKS);
    this.extents = options.extents ?? 64;
  }

  static async make(options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage(options);
    await formatMetadata(stage.content, {
      blocksPerExtent: options.blocks ?? BLOCKS,
      extents: stage.extents,
    });
    const localBytes = 2 * slotBytes(stage.extents, options.blocks ?? BLOCKS);
    const sizes = [...stage.#counts().map((count) => count * stage.extentBytes), localBytes];
    await stage.begin(sizes.map((size) => new MemoryDevice(size)));
    return stage;
  }

  /** A new life over what is on the targets, and last on the client's own file. */
  async begin(devices: readonly MemoryDevice[]): Promise<void> {
    this.power = new PowerSupply();
    // What the life before says after its end is no concern of this one.
    this.warnings = [];
    const { seed = 1, maxDelayTurns = 0 } = this.options;
    const volatile = await Promise.all(
      devices.map(async (target, at) => {
        const device = new VolatileDevice(target.size, {
          ...{ name: `target ${at}`, seed: seed + at, maxDelayTurns, power: this.power },
        });
        await copy(target, device);
        return device;
      }),
    );
    this.local = volatile.pop()!;
    this.volatile = volatile;
    this.pool = this.#makePool();
    this.server = await this.#serve();
  }

  /** The power goes; what it leaves begins the next life. `kill`: the process alone dies, what it wrote is there. */
  async crash(seed: number, mode: CutMode | 'kill' = 'random'): Promise<void> {
    const left = [...this.volatile, this.local].map((device) =>
      device.cutPower(seed, mode === 'kill' ? 'all' : mode),
    );
    await this.begin(left);
  }

  open(options: Partial<StoreOptions> = {}): Promise<ExtentStore> {
    const { warnings } = this;
    return ExtentStore.open({
      service: this.server,
      pool: this.pool,
      client: 'a',
      journalShares: true,
      warn: (message) => warnings.push(message),
      flags: { volumeUuid: VOLUME_UUID, where: this.options.flags ?? 'metadata', local: this.localFile() },
      ...this.options.store,
      ...options,
    });
  }

  async openWithFile(sizeBytes = 16 * this.extentBytes): Promise<{ store: ExtentStore; file: ExtentFile }> {
    const store = await this.open();
    await store.files.create('disk', { sizeBytes });
    return { store, file: await store.openFile('disk', { access: 'write' }) };
  }

  /** What the check of the metadata finds. */
  async findings(): Promise<readonly unknown[]> {
    await this.server.settled();
    return checkMetadata(this.content);
  }

  localFile(): LocalFlagsFile {
    return {
      name: 'local file',
      open: async () => (this.isLocalThere ? this.local : null),
      make: async () => {
        this.isLocalThere = true;
        return this.local;
      },
    };
  }

  #serve(): Promise<MetadataServer> {
    return MetadataServer.open(new LivingEngine(this.content, this.power), {
      nowMs: () => this.nowMs,
      leaseMs: this.options.leaseMs ?? 1_000_000,
    });
  }

  #counts(): number[] {
    const { splitAt } = this.options;
    return splitAt === undefined ? [this.extents] : [splitAt, this.extents - splitAt];
  }

  #makePool(): ClientPool {
    const { wrap = (device: BlockDevice) => device } = this.options;
    let from = 0;
    const targets: PoolTarget[] = this.#counts().map((count, at) => {
      const target = { device: wrap(this.volatile[at]!, at), from, count };
      from += count;
      return target;
    });
    const locate = (extent: number) => {
      const target = targets.find((one) => extent >= one.from && extent < one.from + one.count)!;
      return { device: target.device, offsetBytes: (extent - target.from) * this.extentBytes };
    };
    return { blockBytes: this.blockBytes, targets, locate };
  }
}

async function copy(from: BlockDevice, to: BlockDevice): Promise<void> {
  const bytes = new Uint8Array(from.size);
  await from.read(0, bytes);
  await to.write(0, bytes);
  await to.flush();
}

export async function contentOf(file: ExtentFile): Promise<Uint8Array> {
  const bytes = new Uint8Array(file.sizeBytes).fill(0xee);
  await file.read(0, bytes);
  return bytes;
}

export function filled(length: number, fill: number): Uint8Array {
  return new Uint8Array(length).fill(fill);
}
