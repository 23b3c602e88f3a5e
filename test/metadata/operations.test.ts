/**
 * The operations of figures 3A and 3B (data journaling, paragraphs 26 to 39) in which the metadata server or the
 * completion has a part, each by its number.
 */
import { beforeEach, expect, it } from 'vitest';
import { completeTransactions } from '../../src/metadata/completion.js';
import type { FaultyDevice } from '../support/devices/faulty-device.js';
import {
  BLOCK_BYTES,
  type Change,
  commitStart,
  everyBlock,
  readFile,
  stageWithTargets,
  type TargetStage,
} from './support/pool.js';
import { ALL, bits, finish, harden, mapOf, NONE, write } from './support/stage.js';

let { stage, ask, file, devices, pool } = {} as TargetStage;

beforeEach(async () => {
  ({ stage, ask, file, devices, pool } = await stageWithTargets());
});

const complete = (...transactions: number[]) => completeTransactions(stage.server, 'a', transactions, pool);
const filled = (fill: number, ...blocks: number[]) =>
  Object.fromEntries(blocks.map((block) => [block, fill]));

async function commit(...changes: Change[]) {
  const started = await commitStart(ask, pool, changes);
  return { ...started, ...(await complete(started.transaction)) };
}

it('paragraph 26, operation 304: journal and data extents are of one pool, and change their parts', async () => {
  const { journal } = await commit({ file, index: 0, blocks: filled(1, ...everyBlock) });
  expect((await mapOf(ask, file, 0)).extent).toBe(journal[0]);
  const second = await commit({ file, index: 0, blocks: filled(2, ...everyBlock) });
  expect((await mapOf(ask, file, 0)).extent).toBe(second.journal[0]);
  // The former data extent is a journal extent of the client.
  await ask('Associate_Data_Journal', { file, index: 1, journal: journal[0]! });
  await stage.check();
});

it('paragraph 27, operations 306 and 308: associated at once, or as the first step of the commit', async () => {
  const { extents } = await ask('Allocate_Journal_Space', { count: 2 });
  await ask('Associate_Data_Journal', { file, index: 0, journal: extents[0]! });
  const changes = [0, 1].map((index) => ({ file, index, blocks: filled(5, 1) }));
  const { transaction } = await commitStart(ask, pool, changes, extents);
  await complete(transaction);
  expect(await readFile(ask, pool, file, 2)).toEqual([0, 5, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0]);
  await stage.check();
});

it('paragraph 27: those found unassociated after a crash are freed, the others kept', async () => {
  const { extents } = await ask('Allocate_Journal_Space', { count: 60 });
  await ask('Associate_Data_Journal', { file, index: 3, journal: extents[9]! });
  await stage.restart();
  const left = await ask('Open_Client', {});
  expect(left.journal).toEqual([{ extent: extents[9], file, index: 3, flags: null }]);
  expect(await ask('Space', {})).toMatchObject({ free: 63, journal: 1 });
  await stage.check();
});

it('paragraph 28, operation 310: one journal extent at a place that is not hardened, with what it is given', async () => {
  const { extents } = await ask('Allocate_Journal_Space', { count: 2 });
  await ask('Associate_Data_Journal', { file, index: 0, journal: extents[0]! });
  await expect(ask('Associate_Data_Journal', { file, index: 0, journal: extents[1]! })).rejects.toThrow(
    'already',
  );
});

it('paragraphs 30 and 31, operations 314 and 316: flags are stored for each extent, in one engine commit', async () => {
  const { extents: journal } = await ask('Allocate_Journal_Space', { count: 20 });
  const extents = journal.map((extent, index) => ({
    file,
    index,
    journal: extent,
    marked: bits(index % 8),
    cleared: NONE,
  }));
  stage.engine.commits = 0;
  await ask('Harden_Extent_Flags', { extents, sizes: [], starts: true });
  expect(stage.engine.commits).toBe(1);
  await stage.restart();
  const seen = await (await stage.open('b'))('Map_Extents', { file, from: 0, count: 20 });
  expect(seen.extents.map(({ pending }) => pending[0]?.marked)).toEqual(extents.map(({ marked }) => marked));
});

it('paragraphs 32 and 33, operation 318: the server refuses what the decision does not say', async () => {
  await write(
    ask,
    { file, index: 0, marked: bits(0, 1, 2, 3) },
    { file, index: 1, marked: bits(0, 1, 2, 3) },
  );
  const { transaction } = await harden(ask, [
    { file, index: 0, marked: bits(4, 5, 6, 7, 0) },
    { file, index: 1, marked: bits(1) },
  ]);
  const refusal = { code: 'REFUSED', details: { fault: 'protocol' } };
  await expect(
    ask('Commit_Data_Journal', { transaction, extents: [{ file, index: 0 }] }),
  ).rejects.toMatchObject(refusal);
  await expect(
    ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 1 }] }),
  ).rejects.toMatchObject(refusal);
  expect(await finish(ask, transaction)).toEqual(['swap', 'commit']);
});

