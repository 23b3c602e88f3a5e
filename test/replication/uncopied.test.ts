/** Blocks that were never copied are passed over by verify: no crash and no damage may bring a block there that was written. */
import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { verify } from '../../src/replication/verify.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { turns, until } from './support/parts.js';
import { ReplicationStage } from './support/stage.js';

const block = (byte: number) => new Uint8Array(BLOCK_BYTES).fill(byte);

/** In sync; these blocks differ, and were never copied. */
async function withUncopied(from: number, count: number): Promise<ReplicationStage> {
  const stage = await ReplicationStage.make();
  await stage.primary.write(from * BLOCK_BYTES, new Uint8Array(count * BLOCK_BYTES).fill(9), { fua: true });
  await stage.open();
  const { map, file } = uncopied(stage);
  map.set({ from, count });
  await file.persist([{ from, count }]);
  await stage.inSync();
  return stage;
}

function uncopied(stage: ReplicationStage) {
  const [tracking] = stage.replication.tracker.secondaries;
  return tracking!.uncopied!;
}

const left = (stage: ReplicationStage) => [...uncopied(stage).map.runs()];

/** All that differs is named, by one map or the other; and then it is copied. */
async function expectNamed(stage: ReplicationStage, never: { from: number; count: number }[]) {
  await stage.open({ starts: false });
  const named = new Set<number>();
  for (const range of [...stage.replication.dirtyRanges(stage.replica), ...left(stage)])
    for (let at = 0; at < range.count; at++) named.add(range.from + at);
  expect((await stage.differing()).filter((each) => !named.has(each))).toEqual([]);
  await stage.replication.start();
  await stage.inSync();
  expect(left(stage)).toEqual(never);
  await stage.replication.close();
}

it('a block that was written, and is clean and DONE, is none after a crash', async () => {
  const stage = await withUncopied(5, 3);
  await stage.device.write(6 * BLOCK_BYTES, block(1));
  await stage.inSync();
  await stage.replication.settle(stage.replica);
  expect(stage.replication.log.activeTransactions).toBe(0);
  await stage.crashPrimary(1, 'none');
  await expectNamed(stage, [
    { from: 5, count: 1 },
    { from: 7, count: 1 },
  ]);
});

it('a block that was copied by a resync is none after a crash', async () => {
  const stage = await withUncopied(5, 3);
  await stage.replica.copyAgain([{ from: 7, count: 1 }]);
  await stage.inSync();
  await stage.crashPrimary(1, 'none');
  await expectNamed(stage, [{ from: 5, count: 2 }]);
});

it('a block that is written again and again is clean in the end, and so are all others', async () => {
  const stage = await withUncopied(0, 32);
  for (let at = 0; at < 32; at++) {
    await stage.device.write(at * BLOCK_BYTES, block(at + 1));
    if (at % 3 === 0) await stage.device.flush();
    await stage.device.write(0, block(at));
  }
  await stage.inSync();
  await stage.replication.settle(stage.replica);
  expect([left(stage), stage.replica.dirtyBlocks]).toEqual([[], 0]);
  await stage.replication.close();
});

it('a block is dirty as long as that it was written is not in the file; and where it cannot be, all is stuck', async () => {
  const stage = await withUncopied(5, 1);
  const device = new FaultyDevice(stage.uncopied, { rules: [{ operations: ['flush'] }] });
  const { file } = uncopied(stage);
  stage.uncopied.flush = () => device.flush();
  await stage.device.write(5 * BLOCK_BYTES, block(1), { fua: true });
  await stage.device.flush();
  await until('it is lost', () => stage.replica.state === 'unsynchronized');
  await until('it is stuck', () => stage.replica.reason?.includes('its map cannot be written') === true);
  await turns();
  expect(file.map.isEmpty).toBe(true);
  expect(stage.replica.dirtyBlocks).toBe(1);
  await stage.replication.close();
});

it('verify tells what it has compared, and what not', async () => {
  const stage = await withUncopied(5, 3);
  const { replication, replica, primary } = stage;
  const found = await verify(
    {
      ...{ replica, tracker: replication.tracker, primary },
      isUncopied: (at) => replication.isUncopied(replica, at),
      settle: () => replication.settle(replica),
    },
    new AbortController().signal,
  );
  expect(found).toMatchObject({
    checkedBytes: 61 * BLOCK_BYTES,
    neverCopiedBytes: 3 * BLOCK_BYTES,
    differingBlocks: 0,
  });
  await replication.close();
});

it.each([
  ['the header', [0, 4096]],
  ['a page', null],
] as const)('of a map: %s that is damaged has none: they are copied, and that is said', async (_, at) => {
  const stage = await withUncopied(5, 3);
  await stage.replication.close();
  const bytes = new Uint8Array(stage.uncopied.size);
  await stage.uncopied.read(0, bytes);
  const page = Buffer.from(bytes).indexOf(Buffer.from('hfmb'));
  for (const offset of at ?? [page])
    await stage.uncopied.write(offset - (offset % 512), new Uint8Array(512).fill(7), { fua: true });
  await stage.open({ starts: false });
  expect(left(stage)).toEqual([]);
  expect(stage.replication.dirtyRanges(stage.replica)).toEqual([{ from: 0, count: 64 }]);
  expect(stage.warnings.join()).toMatch(/blocks .*count as dirty, and are copied/);
  await stage.replication.start();
  await stage.inSync();
  expect(await stage.differing()).toEqual([]);
  await stage.crashPrimary(1, 'none');
  stage.warnings.length = 0;
  await stage.open();
  expect([left(stage), stage.warnings]).toEqual([[], []]);
  await stage.inSync();
  await stage.replication.close();
});
