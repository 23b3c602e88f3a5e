/**
 * A log or a map that takes nothing any more, and a log that is short: writes go on, nothing is copied again and again, and
 * nothing is lost.
 */
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { TrackerBench } from './support/parts.js';
import { ReplicationStage, type StageOptions } from './support/stage.js';

const block = (byte: number) => new Uint8Array(BLOCK_BYTES).fill(byte);

/** Writes to one of the two fail from the moment on in which that is asked for. */
function failing(which: 'log' | 'map'): { options: StageOptions; fail: () => void; heal: () => void } {
  let isFailing = false;
  let device: FaultyDevice | null = null;
  const fail = () => {
    isFailing = true;
    device!.addRule({ operations: ['write'], latch: true });
  };
  const wrap: StageOptions['wrap'] = (lower, name) => {
    if (name !== which) return lower;
    device = new FaultyDevice(lower);
    if (isFailing) fail();
    return device;
  };
  return {
    options: { wrap },
    fail,
    heal: () => {
      isFailing = false;
    },
  };
}

describe('a transaction log that cannot be written', () => {
  it('leaves the secondary unsynchronized until the volume is opened again; then its dirty blocks are copied', async () => {
    const { options, fail, heal } = failing('log');
    const stage = await ReplicationStage.makeInSync(options);
    const before = stage.replica.totals.resyncs;
    fail();
    for (let at = 0; at < 5; at++) await stage.device.write(at * BLOCK_BYTES, block(1));
    await stage.replica.settled();
    expect(stage.replica.state).toBe('unsynchronized');
    expect(stage.replica.reason).toContain('the transaction log cannot be written');
    expect([stage.replica.totals.resyncs, stage.replica.dirtyBlocks]).toEqual([before, 5]);
    await stage.device.flush();
    await stage.replication.close();
    heal();
    await stage.open();
    await stage.inSync();
    expect(stage.replica.totals.copiedBlocks).toBe(5);
    expect(await stage.differing()).toEqual([]);
  });
});

describe('a map that cannot be written', () => {
  it('is said, and keeps no write from the primary; nothing is copied again and again', async () => {
    const { options, fail } = failing('map');
    const stage = await ReplicationStage.makeInSync(options);
    const before = stage.replica.totals.resyncs;
    fail();
    stage.disconnect();
    await stage.device.write(0, block(1));
    await stage.device.flush();
    await stage.device.write(BLOCK_BYTES, block(1));
    await stage.replica.settled();
    expect(stage.failedMaps).toEqual(['second']);
    expect(stage.replica.reason).toContain('its map cannot be written');
    stage.isReachable = true;
    await stage.device.write(2 * BLOCK_BYTES, block(1));
    expect(stage.replica.totals.resyncs).toBe(before);
    await stage.replication.close();
  });
});

describe('a loss of which nothing could be written down', () => {
  it('is tried again when the log is full of it, and then frees that', async () => {
    const bench = new TrackerBench();
    const tracking = bench.inSync();
    await bench.write(1);
    bench.map(tracking).failure = new Error('no space');
    bench.throwsOnMapFailed = true;
    await expect(bench.tracker.lose(tracking, 'late', null)).rejects.toThrow('no space');
    await expect(tracking.losing).rejects.toThrow('no space');
    expect([tracking.leansOnLog, bench.log.active]).toEqual([true, 1]);
    bench.log.room = 1;
    bench.throwsOnMapFailed = false;
    await bench.write(2);
    expect([tracking.leansOnLog, bench.log.active, bench.losses.length]).toEqual([false, 0, 1]);
  });
});

describe('a replica that has diverged', () => {
  it('is reached again by resume, when what was in its place is gone', async () => {
    const stage = await ReplicationStage.makeDiverged();
    stage.beforeResync = async () => {};
    await stage.replication.resume(stage.replica);
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });
});

describe('a replica that was paused', () => {
  it('says why it cannot be reached when it goes on', async () => {
    const stage = await ReplicationStage.makeInSync();
    await stage.replica.pause();
    stage.isReachable = false;
    await stage.replication.resume(stage.replica);
    await stage.replica.attempted();
    expect(stage.replica.reason).toContain('nobody answers');
    await stage.replication.close();
  });
});

describe('a log that is short', () => {
  it('loses no secondary that keeps up, though nobody flushes', async () => {
    const stage = await ReplicationStage.makeInSync({ logSectors: 4 });
    for (let n = 0; n < 200; n++) await stage.device.write(((n * 7) % 64) * BLOCK_BYTES, block(n));
    expect(stage.replica.totals.losses).toBe(0);
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });
});
