/**
 * Transactions that are done with their hardening (paragraphs 34 and 37): where nothing has to be copied for any extent,
 * and only there; in one engine commit, of which a cut leaves all or nothing.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  ALL,
  type Ask,
  bits,
  harden,
  makeFile,
  mapOf,
  NONE,
  Stage,
  type Written,
  write,
} from './support/stage.js';

let stage: Stage;
let ask: Ask;
let file: number;

beforeEach(async () => {
  stage = await Stage.make();
  ask = await stage.open('a');
  file = await makeFile(ask, 'disk');
});

/** With a journal extent for each that is not cleared whole. */
async function hardenAtOnce(written: readonly Written[], sizeBytes?: number) {
  const { extents: journal } = await ask('Allocate_Journal_Space', { count: written.length });
  const extents = written.map((one, at) => ({
    cleared: NONE,
    ...one,
    journal: one.cleared === ALL ? null : journal[at]!,
  }));
  const sizes = sizeBytes === undefined ? [] : [{ file, sizeBytes }];
  stage.engine.commits = 0;
  const reply = await ask('Harden_Extent_Flags', { extents, sizes, starts: true, completes: true });
  return { ...reply, journal };
}

describe('a transaction for which nothing is copied', () => {
  it('is done in the engine commit that hardens it, its size with it', async () => {
    await write(ask, { file, index: 0, marked: ALL }, { file, index: 1, marked: bits(0, 1) });
    const former = [await mapOf(ask, file, 0), await mapOf(ask, file, 1)].map(({ extent }) => extent);
    const all = [0, 1, 2].map((index) => ({ file, index, marked: ALL }));
    const { transaction, done, journal } = await hardenAtOnce(all, 999);
    expect(stage.engine.commits).toBe(1);
    expect(done).toMatchObject([
      { entry: { file, index: 0, data: former[0], used: ALL }, decision: 'swap', journal: [former[0]] },
      { entry: { index: 1, data: former[1], used: bits(0, 1) }, decision: 'swap', journal: [former[1]] },
      { entry: { index: 2, data: null, used: NONE }, decision: 'swap', journal: [] },
    ]);
    for (const index of [0, 1, 2])
      expect(await mapOf(ask, file, index)).toMatchObject({ extent: journal[index], used: ALL, pending: [] });
    expect(await ask('Look_Up_File', { name: 'disk' })).toMatchObject({ sizeBytes: 999 });
    const page = { transaction: transaction!, from: 0, count: 10 };
    expect((await ask('Read_Transaction', page)).extents).toEqual([]);
    // What is spent is not to be used before it is disassociated.
    const again = { file, index: 5, journal: former[0]! };
    await expect(ask('Associate_Data_Journal', again)).rejects.toThrow('not disassociated');
    await ask('Disassociate_Journal_Extent', { extents: [former[0]!, former[1]!] });
    await ask('Associate_Data_Journal', again);
    await stage.check();
  });

  it('leaves what is shared to the snapshot, and clears what is cleared whole', async () => {
    await write(ask, { file, index: 0, marked: ALL }, { file, index: 1, marked: ALL });
    await ask('Snapshot_File', { file, name: 's' });
    const cleared = { file, index: 1, marked: NONE, cleared: ALL };
    const { done } = await hardenAtOnce([{ file, index: 0, marked: ALL }, cleared]);
    expect(done).toMatchObject([
      { decision: 'swap', journal: [], entry: { isShared: true } },
      { decision: 'commit', journal: [] },
    ]);
    expect(await mapOf(ask, file, 1)).toMatchObject({ extent: null, used: NONE });
    const { file: snapshot } = await ask('Look_Up_File', { name: 's' });
    expect(await mapOf(ask, snapshot, 1)).toMatchObject({ used: ALL });
    await stage.settledCheck();
  });

  it('is there whole or not at all when the engine dies with it', async () => {
    await write(ask, { file, index: 0, marked: ALL });
    const before = await mapOf(ask, file, 0);
    const { extents: journal } = await ask('Allocate_Journal_Space', { count: 2 });
    const extents = [0, 1].map((index) => ({
      file,
      index,
      journal: journal[index]!,
      marked: ALL,
      cleared: NONE,
    }));
    stage.engine.commitsLeft = 0;
    const dead = ask('Harden_Extent_Flags', { extents, sizes: [], starts: true, completes: true });
    await expect(dead).rejects.toThrow('the engine is dead');
    await stage.restart();
    ask = await stage.open('a');
    expect(await mapOf(ask, file, 0)).toEqual(before);
    expect(await mapOf(ask, file, 1)).toMatchObject({ extent: null });
    await stage.check();
  });
});

describe('all of it waits', () => {
  it('where one extent has blocks to be copied', async () => {
    await write(ask, { file, index: 1, marked: bits(0, 1) });
    const { transaction, done } = await hardenAtOnce([
      { file, index: 0, marked: ALL },
      { file, index: 1, marked: bits(1, 2, 3) },
    ]);
    expect(done).toBeNull();
    expect(await mapOf(ask, file, 0)).toMatchObject({ extent: null, pending: [{ transaction }] });
    await stage.check();
  });

  it('where something older of the file does', async () => {
    await write(ask, { file, index: 0, marked: bits(0, 1) });
    await harden(ask, [{ file, index: 0, marked: bits(1, 2, 3) }]);
    expect((await hardenAtOnce([{ file, index: 1, marked: ALL }])).done).toBeNull();
    const other = await makeFile(ask, 'other');
    expect((await hardenAtOnce([{ file: other, index: 1, marked: ALL }])).done).toHaveLength(1);
    await stage.check();
  });

  it('where nobody has asked for it, or it is put in parts', async () => {
    const { transaction } = await harden(ask, [{ file, index: 0, marked: ALL }]);
    expect((await mapOf(ask, file, 0)).pending).toMatchObject([{ transaction }]);
    const big = await Stage.make({ extents: 500 });
    const client = await big.open('b');
    const long = await makeFile(client, 'long');
    const { extents: journal } = await client('Allocate_Journal_Space', { count: 200 });
    const extents = journal.map((one, index) => ({
      file: long,
      index,
      journal: one,
      marked: ALL,
      cleared: NONE,
    }));
    const reply = await client('Harden_Extent_Flags', { extents, sizes: [], starts: true, completes: true });
    expect(reply.done).toBeNull();
    await big.check();
  });
});
