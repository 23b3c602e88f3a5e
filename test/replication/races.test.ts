/**
 * Moments that random use meets too seldom: what happens between two awaits of a flush, a loss, a sweep. Each was a fault once.
 */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { Acknowledged } from '../../src/replication/sending/acknowledged.js';
import { PrimaryFlushes } from '../../src/replication/sending/primary-flushes.js';
import { verify } from '../../src/replication/verify.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { TrackerBench, Turnstile, turns, until } from './support/parts.js';
import { ReplicationStage } from './support/stage.js';

const block = (byte: number) => new Uint8Array(BLOCK_BYTES).fill(byte);

describe('a block of which two updates are acknowledged stays dirty', () => {
  const setUp = () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const durable = new Set<number>();
    return { bench, tracking, durable, acknowledged: new Acknowledged(tracking, (at) => durable.has(at)) };
  };

  it('while the later one is not flushed on the primary', async () => {
    const { bench, tracking, durable, acknowledged } = setUp();
    const [first, second] = [await bench.write(5), await bench.write(5)];
    acknowledged.add([
      { ...first, stamp: 1 },
      { ...second, stamp: 2 },
    ]);
    durable.add(1);
    acknowledged.settle();
    expect([tracking.map.has(5), acknowledged.size]).toEqual([true, 1]);
    durable.add(2);
    acknowledged.settle();
    expect([tracking.map.has(5), acknowledged.size]).toEqual([false, 0]);
  });

  it('while the earlier one is not, and the later one had fua', async () => {
    const { bench, tracking, durable, acknowledged } = setUp();
    const [first, second] = [await bench.write(5), await bench.write(5)];
    durable.add(-1);
    acknowledged.add([
      { ...first, stamp: 1 },
      { ...second, stamp: -1 },
    ]);
    acknowledged.settle();
    expect(tracking.map.has(5)).toBe(true);
    durable.add(1);
    acknowledged.settle();
    expect(tracking.map.has(5)).toBe(false);
  });
});

it('a block that was never copied and is written in part is still none that was copied', async () => {
  const stage = await ReplicationStage.makeInSync();
  const [tracking] = stage.replication.tracker.secondaries;
  tracking!.uncopied!.map.set({ from: 5, count: 3 });
  await stage.device.write(5 * BLOCK_BYTES + 512, new Uint8Array(BLOCK_BYTES).fill(1));
  await stage.device.write(7 * BLOCK_BYTES, block(1));
  const isUncopied = () => [5, 6, 7].map((each) => stage.replication.isUncopied(stage.replica, each));
  expect(isUncopied()).toEqual([true, true, false]);
  await stage.inSync();
  // A resync copies blocks as a whole.
  await stage.replica.copyAgain([{ from: 5, count: 1 }]);
  await stage.inSync();
  expect(isUncopied()).toEqual([false, true, false]);
  await stage.replication.close();
});

it('a write that is under way when a secondary is added is dirty for it', async () => {
  const bench = new TrackerBench();
  const gate = new Turnstile();
  gate.shut();
  const [update] = bench.tracker.updates([{ from: 9, count: 2 }]);
  const writing = bench.tracker.write([update!], () => gate.pass);
  await turns(2);
  const tracking = bench.add();
  gate.open();
  await writing;
  expect([...tracking.map.runs()]).toEqual([{ from: 9, count: 2 }]);
});

it('a secondary that takes its time while it is verified keeps no write waiting, and what is written then is busy', async () => {
  const stage = await ReplicationStage.makeInSync();
  await stage.device.write(0, block(1));
  await stage.inSync();
  const { replication, replica, primary } = stage;
  const there = replica.secondary!;
  const hung = new Turnstile();
  const [lies, reads] = [new Uint8Array(BLOCK_BYTES).fill(9), { count: 0 }];
  const secondary = new Proxy(there, {
    get: (device, name) =>
      name === 'read'
        ? async (offset: number, into: Uint8Array) => {
            reads.count += 1;
            await hung.pass;
            await device.read(offset, into);
            if (reads.count > 1) return;
            into.set(lies);
            hung.shut();
          }
        : Reflect.get(device, name),
  });
  const verifying = verify(
    {
      ...{ tracker: replication.tracker, primary, isUncopied: () => false, settle: async () => {} },
      replica: new Proxy(replica, {
        get: (one, name) =>
          name === 'secondary' ? secondary : name === 'isDirty' ? () => false : Reflect.get(one, name, one),
      }),
    },
    new AbortController().signal,
  );
  await until('it is looked at again', () => reads.count === 2);
  await stage.device.write(0, block(2));
  hung.open();
  expect(await verifying).toMatchObject({ differingBlocks: 0, busyBlocks: 0 });
  expect(reads.count).toBeGreaterThan(2);
  await replication.close();
});

