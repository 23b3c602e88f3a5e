/** Blocks that were told of before they are written: listed with what is listed anyway, and taken off where nobody writes them. */
import { describe, expect, it } from 'vitest';
import { withCalls } from '../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { TransactionLog } from '../../src/replication/log/transaction-log.js';
import { TrackerBench, turns } from './support/parts.js';
import { contentOf, ReplicationStage } from './support/stage.js';

describe('their own writes', () => {
  it('are listed already: the log has one call for what is written first, and one for all that was told of', async () => {
    const bench = new TrackerBench();
    bench.inSync();
    bench.tracker.expect({ from: 10, count: 4 });
    bench.tracker.expect({ from: 30, count: 2 });
    expect(bench.log.begun).toEqual([]);
    await bench.write(1);
    const listed = [
      [{ from: 1, count: 1 }],
      [
        { from: 10, count: 4 },
        { from: 30, count: 2 },
      ],
    ];
    expect(bench.log.begun).toEqual(listed);
    bench.events.length = 0;
    for (const block of [10, 11, 12, 13, 30, 31]) await bench.write(block);
    expect(bench.events).toEqual(new Array(6).fill('data'));
    expect(bench.log.begun).toEqual(listed);
  });

  it('wait for the log where it is not there yet, as any write does', async () => {
    const bench = new TrackerBench();
    bench.inSync();
    bench.tracker.expect({ from: 10, count: 4 });
    bench.log.turnstile.shut();
    const writing = Promise.all([bench.write(1), bench.write(11)]);
    await turns();
    expect(bench.events).toEqual([]);
    bench.log.turnstile.open();
    await writing;
    expect(bench.events.filter((event) => event === 'data')).toHaveLength(2);
    expect(bench.events.indexOf('data')).toBeGreaterThan(bench.events.lastIndexOf('log') - 1);
  });

  it('make them dirty, and clean when both sides have them: then they are listed no more', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    bench.tracker.expect({ from: 10, count: 2 });
    await bench.write(1);
    const update = await bench.write(10, 2);
    expect(bench.log.isDone).toEqual([]);
    bench.acknowledge(tracking, update);
    expect(bench.log.isDone).toEqual([2]);
  });
});

describe('what nobody writes', () => {
  it('is taken off for what was told of later, but not what is dirty', async () => {
    const bench = new TrackerBench();
    bench.inSync();
    for (let block = 0; block < 2; block++) bench.tracker.expect({ from: block, count: 1 });
    await bench.write(60);
    await bench.write(1);
    for (let block = 0; block < 64; block++) bench.tracker.expect({ from: 100 + 2 * block, count: 1 });
    await bench.write(61);
    // 0 is gone, and 1 is dirty: the transaction of both stays.
    expect(bench.log.isDone).toEqual([]);
    bench.tracker.dropExpected();
    expect(bench.log.isDone).toEqual([4]);
  });

  it('is taken off where the log is full, and nobody is lost for it', async () => {
    const bench = new TrackerBench();
    bench.inSync();
    bench.log.room = 2;
    bench.tracker.expect({ from: 10, count: 4 });
    await bench.write(1);
    expect(bench.log.active).toBe(2);
    await bench.write(2);
    expect(bench.losses).toEqual([]);
    expect(bench.log.isDone).toEqual([2]);
  });

  it('is taken off when nobody leans on the log any more', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    bench.tracker.expect({ from: 10, count: 4 });
    await bench.write(1);
    await bench.tracker.lose(tracking, 'late', null);
    expect(bench.log.isDone).toEqual([1, 2]);
    await bench.write(11);
    expect(bench.map(tracking).disk.has(11)).toBe(true);
  });
});

describe('of a replica', () => {
  const told = (stage: ReplicationStage) =>
    stage.replication.device.willWrite(40 * BLOCK_BYTES, 8 * BLOCK_BYTES);
  const write = (stage: ReplicationStage, block: number) =>
    stage.device.write(block * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES).fill(block));

  it('many writes cost the log one write, where each cost one', async () => {
    const writes: number[] = [];
    for (const isTold of [false, true]) {
      let count = 0;
      const stage = await ReplicationStage.makeInSync({
        wrap: (device, name) =>
          name === 'map'
            ? device
            : withCalls(device, {
                write: (...args) => {
                  count += 1;
                  return device.write(...args);
                },
              }),
      });
      if (isTold) told(stage);
      await write(stage, 1);
      const before = count;
      for (let block = 40; block < 48; block++) await write(stage, block);
      writes.push(count - before);
      await stage.inSync();
      await stage.replication.close();
    }
    expect(writes).toEqual([8, 0]);
  });

  it('are dirty after a crash, are copied, and that is all', async () => {
    const stage = await ReplicationStage.makeInSync();
    told(stage);
    await write(stage, 1);
    await write(stage, 41);
    await stage.crashPrimary(1);
    await stage.open({ starts: false });
    const [tracking] = stage.replication.tracker.secondaries;
    expect([...tracking!.map.runs()]).toEqual([
      { from: 1, count: 1 },
      { from: 40, count: 8 },
    ]);
    await stage.replication.close();
    await stage.open();
    await stage.inSync();
    expect(Buffer.compare(await contentOf(stage.primary), await contentOf(stage.secondary))).toBe(0);
    await stage.replication.close();
  });

  it.each(['settle', 'close'] as const)('none is listed after %s', async (how) => {
    const stage = await ReplicationStage.makeInSync();
    told(stage);
    await write(stage, 1);
    if (how === 'settle') await stage.replication.settle(stage.replica);
    else {
      await stage.device.flush();
      await stage.replication.close();
    }
    const { active } = await TransactionLog.open(stage.log, { volumeUuid: stage.volumeUuid });
    expect(active).toEqual([]);
    if (how === 'settle') await stage.replication.close();
  });
});
