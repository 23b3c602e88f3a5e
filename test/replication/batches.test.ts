/**
 * Changes that belong together on their way to a secondary: an epoch has all of a batch or nothing of it, whoever waits for what
 * and when; so has the queue.
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { epochCost } from '../../src/replication/secondary/index.js';
import { type NewChange, ReplicaQueue } from '../../src/replication/sending/queue.js';
import { Sender, type SenderOptions, type SentChange } from '../../src/replication/sending/sender.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { turns, until } from './support/parts.js';

const SECTOR_BYTES = 512;
const SECTORS = 64;

function entryOf(bytes: number, offset = 0): NewChange {
  const change = { kind: 'write' as const, offset, length: bytes, bytes: new Uint8Array(bytes).fill(bytes) };
  return { ...{ sequence: 1, stamp: 0, atMs: 0 }, change };
}

const zeroes = (length: number): NewChange => ({
  ...{ sequence: 1, stamp: 0, atMs: 0 },
  change: { kind: 'write-zeroes', offset: 0, length },
});

const costOf = ({ change }: NewChange) => epochCost(change.kind === 'write' ? change.length : 0);

/** A queue, and its sender; what was put in as a batch, and each epoch as it ended. */
class Bench {
  readonly queue = new ReplicaQueue({ bytes: 1e9, entries: 1e9 });
  readonly epochs: (readonly SentChange[])[] = [];
  readonly failures: unknown[] = [];
  readonly secondary: FaultyDevice;
  readonly sender: Sender;
  /** Of each batch, the position of its last change and its cost; of each position, its batch. */
  readonly batches: { readonly end: number; readonly cost: number }[] = [];
  readonly batchAt = new Map<number, number>();

  constructor(options: Partial<SenderOptions> = {}, seed = 1) {
    const lower = new MemoryDevice(SECTORS * SECTOR_BYTES, { blockSize: 1 });
    this.secondary = new FaultyDevice(lower, { maxDelayTurns: 3, seed });
    this.sender = new Sender(this.secondary as BlockDevice, this.queue, {
      ...{ inFlight: 4, epochBytes: 1e9, idleMs: 1e9 },
      onDurable: (changes) => this.epochs.push(changes),
      onFailed: (cause) => this.failures.push(cause),
      ...options,
    });
  }

  /** In one turn, as one batch; one alone also as a change that is no batch. */
  put(entries: readonly NewChange[], alone = false): number {
    const from = this.queue.last + 1;
    const end = alone ? this.queue.push(entries[0]!)! : this.queue.pushBatch(entries)!;
    for (let position = from; position <= end; position++) this.batchAt.set(position, this.batches.length);
    this.batches.push({ end, cost: entries.reduce((sum, entry) => sum + costOf(entry), 0) });
    this.sender.kick();
    return end;
  }

  get ends(): number[] {
    return this.epochs.map((epoch) => epoch.at(-1)!.position);
  }

  async stop(running: Promise<void>): Promise<void> {
    this.sender.stop(new Error('over'));
    await running;
  }
}

