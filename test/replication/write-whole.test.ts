/**
 * Changes that belong together, written at once: tracked before, below in one turn, so that a secondary that lies there has all of
 * them between two flushes; and queued all or none.
 */
import { describe, expect, it, vi } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { withCalls } from '../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import type { WholeChange } from '../../src/replication/replicated-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { Chain } from './support/chain.js';
import { turns, until } from './support/parts.js';
import { ReplicationStage } from './support/stage.js';

const write = (block: number, byte: number, blocks = 1): WholeChange => {
  const length = blocks * BLOCK_BYTES;
  return { kind: 'write', offset: block * BLOCK_BYTES, length, from: new Uint8Array(length).fill(byte) };
};
const zeroes = (block: number, blocks = 1): WholeChange => {
  return { kind: 'write-zeroes', offset: block * BLOCK_BYTES, length: blocks * BLOCK_BYTES };
};

/** What is called below, in which turns, and what `look` says then. */
class Notes {
  readonly calls: string[] = [];
  readonly looks: unknown[] = [];
  readonly turns = new Set<number>();
  look: () => unknown = () => null;
  #turn = 0;

  over(lower: BlockDevice): BlockDevice {
    return withCalls(lower, {
      write: (offset, from, options) => {
        this.#note(`write ${offset / BLOCK_BYTES}`);
        return lower.write(offset, from, options);
      },
      writeZeroes: (offset, length, options) => {
        this.#note(`zeroes ${offset / BLOCK_BYTES}+${length / BLOCK_BYTES}`);
        return lower.writeZeroes(offset, length, options);
      },
    });
  }

  #note(call: string): void {
    this.calls.push(call);
    this.looks.push(this.look());
    this.turns.add(this.#turn);
    // Whoever comes later, and be it a promise later, is of another turn.
    void Promise.resolve().then(() => {
      this.#turn += 1;
    });
  }
}

