/**
 * Figures 4 and 5 of coordinated dirty block tracking, step by step: the tracker with a log and maps that are replaced, so that
 * INSERT, DELETE and RESET are seen with nobody behind them.
 */
import { describe, expect, it } from 'vitest';
import { BLOCKS, TrackerBench, turns } from './support/parts.js';

describe('figure 4', () => {
  it('410, 422: a write ends when its data is down, and waits for no secondary', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const update = await bench.write(5);
    expect(bench.events).toEqual(['log', 'data']);
    expect(tracking.lists.listOf(5)).toEqual([update.sequence]);
  });

  it('414: its blocks are durable in the log before its data', async () => {
    const bench = new TrackerBench();
    bench.inSync();
    bench.log.turnstile.shut();
    const writing = bench.write(5, 2);
    await turns();
    expect(bench.log.begun).toEqual([[{ from: 5, count: 2 }]]);
    expect(bench.events).toEqual([]);
    bench.log.turnstile.open();
    await writing;
    expect(bench.events).toEqual(['log', 'data']);
  });

  it('414: a block that is listed is not listed again, and who meets it waits until that is durable', async () => {
    const bench = new TrackerBench();
    bench.inSync();
    bench.log.turnstile.shut();
    const both = Promise.all([bench.write(5), bench.write(5), bench.write(4, 2)]);
    await turns();
    expect(bench.log.begun).toEqual([[{ from: 5, count: 1 }], [{ from: 4, count: 1 }]]);
    expect(bench.events).toEqual([]);
    bench.log.turnstile.open();
    await both;
    expect(bench.events.slice(0, 2)).toEqual(['log', 'log']);
  });

  it('416: INSERT puts the update into the list of each of its blocks', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const first = await bench.write(5, 3);
    const second = await bench.write(7);
    expect([4, 5, 6, 7, 8].map((block) => tracking.lists.listOf(block))).toEqual([
      [],
      [first.sequence],
      [first.sequence],
      [first.sequence, second.sequence],
      [],
    ]);
    expect(second.sequence).toBeGreaterThan(first.sequence);
  });

  it('416, 418: it is in the list and dirty before its data is down', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.write(5, 1, () => {
      expect(tracking.lists.listOf(5)).toHaveLength(1);
      expect(tracking.map.has(5)).toBe(true);
    });
    expect.assertions(2);
  });

  it('418: a bit that is set stays set', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.write(5);
    await bench.write(5);
    expect([...tracking.map.runs()]).toEqual([{ from: 5, count: 1 }]);
  });

  it('420: data that fails leaves its blocks dirty, on disk', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await expect(
      bench.write(5, 1, () => {
        throw new Error('no disk');
      }),
    ).rejects.toThrow('no disk');
    expect(bench.losses).toEqual(['second: primary-failed']);
    expect(bench.map(tracking).disk.has(5)).toBe(true);
  });

  it('430, 432: DELETE takes out the update that was acknowledged, and no other', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const first = await bench.write(5, 2);
    const second = await bench.write(5);
    expect(tracking.remove(first.sequence)).toEqual([{ from: 6, count: 1 }]);
    expect(tracking.lists.listOf(5)).toEqual([second.sequence]);
    expect(tracking.lists.listOf(6)).toEqual([]);
    expect(tracking.remove(first.sequence)).toEqual([]);
  });

  it('440: while there is another update in its list a block stays dirty', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const first = await bench.write(5);
    const second = await bench.write(5);
    bench.acknowledge(tracking, first);
    expect(tracking.map.has(5)).toBe(true);
    bench.acknowledge(tracking, second);
    expect(tracking.map.has(5)).toBe(false);
  });

  it('442: RESET makes the block clean, and its neighbours stay as they are', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const update = await bench.write(5);
    await bench.write(6);
    bench.acknowledge(tracking, update);
    expect([...tracking.map.runs()]).toEqual([{ from: 6, count: 1 }]);
  });

  it('444, 452: without an acknowledgement nothing is done, and a full log ends in unsynchronized mode', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    bench.log.room = 2;
    await bench.write(1);
    await bench.write(3);
    expect(bench.log.isDone).toEqual([]);
    await bench.write(5);
    // What is acknowledged may lack the primary's flush alone: that is tried first (paragraph 53).
    expect(bench.primaryFlushes).toBe(1);
    expect(bench.losses).toEqual(['second: log-full']);
    expect(tracking.mode).toBe('mapped');
    expect(bench.log.isDone).toEqual([1, 2]);
  });

  it('452: a flush of the primary that makes room keeps it in sync', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    bench.log.room = 1;
    const update = await bench.write(1);
    bench.onFlush = () => bench.acknowledge(tracking, update);
    await bench.write(3);
    expect(bench.losses).toEqual([]);
    expect(bench.log.begun).toHaveLength(2);
  });

  it('452: a log that fails loses all of them, and writes go on', async () => {
    const bench = new TrackerBench();
    const trackings = [bench.inSync('a'), bench.inSync('b')];
    bench.log.failure = new Error('no log');
    await bench.write(9);
    expect(bench.losses).toEqual(['a: log-failed', 'b: log-failed']);
    for (const tracking of trackings) expect(bench.map(tracking).disk.has(9)).toBe(true);
    expect(bench.events.at(-1)).toBe('data');
  });
});

describe('figure 5', () => {
  it('520, 530: a transaction is not done while a block is in it', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const [a, b] = bench.tracker.updates([
      { from: 1, count: 1 },
      { from: 9, count: 2 },
    ]);
    await bench.tracker.write([a!, b!], async () => {});
    bench.acknowledge(tracking, a!);
    expect(bench.log.isDone).toEqual([]);
    bench.acknowledge(tracking, b!);
    expect(bench.log.isDone).toEqual([1]);
  });

  it('520: a block that was written to again stays in the transaction that lists it', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    const first = await bench.write(1);
    const second = await bench.write(1);
    bench.acknowledge(tracking, first);
    expect(bench.log.isDone).toEqual([]);
    bench.acknowledge(tracking, second);
    expect([bench.log.begun.length, bench.log.isDone]).toEqual([1, [1]]);
  });

  it('520: a block that another secondary lacks stays in it', async () => {
    const bench = new TrackerBench();
    const [a, b] = [bench.inSync('a'), bench.inSync('b')];
    const update = await bench.write(1);
    bench.acknowledge(a, update);
    expect([a.map.isEmpty, b.map.isEmpty, bench.log.isDone]).toEqual([true, false, []]);
    bench.acknowledge(b, update);
    expect(bench.log.isDone).toEqual([1]);
  });

  it('540: DONE is said once, and makes room', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    bench.log.room = 1;
    for (let block = 0; block < BLOCKS; block++) bench.acknowledge(tracking, await bench.write(block));
    expect(bench.log.isDone).toEqual(Array.from({ length: BLOCKS }, (_, at) => at + 1));
    expect(bench.losses).toEqual([]);
  });
});
