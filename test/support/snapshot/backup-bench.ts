/**
 * A small volume in memory and a backup of it: the device below, the target and the container fail, delay and count as told,
 * and what the volume held at the moment is known.
 */
import { setImmediate } from 'node:timers/promises';
import type { BlockDevice } from '../../../src/device/contract.js';
import { HoldingDevice } from '../../../src/device/holding-device.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { HandClock } from '../../../src/lab/self/replication/hand-clock.js';
import { BLOCK_BYTES, blocksOf } from '../../../src/replication/blocks.js';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import { Backup, type BackupOptions, type BackupResult } from '../../../src/snapshot/backup/backup.js';
import type { BackupTarget } from '../../../src/snapshot/backup/target.js';
import { SlotContainer } from '../../../src/snapshot/container/slots.js';
import { GateDevice } from '../../../src/snapshot/gate.js';
import { Moments } from '../../../src/snapshot/moments.js';

export const CHUNK_BLOCKS = 256;

/** What came to the target, and how it ended. */
export class RecordedTarget implements BackupTarget {
  readonly name = 'target';
  readonly content: Uint8Array;
  /** Blocks, in the order in which they were put. */
  readonly order: number[] = [];
  readonly covered: BlockMap;
  /** Told to be zeroes. */
  readonly zeroed: BlockMap;
  end: 'good' | 'failed' | 'cancelled' | null = null;
  reason = '';
  /** Each put waits for this one. */
  door: Promise<void> = Promise.resolve();
  failure: Error | null = null;

  constructor(sizeBytes: number) {
    this.content = new Uint8Array(sizeBytes);
    this.covered = new BlockMap(blocksOf(sizeBytes));
    this.zeroed = new BlockMap(blocksOf(sizeBytes));
  }

  async put(offset: number, content: Uint8Array): Promise<void> {
    await this.door;
    if (this.failure !== null) throw this.failure;
    if (this.end !== null) throw new Error('it has ended');
    const range = { from: offset / BLOCK_BYTES, count: blocksOf(content.length) };
    if (this.covered.meets(range)) throw new Error(`block ${range.from} was put twice`);
    this.covered.set(range);
    this.content.set(content, offset);
    for (let at = 0; at < range.count; at++) this.order.push(range.from + at);
  }

  async zero(offset: number, length: number): Promise<void> {
    const range = { from: offset / BLOCK_BYTES, count: blocksOf(length) };
    if (this.covered.meets(range) || this.zeroed.meets(range))
      throw new Error(`block ${range.from} was put, and is zeroed`);
    this.zeroed.set(range);
  }

  async finish(): Promise<void> {
    if (this.failure !== null) throw this.failure;
    this.end = 'good';
  }

  async abandon(state: 'failed' | 'cancelled', reason: string): Promise<boolean> {
    this.end = state;
    this.reason = reason;
    return true;
  }
}

export interface BenchOptions
  extends Partial<Pick<BackupOptions, 'onOverflow' | 'skipsUnreadable' | 'bytesPerSecond'>> {
  readonly blocks?: number;
  /** Slots; null: no container. */
  readonly slots?: number | null;
  /** Memory for the volume, and for the container. */
  readonly memory?: (bytes: number, name: string) => MemoryDevice;
  readonly lower?: (base: BlockDevice) => BlockDevice;
  /** Between who writes and the gate. */
  readonly over?: (gate: GateDevice) => BlockDevice;
  readonly containerDevice?: (base: BlockDevice) => BlockDevice;
  /** Blocks in use; all of them unless said otherwise. */
  readonly used?: (blocks: number) => BlockMap | Promise<BlockMap>;
}

export class BackupBench {
  readonly base: MemoryDevice;
  readonly gate: GateDevice;
  readonly device: HoldingDevice;
  readonly target: RecordedTarget;
  readonly container: SlotContainer | null;
  readonly clock = new HandClock();
  readonly cancel = new AbortController();
  readonly warnings: string[] = [];
  readonly backup: Backup;
  /** What the volume held at the moment. */
  moment: Uint8Array | null = null;

