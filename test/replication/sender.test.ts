/**
 * The queue and who sends from it: order, epochs, overlaps, failures; and that what a secondary holds after each of its
 * flushes is a moment of the primary (crash model, invariant 8).
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { epochCost } from '../../src/replication/secondary/index.js';
import { ReplicaQueue } from '../../src/replication/sending/queue.js';
import { Sender, type SenderOptions } from '../../src/replication/sending/sender.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { turns, until } from './support/parts.js';
import { contentOf, ReplicationStage } from './support/stage.js';

const BLOCKS = 16;

class Bench {
  readonly queue = new ReplicaQueue({ bytes: 1e9, entries: 1e9 });
  readonly durable: number[] = [];
  readonly failures: unknown[] = [];
  readonly secondary = new FaultyDevice(new MemoryDevice(BLOCKS * BLOCK_BYTES), { maxDelayTurns: 4 });
  readonly sender: Sender;

  constructor(options: Partial<SenderOptions> = {}) {
    this.sender = new Sender(this.secondary as BlockDevice, this.queue, {
      ...{ inFlight: 8, epochBytes: 1e9, idleMs: 1e9 },
      onDurable: (changes) => this.durable.push(...changes.map(({ position }) => position)),
      onFailed: (cause) => this.failures.push(cause),
      ...options,
    });
  }

  push(block: number, byte: number): number {
    const bytes = new Uint8Array(BLOCK_BYTES).fill(byte);
    const place = { offset: block * BLOCK_BYTES, length: BLOCK_BYTES };
    const entry = { sequence: 100 + byte, stamp: 0, atMs: byte };
    return this.queue.push({ ...entry, change: { kind: 'write', bytes, ...place } })!;
  }
}

describe('a sender', () => {
  it('sends what overlaps one after the other, in the order of the queue', async () => {
    const bench = new Bench();
    for (let byte = 1; byte <= 20; byte++) bench.push(byte % 3, byte);
    const running = bench.sender.run();
    await bench.sender.durable(20);
    const content = await contentOf(bench.secondary);
    expect([0, 1, 2].map((block) => content[block * BLOCK_BYTES])).toEqual([18, 19, 20]);
    expect([bench.secondary.overlaps, bench.durable]).toEqual([[], bench.durable.toSorted((a, b) => a - b)]);
    bench.sender.stop(new Error('over'));
    await running;
  });

  it('ends an epoch when it is full, and when somebody waits for it', async () => {
    const bench = new Bench({ epochBytes: 3 * epochCost(BLOCK_BYTES) + epochCost(0) });
    for (let byte = 1; byte <= 7; byte++) bench.push(byte, byte);
    const running = bench.sender.run();
    await until('full epochs are durable', () => bench.durable.length === 6);
    expect([bench.secondary.counts.flushes, bench.sender.waitsSinceMs]).toEqual([2, 7]);
    await bench.sender.durable(7);
    expect([bench.secondary.counts.flushes, bench.sender.waitsSinceMs]).toEqual([3, null]);
    bench.sender.stop(new Error('over'));
    await running;
  });

  it('ends an epoch when nothing comes for a while', async () => {
    const bench = new Bench({ idleMs: 1 });
    bench.push(1, 1);
    const running = bench.sender.run();
    await until('it is idle', () => bench.durable.length === 1);
    bench.sender.stop(new Error('over'));
    await running;
  });

  it.each(['write', 'flush'] as const)(
    'that meets a %s that fails tells it once, and nothing is durable',
    async (operation) => {
      const bench = new Bench();
      bench.secondary.addRule({ operations: [operation], nth: operation === 'flush' ? 1 : 2 });
      for (let byte = 1; byte <= 3; byte++) bench.push(byte, byte);
      const running = bench.sender.run();
      await expect(bench.sender.durable(3)).rejects.toThrow(operation);
      await expect(running).rejects.toThrow(operation);
      await expect(bench.sender.durable(3)).rejects.toThrow(operation);
      expect([bench.failures.length, bench.durable]).toEqual([1, []]);
    },
  );

  it('that is stopped amid a flush tells nothing of it', async () => {
    const bench = new Bench();
    bench.push(1, 1);
    const running = bench.sender.run().catch(() => {});
    const waiting = bench.sender.durable(1);
    await until('it flushes', () => bench.secondary.counts.flushes === 1);
    bench.sender.stop(new Error('lost'));
    await expect(waiting).rejects.toThrow('lost');
    await running;
    expect([bench.durable, bench.failures]).toEqual([[], []]);
  });
});

describe('a queue', () => {
  it('takes one that is longer than all its room, alone, and gives room when it is answered', () => {
    const queue = new ReplicaQueue({ bytes: 10, entries: 2 });
    const entry = (bytes: number) => ({
      ...{ sequence: 1, stamp: 0, atMs: 0 },
      change: { kind: 'write' as const, offset: 0, length: bytes, bytes: new Uint8Array(bytes) },
    });
    expect([queue.push(entry(50)), queue.push(entry(1))]).toEqual([1, null]);
    const taken = queue.take();
    expect([queue.push(entry(1)), queue.heldBytes]).toEqual([null, 50]);
    queue.release(taken);
    expect([queue.push(entry(4)), queue.push(entry(4)), queue.push(entry(1))]).toEqual([2, 3, null]);
    expect([queue.first?.position, queue.length, queue.last]).toEqual([2, 2, 3]);
  });
});

describe('what a secondary holds after a flush', () => {
  it('is what the primary held after one of its changes', () =>
    withSeed(async (random) => {
      const stage = await ReplicationStage.make({
        ...{ blocks: BLOCKS, logSectors: 256, maxDelayTurns: 3, seed: random.below(1000) },
      });
      const moments = new Set<string>();
      const model = await contentOf(stage.primary);
      const remember = () => moments.add(model.toString('latin1'));
      remember();
      await stage.open();
      await stage.inSync();
      const flush = stage.secondary.flush.bind(stage.secondary);
      let checked = 0;
      stage.secondary.flush = async () => {
        await flush();
        expect(moments.has((await contentOf(stage.secondary)).toString('latin1'))).toBe(true);
        checked += 1;
      };
      // Each in places of its own: writers overlap in time. The order is the one in which they are queued.
      const enqueue = stage.replica.enqueue.bind(stage.replica);
      stage.replica.enqueue = (update, change, stamp) => {
        if (change.kind === 'write') model.set(change.bytes, change.offset);
        remember();
        return enqueue(update, change, stamp);
      };
      const writer = async (lane: number) => {
        for (let each = 0; each < 20; each++) {
          const offset = (lane * 4 + random.below(4)) * BLOCK_BYTES;
          await stage.device.write(offset, new Uint8Array(BLOCK_BYTES).fill(random.below(256)));
          if (random.chance(0.2)) await stage.device.flush();
          await turns(random.below(4));
        }
      };
      await Promise.all([0, 1, 2, 3].map(writer));
      await stage.inSync();
      expect(checked).toBeGreaterThan(3);
      expect((await contentOf(stage.primary)).equals(model)).toBe(true);
      await stage.replication.close();
    }));
});
