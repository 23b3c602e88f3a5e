/**
 * Replicas that are held, since their primary is no moment of anything for a while: nothing reaches them, what is written is dirty,
 * nobody waits for them, and they go on where they were when they are released.
 */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { BLOCK_BYTES, blocksOf } from '../../src/replication/blocks.js';
import { MapFile } from '../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../src/replication/map/page.js';
import type { ReplicaDescription } from '../../src/replication/replication.js';
import { inSync } from '../../src/volume/replication/in-sync.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { turns, until } from './support/parts.js';
import { contentOf, ReplicationStage } from './support/stage.js';

const block = (byte: number) => new Uint8Array(BLOCK_BYTES).fill(byte);
const WHY = 'second is resynced itself';

/** It is held: it stands so, nothing more reaches it, and what is written is dirty for it. */
async function expectHeld(stage: ReplicationStage): Promise<void> {
  const { replica } = stage;
  expect([replica.state, replica.reason, replica.isHeld]).toEqual(['unsynchronized', WHY, true]);
  const before = await contentOf(stage.secondary);
  const { reached } = stage;
  await stage.device.write(9 * BLOCK_BYTES, block(5), { fua: true });
  await stage.device.flush();
  await turns(30);
  expect([(await contentOf(stage.secondary)).equals(before), stage.reached]).toEqual([true, reached]);
  expect(replica.dirtyBlocks).toBeGreaterThan(0);
  expect([replica.state, replica.reason]).toEqual(['unsynchronized', WHY]);
}

async function expectAlike(stage: ReplicationStage): Promise<void> {
  await stage.inSync();
  expect([stage.replica.state, await stage.differing()]).toEqual(['in-sync', []]);
  await stage.replication.close();
}

