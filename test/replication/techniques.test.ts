/**
 * The techniques of coordinated dirty block tracking, paragraphs 86 to 100, as far as they are the primary's, over real logs and
 * maps. What maps do by themselves (compression, chunks, what is not written twice) is test/replication/map's.
 */
import { afterEach, describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { until } from './support/parts.js';
import { ReplicationStage, type StageOptions } from './support/stage.js';

/** A block at a time, and each is settled. */
const SLOW = { pieceBytes: BLOCK_BYTES, inFlight: 1, settleBytes: BLOCK_BYTES };

let stage: ReplicationStage;

async function inSync(options: StageOptions = {}): Promise<void> {
  stage = await ReplicationStage.makeInSync(options);
}

const bytes = (blocks: number, byte: number) => new Uint8Array(blocks * BLOCK_BYTES).fill(byte);
const write = (block: number, blocks = 1, byte = block + 1) =>
  stage.device.write(block * BLOCK_BYTES, bytes(blocks, byte));
const mapCounts = () => {
  const [{ file }] = [...stage.replication.tracker.secondaries] as unknown as [
    { file: { counts: { rounds: number; writes: number; trims: number } } },
  ];
  return file.counts;
};

afterEach(async () => {
  await stage.replication.close();
});

describe('paragraph', () => {
  it('86: bits of the map on disk and of the log together are what is copied', async () => {
    await inSync();
    stage.disconnect();
    await write(1);
    await write(5, 2);
    await stage.inSync();
    await write(9);
    await stage.crashPrimary(1, 'all');
    await stage.open();
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
  });

  it('87: blocks that are dirty are copied, and no other byte', async () => {
    await inSync();
    stage.disconnect();
    await write(3);
    await write(20, 4);
    await write(63);
    await stage.inSync();
    expect(stage.replica.resync).toMatchObject({ copiedBlocks: 6, copiedBytes: 6 * BLOCK_BYTES });
  });

  it('88: the block is clean again when it is acknowledged, without a resync', async () => {
    await inSync();
    await write(3);
    await stage.inSync();
    expect([stage.replica.dirtyBlocks, stage.replica.totals.resyncs]).toEqual([0, 0]);
  });

  it('89: in sync no bit is written to the map on disk', async () => {
    await inSync({ logSectors: 128 });
    const before = mapCounts().writes;
    for (let block = 0; block < 20; block++) await write(block);
    await stage.inSync();
    expect(mapCounts().writes).toBe(before);
  });

  it('90: after a crash of the primary the listed blocks alone are copied', async () => {
    await inSync();
    stage.disconnect();
    await write(2);
    await write(40, 3);
    await stage.crashPrimary(1, 'all');
    await stage.open();
    await stage.inSync();
    expect(stage.replica.resync?.copiedBlocks).toBe(4);
    expect(await stage.differing()).toEqual([]);
  });

  it('92, 93: a secondary that was away is swept when it is back, while the primary is in use', async () => {
    await inSync({ maxDelayTurns: 2 });
    stage.disconnect();
    await write(0, 30, 7);
    stage.isReachable = true;
    for (let block = 20; block < 50; block++) await write(block, 1, 9);
    await stage.inSync();
    expect(await stage.differing()).toEqual([]);
  });

  it('91, 92: copy on read: what users read of dirty blocks is copied with it, once', async () => {
    await inSync({ maxDelayTurns: 2, settings: { sweep: { ...SLOW, inFlight: 4 } } });
    stage.disconnect();
    await write(0, 30, 7);
    stage.replica.copiesOnRead = true;
    stage.isReachable = true;
    await until('it is swept', () => stage.replica.state === 'resyncing');
    const read = bytes(2, 0);
    for (let block = 28; stage.replica.state === 'resyncing'; block = block > 2 ? block - 2 : 28)
      await stage.device.read(block * BLOCK_BYTES, read);
    await stage.inSync();
    const { copiedBlocks, carriedBlocks } = stage.replica.resync!;
    expect(copiedBlocks).toBe(30);
    expect(carriedBlocks).toBeGreaterThan(0);
    expect(carriedBlocks).toBeLessThanOrEqual(30);
    expect(await stage.differing()).toEqual([]);
    expect(stage.replica.copiesOnRead).toBe(false);
  });

  it('93: what is written while the sweep runs is dirty, and in no queue', async () => {
    await inSync({ maxDelayTurns: 2, settings: { sweep: SLOW } });
    stage.disconnect();
    await write(0, 30, 7);
    stage.isReachable = true;
    await until('it is swept', () => stage.replica.state === 'resyncing');
    await write(50);
    expect([stage.replica.state, stage.replica.queuedBytes]).toEqual(['resyncing', 0]);
    await stage.inSync();
    expect(stage.replica.resync!.copiedBlocks).toBe(31);
  });

  it('96: a first copy that is cut short by a crash goes on where it was', async () => {
    stage = await ReplicationStage.make({ maxDelayTurns: 2, settings: { sweep: SLOW } });
    await stage.open({ starts: false });
    const [tracking] = [...stage.replication.tracker.secondaries];
    tracking!.mark(tracking!.everything);
    await tracking!.file.persist([tracking!.everything]);
    stage.isWhole = false;
    await stage.replication.start();
    await until('a part is copied', () => (stage.replica.resync?.copiedBlocks ?? 0) >= 20);
    await stage.crashPrimary(3);
    await stage.open();
    await stage.inSync();
    expect(stage.replica.resync!.copiedBlocks).toBeLessThan(64);
    expect(await stage.differing()).toEqual([]);
  });

  it('98: while a secondary is away, bits are durable before data', async () => {
    await inSync();
    stage.disconnect();
    await write(0);
    await write(30);
    await stage.crashPrimary(1, 'all');
    await stage.open({ starts: false });
    expect([...[...stage.replication.tracker.secondaries][0]!.map.runs()]).toEqual([
      { from: 0, count: 1 },
      { from: 30, count: 1 },
    ]);
  });

  it('98.1: a chunk of the map that has the bit already is not written again', async () => {
    await inSync();
    stage.disconnect();
    await write(3);
    await write(3);
    const before = mapCounts().writes;
    for (let each = 0; each < 5; each++) await write(3);
    expect(mapCounts().writes).toBe(before);
  });

  it('98.2: what comes and goes while it is in sync leaves the map on disk as it was', async () => {
    await inSync();
    const before = mapCounts().rounds;
    await write(3);
    await stage.inSync();
    await stage.replication.close();
    expect(mapCounts().rounds - before).toBeLessThanOrEqual(1);
    expect(mapCounts().writes).toBe(0);
    await stage.open();
  });

  it('98.3, 98.4: a transaction that names blocks is done when the map has them on disk', async () => {
    await inSync({ logSectors: 16 });
    await write(3);
    await write(9);
    stage.disconnect();
    await write(11);
    await stage.replication.tracker.lose([...stage.replication.tracker.secondaries][0]!, 'late', null);
    expect(stage.replication.log.activeTransactions).toBe(0);
  });

  it('98.5: a page of the map that has no bit any more takes no room on disk', async () => {
    await inSync();
    stage.disconnect();
    await write(3);
    await stage.inSync();
    expect(mapCounts().trims).toBe(1);
  });

  it('100: a secondary can be taken away, and its blocks leave the log', async () => {
    await inSync();
    await write(3);
    await stage.replication.remove(stage.replica);
    expect(stage.replication.log.activeTransactions).toBe(0);
    await write(4);
    expect(stage.replication.log.activeTransactions).toBe(0);
    expect(stage.replication.replicas.size).toBe(0);
  });
});