it('paragraph 34, operations 320 and 322: used blocks that are not marked are copied, flushed, then swapped', async () => {
  await commit({ file, index: 0, blocks: filled(1, 0, 5, 6) });
  for (const device of devices) device.resetCounts();
  // Figure 4: blocks 1, 2, 3, 4 and 6.
  const { statistics } = await commit({ file, index: 0, blocks: filled(2, 1, 2, 3, 4, 6) });
  expect(statistics).toMatchObject({ swappedExtents: 1, copiedBlocks: 2, copiedHomeBlocks: 0 });
  expect(await readFile(ask, pool, file, 1)).toEqual([1, 2, 2, 2, 2, 1, 2, 0]);
  expect((await mapOf(ask, file, 0)).used).toEqual(bits(0, 1, 2, 3, 4, 5, 6));
});

it('paragraph 34: other holders of the map are told, and the one who did it is not', async () => {
  await stage.open('b');
  const [own, others] = [stage.events('a'), stage.events('b')];
  const { transaction } = await harden(ask, [{ file, index: 4, marked: ALL }]);
  others.length = 0;
  await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 4 }] });
  expect(others).toEqual([{ type: 'map-changed', file, indexes: [4] }]);
  expect(own).toEqual([]);
});

it('paragraph 35, operations 324 and 326: flags are cleared and the extent can be associated with another', async () => {
  await commit({ file, index: 0, blocks: filled(1, ...everyBlock) });
  const former = (await mapOf(ask, file, 0)).extent!;
  await commit({ file, index: 0, blocks: filled(2, ...everyBlock) });
  await ask('Associate_Data_Journal', { file, index: 9, journal: former });
  expect((await ask('Open_Client', {})).journal).toEqual([{ extent: former, file, index: 9, flags: null }]);
  await stage.check();
});

it('paragraph 35: an extent is used again only when those who read it have ended', async () => {
  await commit({ file, index: 0, blocks: filled(1, ...everyBlock) });
  const former = (await mapOf(ask, file, 0)).extent!;
  const { transaction } = await commitStart(ask, pool, [
    { file, index: 0, blocks: filled(2, ...everyBlock) },
  ]);
  let refusal: unknown;
  const beforeReuse = async (extents: readonly number[]) => {
    expect(extents).toEqual([former]);
    refusal = await ask('Associate_Data_Journal', { file, index: 1, journal: former }).catch(
      (cause) => cause,
    );
  };
  await completeTransactions(stage.server, 'a', [transaction], pool, { beforeReuse });
  expect(refusal).toMatchObject({ code: 'REFUSED' });
  await ask('Associate_Data_Journal', { file, index: 1, journal: former });
});

it('paragraph 37, operations 328 and 330: marked blocks are copied home, flushed, then committed', async () => {
  await commit({ file, index: 0, blocks: filled(1, ...everyBlock) });
  const home = pool.locate((await mapOf(ask, file, 0)).extent!).device as FaultyDevice;
  for (const device of devices) device.resetCounts();
  const { transaction } = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2, 3, 6) }]);
  for (const device of devices) device.resetCounts();
  const { statistics } = await complete(transaction);
  expect(statistics).toMatchObject({ committedExtents: 1, copiedBlocks: 0, copiedHomeBlocks: 2 });
  expect(home.counts).toMatchObject({ writtenBytes: 2 * BLOCK_BYTES, flushes: 1 });
  expect(await readFile(ask, pool, file, 1)).toEqual([1, 1, 1, 2, 1, 1, 2, 1]);
});

it('paragraph 37, operation 332: many extents commit in one transaction: a flush a target, and few engine commits', async () => {
  const indexes = Array.from({ length: 10 }, (_, at) => at);
  await commit(...indexes.map((index) => ({ file, index, blocks: filled(1, ...everyBlock) })));
  const changes = indexes.map((index) => ({
    file,
    index,
    blocks: filled(2, ...everyBlock.slice(0, index < 5 ? 6 : 2)),
  }));
  const { transaction } = await commitStart(ask, pool, changes);
  for (const device of devices) device.resetCounts();
  stage.engine.commits = 0;
  const { statistics } = await complete(transaction);
  expect(statistics).toMatchObject({
    swappedExtents: 5,
    committedExtents: 5,
    copiedBlocks: 10,
    copiedHomeBlocks: 10,
  });
  for (const { counts } of devices) expect(counts.flushes).toBe(1);
  // Ten messages, then ten that give the journal extents back.
  expect(stage.engine.commits).toBeLessThanOrEqual(2);
  await stage.check();
});

it('paragraph 38, operations 334 and 336: after a commit the flags are gone and the extent is free', async () => {
  await commit({ file, index: 0, blocks: filled(1, ...everyBlock) });
  const { journal } = await commit({ file, index: 0, blocks: filled(2, 1) });
  await ask('Free_Journal_Space', { extents: journal });
  expect(await ask('Space', {})).toMatchObject({ free: 63, journal: 0 });
  await stage.check();
});

it('paragraph 39: amid the commit others read the transaction whole', async () => {
  const other = await stage.open('b');
  await commit(
    { file, index: 0, blocks: filled(1, ...everyBlock) },
    { file, index: 1, blocks: filled(1, ...everyBlock) },
  );
  const { transaction } = await commitStart(ask, pool, [
    { file, index: 0, blocks: filled(2, 0) },
    { file, index: 1, blocks: filled(2, ...everyBlock) },
  ]);
  const expected = [2, 1, 1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2];
  expect(await readFile(other, pool, file, 2)).toEqual(expected);
  await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 1 }] });
  expect(await readFile(other, pool, file, 2)).toEqual(expected);
});