describe('a replica that is held', () => {
  it.each(['async', 'sync'] as const)('in sync (%s) is away until it is released', async (mode) => {
    const stage = await ReplicationStage.makeInSync({ settings: { mode, onLoss: 'stop' } });
    await stage.device.write(0, block(1));
    await stage.replication.hold(WHY);
    await expectHeld(stage);
    await stage.replication.release();
    expect(stage.replica.isHeld).toBe(false);
    await expectAlike(stage);
  });

  it('amid a resync is resynced when it is released', async () => {
    const stage = await ReplicationStage.makeInSync();
    stage.disconnect();
    for (let at = 0; at < 30; at++) await stage.device.write(at * BLOCK_BYTES, block(at + 1));
    stage.hang('write');
    stage.isReachable = true;
    await until('it is resynced', () => stage.replica.state === 'resyncing');
    const waiting = [stage.replica.settled(), stage.replica.attempted()];
    await stage.replication.hold(WHY);
    await Promise.all(waiting);
    await expectHeld(stage);
    await stage.replication.release();
    await expectAlike(stage);
  });

  it('while it is away is tried no more until it is released', async () => {
    const stage = await ReplicationStage.makeInSync();
    stage.disconnect();
    await stage.device.write(0, block(1));
    await until('it is lost', () => stage.replica.state === 'unsynchronized');
    const waiting = stage.replica.settled();
    await stage.replication.hold(WHY);
    await waiting;
    stage.isReachable = true;
    await expectHeld(stage);
    await stage.replication.release();
    await expectAlike(stage);
  });

  it('and paused stays paused, also when it is released; resume leaves it held', async () => {
    const stage = await ReplicationStage.makeInSync();
    const { replica, replication } = stage;
    await replica.pause();
    await replication.hold(WHY);
    expect([replica.state, replica.reason]).toEqual(['paused', 'paused']);
    await replication.release();
    await turns();
    expect(replica.state).toBe('paused');
    await replication.hold(WHY);
    await replication.resume(replica);
    await expectHeld(stage);
    await replica.pause();
    expect(replica.state).toBe('paused');
    await replication.resume(replica);
    await expectHeld(stage);
    await replication.release();
    await expectAlike(stage);
  });

  it('and has diverged is not tried when it is released', async () => {
    const stage = await ReplicationStage.makeDiverged();
    await turns();
    const { reached } = stage;
    await stage.replication.hold(WHY);
    expect(stage.replica.state).toBe('diverged');
    await stage.replication.release();
    await turns(30);
    expect([stage.replica.state, stage.reached]).toEqual(['diverged', reached]);
    await stage.replication.close();
  });

  it('from the start is not reached before it is released', async () => {
    const stage = await ReplicationStage.make({ heldFor: WHY });
    await stage.open();
    await expectHeld(stage);
    expect(stage.reached).toBe(0);
    await stage.replication.release();
    await expectAlike(stage);
  });

  it('keeps no sync waiting: it says why not', async () => {
    const stage = await ReplicationStage.makeInSync();
    await stage.replication.hold(WHY);
    await Promise.all([stage.replica.settled(), stage.replica.attempted(), stage.replica.firstContact()]);
    await expect(
      inSync(stage.replica, { signal: new AbortController().signal }, 'sweep'),
    ).rejects.toMatchObject({
      message: `replica second is unsynchronized: ${WHY}`,
      hint: 'It goes on by itself when that is over.',
    });
    await stage.replication.close();
  });

  it('is held again for another reason, and is released once', async () => {
    const stage = await ReplicationStage.makeInSync();
    const { replication, replica } = stage;
    await Promise.all([replication.hold('first'), replication.hold(WHY)]);
    await expectHeld(stage);
    const released = replication.release();
    await replication.hold(WHY);
    await released;
    await expectHeld(stage);
    await replication.release();
    expect(replica.isHeld).toBe(false);
    await expectAlike(stage);
  });

  it('since it was added meanwhile begins when it is released, and not before it was to begin at all', async () => {
    const stage = await ReplicationStage.makeInSync();
    const { replication } = stage;
    const [one, other] = [await added(stage, 'one'), await added(stage, 'other')];
    await replication.hold(WHY);
    const { replica } = await replication.track(one.description);
    await replication.resume(replica);
    expect([replica.state, replica.reason]).toEqual(['unsynchronized', WHY]);
    const late = await replication.track(other.description);
    await stage.device.write(0, block(7));
    await turns(20);
    expect([one.reached(), other.reached()]).toEqual([0, 0]);
    await replication.release();
    await replica.settled();
    await turns(20);
    expect([replica.state, late.replica.state, other.reached()]).toEqual(['in-sync', 'paused', 0]);
    expect((await contentOf(one.secondary))[0]).toBe(7);
    await replication.resume(late.replica);
    await late.replica.settled();
    expect([late.replica.state, (await contentOf(other.secondary))[0]]).toEqual(['in-sync', 7]);
    await replication.close();
  });

  it('at random moments misses nothing', () =>
    withSeed(async (random) => {
      for (let round = 0; round < 5; round++) {
        const stage = await ReplicationStage.makeInSync({ maxDelayTurns: 3, seed: random.below(1000) });
        const { replication, replica } = stage;
        const calls: Promise<unknown>[] = [];
        for (let step = 0; step < 60; step++) {
          const kind = random.below(20);
          const at = random.below(64) * BLOCK_BYTES;
          if (kind < 10) await stage.device.write(at, random.bytes(BLOCK_BYTES));
          else if (kind < 12) calls.push(stage.device.flush());
          else if (kind < 14) await turns(random.below(20));
          else if (kind < 15) stage.disconnect();
          else if (kind < 16) stage.isReachable = true;
          else if (kind < 17) calls.push(replication.hold(WHY));
          else if (kind < 18) calls.push(replication.release());
          else if (kind < 19) await replica.pause();
          else calls.push(replication.resume(replica));
        }
        await Promise.all(calls);
        await replication.hold(WHY);
        if (replica.state === 'paused') await replication.resume(replica);
        await expectHeld(stage);
        await replication.release();
        await expectAlike(stage);
      }
    }));
});

/** A replica that can be added to the stage, on memory. */
async function added(stage: ReplicationStage, name: string) {
  const blocks = blocksOf(stage.sizeBytes);
  const uuid = Buffer.from(name.padEnd(16, '.')).toString('hex');
  const map = new MemoryDevice(mapFileBytes(blocks));
  await MapFile.format(map, {
    ...{ volumeUuid: stage.volumeUuid, replicaUuid: uuid },
    kind: 'dirty',
    blocks,
  });
  const secondary = new MemoryDevice(stage.sizeBytes);
  let reached = 0;
  const description: ReplicaDescription = {
    ...{ name, uuid, map, uncopied: null, isWhole: false, isPaused: false, settings: stage.replica.settings },
    connect: async () => {
      reached += 1;
      return {
        ...{ device: secondary, epochBytes: 64 * BLOCK_BYTES },
        beginResync: async () => {},
        endResync: async () => {},
        close: async () => {},
      };
    },
  };
  return { description, secondary, reached: () => reached };
}
