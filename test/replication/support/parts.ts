/**
 * The tracker's neighbours, replaced: a log and a map file that remember what they were told and answer when the test lets them.
 */
import { setImmediate } from 'node:timers/promises';
import { MemoryDevice } from '../../../src/device/memory.js';
import type { BlockRange } from '../../../src/replication/blocks.js';
import type { BlockMapFile, TransactionLogFace } from '../../../src/replication/contract.js';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import type { SecondaryTracking } from '../../../src/replication/tracking/secondary-tracking.js';
import { Tracker } from '../../../src/replication/tracking/tracker.js';
import type { Update } from '../../../src/replication/tracking/update-lists.js';

/** Calls wait at it while it is shut. */
export class Turnstile {
  #open: Promise<void> = Promise.resolve();
  #release: () => void = () => {};

  get pass(): Promise<void> {
    return this.#open;
  }

  shut(): void {
    this.#open = new Promise((resolve) => {
      this.#release = resolve;
    });
  }

  open(): void {
    this.#release();
    this.#open = Promise.resolve();
  }
}

export class FakeLog implements TransactionLogFace {
  readonly begun: (readonly BlockRange[])[] = [];
  readonly isDone: number[] = [];
  readonly turnstile = new Turnstile();
  room = Number.POSITIVE_INFINITY;
  failure: Error | null = null;

  constructor(private readonly events: string[]) {}

  async begin(ranges: readonly BlockRange[]): Promise<readonly number[] | null> {
    if (this.failure !== null) throw this.failure;
    if (this.active >= this.room) return null;
    this.begun.push(ranges);
    const number = this.begun.length;
    await this.turnstile.pass;
    this.events.push('log');
    return [number];
  }

  get active(): number {
    return this.begun.length - this.isDone.length;
  }

  done(transaction: number): void {
    this.events.push('done');
    this.isDone.push(transaction);
  }
}

export class FakeMap implements BlockMapFile {
  readonly map: BlockMap;
  /** What is durable. */
  readonly disk: BlockMap;
  readonly turnstile = new Turnstile();
  writes = 0;
  failure: Error | null = null;

  constructor(
    blocks: number,
    private readonly events: string[],
  ) {
    this.map = new BlockMap(blocks);
    this.disk = new BlockMap(blocks);
  }

  /** What the map has when it is called, and no more. */
  async persist(ranges: readonly BlockRange[]): Promise<void> {
    const taken: BlockRange[] = [];
    for (const { from, count } of ranges)
      for (let block = from; block < from + count; block++)
        if (this.map.has(block)) taken.push({ from: block, count: 1 });
    await this.turnstile.pass;
    if (this.failure !== null) throw this.failure;
    this.writes += 1;
    for (const range of taken) this.disk.set(range);
    this.events.push('map');
  }

  async release(): Promise<void> {
    this.writes += 1;
    for (const { from, count } of [...this.disk.runs()])
      for (let block = from; block < from + count; block++)
        if (!this.map.has(block)) this.disk.clear({ from: block, count: 1 });
  }
}

export const BLOCKS = 64;

/** A tracker with a fake log, and secondaries with fake maps. */
export class TrackerBench {
  readonly events: string[] = [];
  readonly log = new FakeLog(this.events);
  readonly losses: string[] = [];
  primaryFlushes = 0;
  onFlush: () => void = () => {};
  readonly tracker = new Tracker({
    log: this.log,
    relieve: async () => {
      this.primaryFlushes += 1;
      this.onFlush();
    },
    onLost: (secondary, reason) => this.losses.push(`${secondary.name}: ${reason}`),
    onMapFailed: async (_, cause) => {
      this.events.push('map failed');
      if (this.throwsOnMapFailed) throw cause;
    },
  });
  throwsOnMapFailed = false;
  readonly maps = new Map<SecondaryTracking, FakeMap>();

  add(name = 'second'): SecondaryTracking {
    const file = new FakeMap(BLOCKS, this.events);
    const tracking = this.tracker.add(name, file);
    this.maps.set(tracking, file);
    return tracking;
  }

  /** One that has been brought in sync. */
  inSync(name = 'second'): SecondaryTracking {
    const tracking = this.add(name);
    tracking.beginResync();
    this.tracker.synchronized(tracking);
    return tracking;
  }

  map(tracking: SecondaryTracking): FakeMap {
    return this.maps.get(tracking)!;
  }

  /** One update of these blocks; what it does below is `data` in the events. */
  async write(from: number, count = 1, body: () => void = () => {}): Promise<Update> {
    const [update] = this.tracker.updates([{ from, count }]);
    await this.tracker.write([update!], async () => {
      this.events.push('data');
      body();
    });
    return update!;
  }

  /** DELETE and RESET. */
  acknowledge(tracking: SecondaryTracking, update: Update): void {
    tracking.remove(update.sequence);
    tracking.reset([update.range]);
  }
}

/** Turns of the loop: for what goes on by itself and is to come to where it waits. */
export async function turns(count = 10): Promise<void> {
  for (let turn = 0; turn < count; turn++) await setImmediate();
}

/** Until something is so; a test that waits in vain says for what. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    if (turn > 20_000) throw new Error(`waited in vain until ${what}`);
    await setImmediate();
  }
}

export function filled(blocks: number, byte: number): MemoryDevice {
  const device = new MemoryDevice(blocks * 4096);
  void device.write(0, new Uint8Array(blocks * 4096).fill(byte));
  return device;
}