describe('a sender of batches', () => {
  it('ends no epoch amid one, whatever is in it and whoever waits for what', () =>
    withSeed(async (random) => {
      for (let round = 0; round < 12; round++) await randomRound(random);
    }));

  async function randomRound(random: SeededRandom): Promise<void> {
    const epochBytes = epochCost(0) + random.between(2, 12) * epochCost(SECTOR_BYTES);
    const options = { epochBytes, inFlight: random.between(1, 6), idleMs: random.pick([0, 1e9]) };
    const bench = new Bench(options, random.below(1000));
    // Whatever is there when the secondary is flushed is all of some batches.
    const flush = bench.secondary.flush.bind(bench.secondary);
    const flushed: number[] = [];
    bench.secondary.flush = () => {
      flushed.push(bench.secondary.counts.writes + bench.secondary.counts.zeroings);
      return flush();
    };
    const running = bench.sender.run();
    const waits: Promise<void>[] = [];
    for (let batch = 0; batch < 40; batch++) {
      const entries = randomBatch(random, epochBytes - epochCost(0));
      const from = bench.queue.last + 1;
      const end = bench.put(entries, entries.length === 1 && random.chance(0.5));
      if (random.chance(0.3)) bench.sender.hurry(random.between(from, end));
      if (random.chance(0.3)) waits.push(waited(bench, random.between(from, end)));
      if (random.chance(0.5)) await turns(random.below(random.pick([6, 60])));
    }
    await bench.sender.durable(bench.queue.last);
    await Promise.all(waits);
    const ends = new Set(bench.batches.map(({ end }) => end));
    expect(flushed).toEqual(bench.ends);
    for (const end of bench.ends) expect(ends.has(end), `an epoch ends at ${end}, amid a batch`).toBe(true);
    for (const epoch of bench.epochs) {
      const batches = new Set(epoch.map(({ position }) => bench.batchAt.get(position)!));
      const cost = [...batches].reduce((sum, at) => sum + bench.batches[at]!.cost, epochCost(0));
      expect(cost).toBeLessThanOrEqual(epochBytes);
    }
    const positions = bench.epochs.flat().map(({ position }) => position);
    expect(positions).toEqual(Array.from({ length: bench.queue.last }, (_, at) => at + 1));
    await bench.stop(running);
  }

  /** Durable is all of the batch that the position is in. */
  async function waited(bench: Bench, position: number): Promise<void> {
    await bench.sender.durable(position);
    const { end } = bench.batches[bench.batchAt.get(position)!]!;
    expect(bench.ends.at(-1)).toBeGreaterThanOrEqual(end);
  }

  /** Of disjoint places, no longer than `most`. */
  function randomBatch(random: SeededRandom, most: number): NewChange[] {
    const entries: NewChange[] = [];
    let left = most;
    const count = random.chance(0.4) ? 1 : random.between(2, 10);
    const start = random.below(SECTORS - count + 1);
    for (let at = 0; at < count; at++) {
      const offset = (start + at) * SECTOR_BYTES;
      const entry = random.chance(0.8)
        ? entryOf(random.between(1, SECTOR_BYTES), offset)
        : { ...zeroes(SECTOR_BYTES), change: { ...zeroes(SECTOR_BYTES).change, offset } };
      left -= costOf(entry);
      if (left < 0) break;
      entries.push(entry);
    }
    return entries;
  }

  const pair = (bytes: number) => [entryOf(SECTOR_BYTES), entryOf(bytes - SECTOR_BYTES, SECTOR_BYTES)];
  const pairCost = (bytes: number) => 2 * epochCost(0) + bytes;

  it.each([
    { what: 'fits into what is left of an epoch', over: 0, wanted: [3] },
    { what: 'is a byte too long for what is left', over: 1, wanted: [1, 3] },
  ])('puts a batch that $what where it has room', async ({ over, wanted }) => {
    const epochBytes = epochCost(100) + pairCost(1000) + epochCost(0);
    const bench = new Bench({ epochBytes });
    bench.put([entryOf(100, 5000)], true);
    bench.put(pair(1000 + over));
    const running = bench.sender.run();
    await bench.sender.durable(3);
    expect(bench.ends).toEqual(wanted);
    await bench.stop(running);
  });

  it('takes one that fills an epoch to the last byte', async () => {
    const bench = new Bench({ epochBytes: pairCost(2000) + epochCost(0) });
    bench.put(pair(2000));
    const running = bench.sender.run();
    await bench.sender.durable(1);
    expect(bench.ends).toEqual([2]);
    await bench.stop(running);
  });

  it('fails at one that is a byte longer than an epoch, says so, and sends nothing of it', async () => {
    const epochBytes = pairCost(2000) + epochCost(0);
    const bench = new Bench({ epochBytes });
    bench.put([entryOf(100)], true);
    bench.put(pair(2001));
    const running = bench.sender.run();
    await expect(bench.sender.durable(3)).rejects.toMatchObject({
      message: expect.stringMatching(new RegExp(`${epochBytes + 1} bytes.* ${epochBytes} bytes`)),
    });
    await expect(running).rejects.toThrow('as a whole');
    expect([bench.ends, bench.failures.length, bench.secondary.counts.writes]).toEqual([[1], 1, 1]);
  });

  it('takes one change that is longer than any epoch, alone, as it always did', async () => {
    const bench = new Bench({ epochBytes: 1000 });
    bench.put([entryOf(4000)], true);
    bench.put([entryOf(10)], true);
    const running = bench.sender.run();
    await bench.sender.durable(2);
    expect(bench.ends).toEqual([1, 2]);
    await bench.stop(running);
  });

  it('goes on to the end of a batch though somebody waits for its first change', async () => {
    const bench = new Bench({ inFlight: 1 });
    bench.put([entryOf(100, 0), entryOf(100, 1000), entryOf(100, 2000)]);
    bench.put([entryOf(100, 3000), entryOf(100, 4000)]);
    const running = bench.sender.run();
    await bench.sender.durable(1);
    expect(bench.ends).toEqual([3]);
    await until('nothing more is in flight', () => bench.secondary.counts.writes === 5);
    await bench.sender.durable(4);
    expect(bench.ends).toEqual([3, 5]);
    await bench.stop(running);
  });
});

describe('a queue of batches', () => {
  const queue = () => new ReplicaQueue({ bytes: 10, entries: 4 });

  it('takes all of a batch or nothing of it', () => {
    const some = queue();
    expect(some.push(entryOf(4))).toBe(1);
    expect(some.pushBatch([entryOf(3), entryOf(4)])).toBe(null);
    expect([some.last, some.length, some.heldBytes]).toEqual([1, 1, 4]);
    expect(some.pushBatch([entryOf(3), entryOf(3)])).toBe(3);
    expect(some.pushBatch([zeroes(BLOCK_BYTES), zeroes(BLOCK_BYTES)])).toBe(null);
    expect([some.push(zeroes(BLOCK_BYTES)), some.push(zeroes(BLOCK_BYTES))]).toEqual([4, null]);
  });

  it('takes one batch alone, however long it is', () => {
    const some = queue();
    expect(some.pushBatch([entryOf(50), entryOf(50), entryOf(1), entryOf(1), entryOf(1)])).toBe(5);
    expect(some.pushBatch([zeroes(1), zeroes(1)])).toBe(null);
    for (let at = 0; at < 5; at++) some.release(some.take());
    expect(some.pushBatch([entryOf(50), entryOf(1)])).toBe(7);
  });

  it('knows of each change the end and the cost of its batch', () => {
    const some = new ReplicaQueue({ bytes: 1e9, entries: 1e9 });
    some.push(entryOf(5));
    some.pushBatch([entryOf(7), zeroes(BLOCK_BYTES), entryOf(1)]);
    const taken = Array.from({ length: 4 }, () => some.take());
    expect(taken.map(({ position }) => position)).toEqual([1, 2, 3, 4]);
    expect(taken.map(({ batchEnd }) => batchEnd)).toEqual([1, 4, 4, 4]);
    const cost = epochCost(7) + epochCost(0) + epochCost(1);
    expect(taken.map(({ batchCost }) => batchCost)).toEqual([epochCost(5), cost, cost, cost]);
  });
});
