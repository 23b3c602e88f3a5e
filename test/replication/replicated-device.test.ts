/**
 * The replicated device as a device: held to the contract with a secondary in sync, asynchronous and synchronous; and what its
 * modes promise.
 */
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { describeBlockDevice, SMALLEST_SIZE, type Subject } from '../conformance/block-device.js';
import { turns } from './support/parts.js';
import { ReplicationStage, type StageOptions } from './support/stage.js';

const block = (byte: number) => new Uint8Array(BLOCK_BYTES).fill(byte);

const inSync = (options: StageOptions) => ReplicationStage.makeInSync({ logSectors: 256, ...options });

for (const mode of ['async', 'sync'] as const)
  describeBlockDevice(`ReplicatedDevice, ${mode}`, {
    supports: { holes: true },
    async make(): Promise<Subject> {
      const stage = await inSync({ blocks: SMALLEST_SIZE / BLOCK_BYTES + 16, settings: { mode } });
      return {
        device: stage.device,
        cleanup: async () => {
          await stage.inSync().catch(() => {});
          expect(await stage.differing()).toEqual([]);
          await stage.replication.close();
        },
      };
    },
  });

describe('a replica', () => {
  it('in sync mode has on its disk what was answered with fua', async () => {
    const stage = await inSync({ settings: { mode: 'sync' } });
    await stage.device.write(0, block(7), { fua: true });
    expect(stage.secondary.volatileSectors).toBe(0);
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });

  it('in sync mode has on its disk what was flushed', async () => {
    const stage = await inSync({ settings: { mode: 'sync', idleMs: 1e9 } });
    await Promise.all([1, 2, 3].map((at) => stage.device.write(at * BLOCK_BYTES, block(at))));
    await stage.device.flush();
    expect([stage.secondary.volatileSectors, await stage.differing()]).toEqual([0, []]);
    await stage.replication.close();
  });

  it('in async mode keeps no write waiting', async () => {
    const stage = await inSync({});
    stage.hang('write');
    await stage.device.write(0, block(7), { fua: true });
    await stage.device.flush();
    expect(await stage.differing()).toEqual([0]);
    stage.disconnect();
    await stage.inSync();
    await stage.replication.close();
  });

  it('that is lost, with --on-loss stop, has writes refused until it is back', async () => {
    const stage = await inSync({ settings: { mode: 'sync', onLoss: 'stop', retryMs: 1e9 } });
    stage.disconnect();
    await expect(stage.device.write(0, block(1), { fua: true })).rejects.toMatchObject({ code: 'REFUSED' });
    await turns();
    await expect(stage.device.write(0, block(2))).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(stage.device.trim(0, BLOCK_BYTES)).rejects.toMatchObject({ code: 'REFUSED' });
    await stage.inSync();
    await stage.device.write(0, block(3), { fua: true });
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });

  it('that is lost, with --on-loss continue, is dirty and keeps nobody', async () => {
    const stage = await inSync({ settings: { mode: 'sync', onLoss: 'continue' } });
    stage.disconnect();
    await stage.device.write(0, block(1), { fua: true });
    await stage.device.write(5 * BLOCK_BYTES, block(2), { fua: true });
    await stage.device.flush();
    expect(stage.replica.dirtyBlocks).toBe(2);
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
    await stage.replication.close();
  });

  it('is not lost for a call that is out of range', async () => {
    const stage = await inSync({});
    await expect(stage.device.write(stage.sizeBytes, block(1))).rejects.toMatchObject({
      code: 'OUT_OF_RANGE',
    });
    expect([stage.replica.state, stage.replica.totals.losses]).toEqual(['in-sync', 0]);
    await stage.replication.close();
  });

  it.each(['primary', 'secondary'] as const)(
    'is the same on both where a trim of the %s changes nothing',
    async (side) => {
      const stage = await inSync({});
      stage[side].trim = async () => undefined;
      await stage.device.write(0, block(1));
      await stage.device.write(5 * BLOCK_BYTES, block(2));
      await stage.device.trim(512, 3 * BLOCK_BYTES);
      await stage.device.trim(5 * BLOCK_BYTES, BLOCK_BYTES);
      await stage.inSync();
      expect(await stage.differing()).toEqual([]);
      await stage.replication.close();
    },
  );

  it('of a large device is trimmed, all of it, in pieces', async () => {
    const stage = await inSync({ blocks: 3 * 16384 + 5 });
    await stage.device.write(0, block(1));
    await stage.device.trim(0, stage.sizeBytes);
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
    expect(stage.replica.totals.losses).toBe(0);
    await stage.replication.close();
  });
});