describe('a flush of the primary', () => {
  it('covers what had ended when it began, and nothing else', async () => {
    const below = new MemoryDevice(BLOCK_BYTES);
    const waits = new Turnstile();
    below.flush = async () => waits.pass;
    let told = 0;
    const flushes = new PrimaryFlushes(below, () => {
      told += 1;
    });
    const before = flushes.stamp;
    waits.shut();
    const flushing = flushes.flush();
    const amid = flushes.stamp;
    waits.open();
    await flushing;
    expect([flushes.isDurable(before), flushes.isDurable(amid), told]).toEqual([true, false, 1]);
    await flushes.flush();
    expect(flushes.isDurable(amid)).toBe(true);
  });

  it('that fails covers nothing', async () => {
    const below = new FaultyDevice(new MemoryDevice(BLOCK_BYTES), { rules: [{ operations: ['flush'] }] });
    const flushes = new PrimaryFlushes(below, () => {
      throw new Error('it was not flushed');
    });
    const { stamp } = flushes;
    await expect(flushes.flush()).rejects.toThrow('flush');
    expect(flushes.isDurable(stamp)).toBe(false);
  });
});

/** A resync of one block is under way, and such a call of it gets no answer. */
async function hangingAmidResync(call: 'flush' | 'write'): Promise<ReplicationStage> {
  const stage = await ReplicationStage.makeInSync();
  stage.disconnect();
  await stage.device.write(0, block(1));
  stage.isReachable = true;
  stage.hang(call);
  await until('it is swept', () => stage.replica.state === 'resyncing');
  return stage;
}

async function expectReachedAnew(stage: ReplicationStage): Promise<void> {
  expect(stage.replica.reason).toBe('acknowledgements were late');
  await stage.inSync();
  expect(await stage.differing()).toEqual([]);
  await stage.replication.close();
}

describe('a secondary', () => {
  it('that fails amid a synchronous write is lost before the writer is told', async () => {
    const stage = await ReplicationStage.makeInSync({ settings: { mode: 'sync', onLoss: 'continue' } });
    stage.disconnect();
    await stage.device.write(0, block(1), { fua: true });
    expect(stage.replica.state).toBe('unsynchronized');
    expect(stage.replica.reason).toContain('the connection is lost');
    await stage.replication.close();
  });

  it.each(['flush', 'write'] as const)(
    'whose %s is never answered is late, and reached anew',
    async (call) => {
      const stage = await ReplicationStage.makeInSync();
      stage.hang(call);
      await stage.device.write(0, block(1));
      await turns();
      stage.clock.ms += 20_000;
      stage.replica.checkDeadline();
      await until('it is hurried or lost', () => stage.replica.state !== 'in-sync');
      await expectReachedAnew(stage);
    },
  );

  it.each(['flush', 'write'] as const)(
    'whose %s is never answered amid a resync is late too',
    async (call) => {
      const stage = await hangingAmidResync(call);
      await turns();
      stage.replica.checkDeadline();
      expect(stage.replica.state).toBe('resyncing');
      stage.clock.ms += 70_000;
      stage.replica.checkDeadline();
      expect(stage.replica.state).toBe('unsynchronized');
      await expectReachedAnew(stage);
    },
  );

  it('that never answers keeps nobody from pausing it', async () => {
    const stage = await hangingAmidResync('write');
    await stage.replica.pause();
    expect(stage.replica.state).toBe('paused');
    await stage.replication.close();
  });

  it('that is paused while it is told that its resync begins is paused', async () => {
    const stage = await ReplicationStage.make();
    stage.isWhole = false;
    const begun = new Turnstile();
    begun.shut();
    stage.beforeResync = () => begun.pass;
    await stage.open();
    await until('it is reached', () => stage.replica.state === 'resyncing');
    const pausing = stage.replica.pause();
    await turns();
    begun.open();
    await pausing;
    expect(stage.replica.state).toBe('paused');
    await stage.replication.close();
  });

  it('of which blocks are to be copied again has them dirty, whatever is acknowledged meanwhile', async () => {
    const stage = await ReplicationStage.makeInSync({ settings: { retryMs: 1e9 } });
    const [tracking] = [...stage.replication.tracker.secondaries];
    const ranges = [{ from: 5, count: 1 }];
    const again = stage.replica.copyAgain(ranges);
    tracking!.reset(ranges);
    await again;
    expect(tracking!.map.has(5)).toBe(true);
    await stage.replication.close();
  });

  it('with an epoch that never ends is asked for it before it is late', async () => {
    const stage = await ReplicationStage.makeInSync({ settings: { idleMs: 1e9 } });
    await stage.device.write(0, block(1));
    await turns();
    stage.clock.ms += 6000;
    stage.replica.checkDeadline();
    await turns();
    stage.clock.ms += 6000;
    stage.replica.checkDeadline();
    expect(stage.replica.state).toBe('in-sync');
    await stage.replication.close();
  });
});
