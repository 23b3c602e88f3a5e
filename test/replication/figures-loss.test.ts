/**
 * Figure 6 of coordinated dirty block tracking, step by step: what becomes of a secondary that is lost, and how it comes back.
 */
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { TrackerBench, turns, until } from './support/parts.js';
import { ReplicationStage } from './support/stage.js';

describe('figure 6', () => {
  it('610: the queue is dropped, and what was in it is dirty', async () => {
    const stage = await ReplicationStage.makeInSync({ settings: { retryMs: 1e9 } });
    stage.disconnect();
    await stage.device.write(0, new Uint8Array(2 * BLOCK_BYTES).fill(1));
    await until('it is lost', () => stage.replica.state === 'unsynchronized');
    expect([stage.replica.queuedBytes, stage.replica.dirtyBlocks]).toEqual([0, 2]);
    await stage.replication.close();
  });

  it('620: the whole map is on disk, and only then blocks leave the log', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.write(3);
    await bench.write(60);
    const map = bench.map(tracking);
    map.turnstile.shut();
    const losing = bench.tracker.lose(tracking, 'late', null);
    await turns();
    expect([bench.log.isDone, map.disk.count]).toEqual([[], 0]);
    map.turnstile.open();
    await losing;
    expect([...map.disk.runs()]).toEqual([
      { from: 3, count: 1 },
      { from: 60, count: 1 },
    ]);
    expect(bench.log.isDone).toEqual([1, 2]);
  });

  it('630 to 650, 670, 680: every dirty block leaves the log, clean ones and those of others stay', async () => {
    const bench = new TrackerBench();
    const [a, b] = [bench.inSync('a'), bench.inSync('b')];
    const first = await bench.write(3);
    await bench.write(40, 4);
    bench.acknowledge(b, first);
    await bench.tracker.lose(a, 'late', null);
    expect(bench.log.isDone).toEqual([1]);
    await bench.tracker.lose(b, 'late', null);
    expect(bench.log.isDone).toEqual([1, 2]);
  });

  it('680: while it is away, what is written is durable in its map before the data, and in no log', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.tracker.lose(tracking, 'secondary-failed', null);
    bench.events.length = 0;
    await bench.write(7);
    expect(bench.events).toEqual(['map', 'data']);
    expect(bench.map(tracking).disk.has(7)).toBe(true);
    expect(bench.log.begun).toEqual([]);
  });

  it('620: a map that cannot be written is told, and its word is waited for', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.write(3);
    bench.map(tracking).failure = new Error('no map');
    await bench.tracker.lose(tracking, 'late', null);
    expect(bench.events).toContain('map failed');
    expect(bench.log.isDone).toEqual([1]);
    bench.throwsOnMapFailed = true;
    await expect(bench.write(4)).rejects.toThrow('no map');
    expect(bench.events.filter((event) => event === 'data')).toHaveLength(1);
  });

  it('682, 684: dirty blocks are copied, and what is written after that is sent', async () => {
    const stage = await ReplicationStage.makeInSync();
    stage.disconnect();
    await stage.device.write(8 * BLOCK_BYTES, new Uint8Array(3 * BLOCK_BYTES).fill(1));
    await stage.inSync();
    expect(stage.replica.totals).toMatchObject({ resyncs: 1, copiedBlocks: 3, losses: 1 });
    await stage.device.write(0, new Uint8Array(BLOCK_BYTES).fill(2));
    await stage.inSync();
    expect(stage.replica.totals).toMatchObject({ resyncs: 1, copiedBlocks: 3, losses: 1 });
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });

  it('684: it is not in sync before the map of its loss is durable', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    bench.map(tracking).turnstile.shut();
    const losing = bench.tracker.lose(tracking, 'late', null);
    tracking.beginResync();
    expect(() => bench.tracker.synchronized(tracking)).toThrow('not written down');
    bench.map(tracking).turnstile.open();
    await losing;
    bench.tracker.synchronized(tracking);
    expect(tracking.mode).toBe('listed');
  });

  it('whoever finds it lost already waits until it is written down', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.write(3);
    bench.map(tracking).turnstile.shut();
    void bench.tracker.lose(tracking, 'late', null);
    let hasEnded = false;
    const second = bench.tracker.lose(tracking, 'paused', null).then(() => {
      hasEnded = true;
    });
    await turns();
    expect(hasEnded).toBe(false);
    bench.map(tracking).turnstile.open();
    await second;
    expect(bench.losses).toEqual(['second: late']);
  });

  it('one that is away makes no other one dirty, and holds up no DONE', async () => {
    const bench = new TrackerBench();
    const [near, far] = [bench.inSync('near'), bench.inSync('far')];
    await bench.tracker.lose(far, 'secondary-failed', null);
    const update = await bench.write(7);
    bench.acknowledge(near, update);
    expect([near.map.isEmpty, far.map.has(7), bench.log.isDone]).toEqual([true, true, [1]]);
  });
});