  constructor(options: BenchOptions = {}) {
    const { blocks = 3 * CHUNK_BLOCKS, slots = 64, lower = same, over = same, used = all } = options;
    const { containerDevice = same, onOverflow = 'drain', skipsUnreadable = false } = options;
    const { memory = (bytes, name) => new MemoryDevice(bytes, { name }) } = options;
    const size = blocks * BLOCK_BYTES;
    this.base = memory(size, 'volume');
    this.gate = new GateDevice(lower(this.base));
    this.device = new HoldingDevice(over(this.gate));
    this.target = new RecordedTarget(size);
    const length = (slots ?? 0) * BLOCK_BYTES;
    const place = {
      device: containerDevice(memory(length, 'container')),
      offset: 0,
      length,
    };
    this.container = slots === null ? null : new SlotContainer(place);
    const moments = new Moments(this.device, this.gate);
    this.backup = new Backup({
      ...{ label: 'volume', gate: this.gate, container: this.container, target: this.target },
      ...{ onOverflow, skipsUnreadable, bytesPerSecond: options.bytesPerSecond ?? null, clock: this.clock },
      choose: async (keeper) => {
        await moments.choose(keeper);
        this.moment = await contentOf(this.base);
      },
      list: async () => {
        const listed = await used(blocks);
        return { used: listed, wanted: listed };
      },
      signal: this.cancel.signal,
      onProgress: () => {},
      warn: (message) => this.warnings.push(message),
    });
  }

  /** Each block has its number, and `version`, in it. */
  async fill(version = 1): Promise<void> {
    for (let block = 0; block < this.base.size / BLOCK_BYTES; block++)
      await this.base.write(block * BLOCK_BYTES, contentFor(block, version));
  }

  write(block: number, version: number, count = 1): Promise<void> {
    const parts = Array.from({ length: count }, (_, at) => contentFor(block + at, version));
    return this.device.write(block * BLOCK_BYTES, parts);
  }

  run(): Promise<BackupResult> {
    return this.backup.run();
  }
}

/** The last block of a bench that stands at the door. */
export const LAST = 8 * CHUNK_BLOCKS - 1;

/** The pass waits at the target's door, with the first chunks in its hands. */
export async function atTheDoor(
  options: BenchOptions = {},
): Promise<{ bench: BackupBench; open: () => void; run: Promise<unknown> }> {
  const bench = new BackupBench({ blocks: LAST + 1, ...options });
  await bench.fill();
  let open!: () => void;
  bench.target.door = new Promise<void>((resolve) => {
    open = resolve;
  });
  const run = bench.run();
  run.catch(() => {});
  for (let turn = 0; turn < 50; turn++) await setImmediate();
  return { bench, open, run };
}

export function contentFor(block: number, version: number): Uint8Array {
  const bytes = new Uint8Array(BLOCK_BYTES).fill(((block * 31 + version * 7) % 251) | 1);
  new DataView(bytes.buffer).setUint32(0, block);
  new DataView(bytes.buffer).setUint32(4, version);
  return bytes;
}

export async function contentOf(device: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.size);
  await device.read(0, bytes);
  return bytes;
}

/** The first block of `used` in which they differ; null: there is none. */
export function firstDifference(a: Uint8Array, b: Uint8Array, used: BlockMap | null = null): number | null {
  for (let block = 0; block * BLOCK_BYTES < a.length; block++) {
    if (used !== null && !used.has(block)) continue;
    const [start, end] = [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES];
    if (Buffer.compare(a.subarray(start, end), b.subarray(start, end)) !== 0) return block;
  }
  return null;
}

function all(blocks: number): BlockMap {
  const map = new BlockMap(blocks);
  map.setAll();
  return map;
}

function same<T>(it: T): T {
  return it;
}