describe('changes that are written as a whole', () => {
  it('are called below in one turn, when all of them are tracked', async () => {
    const notes = new Notes();
    const chain = await Chain.make({ wrap: (second) => notes.over(second) });
    const [tracking] = chain.replication.tracker.secondaries;
    notes.look = () => tracking!.map.count;
    await chain.replication.start();
    await chain.inSync();
    await chain.replication.device.writeWhole([write(7, 1), zeroes(1, 2), write(4, 2)]);
    expect(notes.calls).toEqual(['write 7', 'zeroes 1+2', 'write 4']);
    expect([notes.turns.size, notes.looks]).toEqual([1, [4, 4, 4]]);
    await chain.inSync();
    expect(Buffer.compare(await chain.thirdContent(), await chain.secondContent())).toBe(0);
    await chain.close();
  });

  it('are all there or none, whoever flushes what lies below, and when', () =>
    withSeed(async (random) => {
      const chain = await Chain.make({ logBytes: 1024 * 1024 });
      const blocks = chain.sizeBytes / BLOCK_BYTES;
      const { device } = chain.replication;
      let isOver = false;
      let looks = 0;
      // The number of the batch is in all of its blocks: every block of the device has the same, or is newer by one batch.
      const look = async () => {
        const content = await chain.secondContent();
        const bytes = Array.from({ length: blocks }, (_, block) => content[block * BLOCK_BYTES]);
        expect(new Set(bytes).size, `half a batch: ${bytes}`).toBe(1);
        looks += 1;
      };
      const flushing = async () => {
        while (!isOver) {
          await chain.second.flush();
          await look();
          await turns(random.below(2));
        }
      };
      const flushed = Promise.all([flushing(), flushing()]);
      for (let byte = 1; byte <= 60; byte++) {
        const batch = Array.from({ length: blocks }, (_, block) => write(block, byte));
        await device.writeWhole(batch);
        await turns(random.below(3));
        // The log has room for so many.
        if (byte % 5 === 0) await chain.second.flush();
      }
      isOver = true;
      await flushed;
      expect(looks).toBeGreaterThan(10);
      await chain.close();
    }));

  it('are refused as a whole where one of them is out of range', async () => {
    const stage = await ReplicationStage.makeInSync();
    const { device } = stage.replication;
    const beyond = write(stage.sizeBytes / BLOCK_BYTES, 1);
    await expect(device.writeWhole([write(0, 1), beyond])).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
    const crooked: WholeChange = { kind: 'write-zeroes', offset: 5, length: 0 };
    await expect(device.writeWhole([write(0, 1), crooked])).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
    expect([stage.replica.state, stage.replica.dirtyBlocks]).toEqual(['in-sync', 0]);
    expect((await stage.differing()).length).toBe(0);
    await device.writeWhole([]);
    await device.writeWhole([{ kind: 'write', offset: 0, length: 0, from: [] }]);
    await stage.replication.close();
  });

  it('are in one epoch there, though their zeroes are sent in pieces', async () => {
    const blocks = 2 * 16384 + 5;
    const stage = await ReplicationStage.makeInSync({ blocks, settings: { inFlight: 1, idleMs: 0 } });
    const events: string[] = [];
    const { secondary } = stage;
    for (const call of ['writeZeroes', 'write', 'flush'] as const) {
      const original = secondary[call].bind(secondary) as (...args: unknown[]) => Promise<void>;
      Object.assign(secondary, {
        [call]: (...args: unknown[]) => {
          events.push(call);
          return original(...args);
        },
      });
    }
    await stage.replication.device.writeWhole([zeroes(1, blocks - 1), write(0, 7)]);
    await stage.inSync();
    expect(events.slice(0, 5)).toEqual(['writeZeroes', 'writeZeroes', 'writeZeroes', 'write', 'flush']);
    expect(stage.replica.totals.losses).toBe(0);
    await stage.replication.close();
  });

  it('lose a replica whose queue has no room for all of them', async () => {
    const queue = { bytes: 4 * BLOCK_BYTES, entries: 100 };
    const stage = await ReplicationStage.makeInSync({ settings: { queue, retryMs: 1e9 } });
    const { device } = stage.replication;
    stage.hang('write');
    await device.writeWhole([write(0, 1), write(1, 1)]);
    expect([stage.replica.state, stage.replica.queuedBytes]).toEqual(['in-sync', 2 * BLOCK_BYTES]);
    await device.writeWhole([write(2, 1), write(3, 1), write(4, 1)]);
    expect([stage.replica.state, stage.replica.reason, stage.replica.dirtyBlocks]).toEqual([
      'unsynchronized',
      'the queue was full',
      5,
    ]);
    stage.disconnect();
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });

  it('lose a replica that takes no epoch of that length, which says so; it is resynced', async () => {
    const stage = await ReplicationStage.makeInSync({ blocks: 128, settings: { retryMs: 1 } });
    // Of the stage: 64 blocks.
    await stage.replication.device.writeWhole(Array.from({ length: 70 }, (_, at) => write(at, 5)));
    const { replica } = stage;
    const reasons = new Set<string>();
    await until('it is lost', () => {
      if (replica.reason !== null) reasons.add(replica.reason);
      return replica.totals.losses > 0;
    });
    const bytes = 70 * (BLOCK_BYTES + 512) + 512;
    expect([...reasons].join()).toContain(
      `it failed: what is to reach it as a whole has ${bytes} bytes, and it takes epochs of ${64 * BLOCK_BYTES} bytes`,
    );
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });
});

it('a write that is longer than epochs may be is sent in parts, and is one below', async () => {
  const MIB = 1024 * 1024;
  const stage = await ReplicationStage.makeInSync({ blocks: 16 * 256, logSectors: 64 });
  const sent: [number, number][] = [];
  const enqueue = vi.spyOn(stage.replica, 'enqueue').mockImplementation((_, { offset, length }) => {
    sent.push([offset, length]);
    return null;
  });
  const offset = 3 * MIB + 512;
  await stage.replication.device.write(offset, new Uint8Array(9 * MIB));
  enqueue.mockRestore();
  expect(sent).toEqual([
    [offset, MIB - 512],
    [4 * MIB, 4 * MIB],
    [8 * MIB, 4 * MIB],
    [12 * MIB, 512],
  ]);
});
