/** Each primitive of the source document (data journaling, paragraph 25) does what its paragraph says. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  ALL,
  bits,
  type FileStage,
  finish,
  harden,
  longCommit,
  mapOf,
  NONE,
  stageWithFile,
  write,
} from './support/stage.js';

let { stage, ask, file } = {} as FileStage;

beforeEach(async () => {
  ({ stage, ask, file } = await stageWithFile());
});

describe('paragraph 25, operation 302: Allocate_Journal_Space', () => {
  it('gives extents of the pool that nobody else has, as many as are asked for ahead', async () => {
    const first = (await ask('Allocate_Journal_Space', { count: 5 })).extents;
    const other = (await (await stage.open('b'))('Allocate_Journal_Space', { count: 5 })).extents;
    expect(new Set([...first, ...other]).size).toBe(10);
    expect(await ask('Space', {})).toEqual({ extents: 64, free: 54, reserved: 0, journal: 10 });
    await stage.check();
  });

  it('goes on where the last one was, round the end, and takes what was freed only then', async () => {
    const first = (await ask('Allocate_Journal_Space', { count: 60 })).extents;
    await ask('Free_Journal_Space', { extents: first.slice(0, 8) });
    expect((await ask('Allocate_Journal_Space', { count: 6 })).extents).toEqual([60, 61, 62, 63, 0, 1]);
  });
});

it('paragraph 25, operation 302: Associate_Data_Journal tells the server, which tells the client that comes back', async () => {
  const [journal] = (await ask('Allocate_Journal_Space', { count: 1 })).extents;
  await ask('Associate_Data_Journal', { file, index: 7, journal: journal! });
  await ask('Associate_Data_Journal', { file, index: 7, journal: journal! });
  expect((await ask('Open_Client', {})).journal).toEqual([{ extent: journal, file, index: 7, flags: null }]);
  await stage.check();
});

describe('paragraph 25, operation 302: Harden_Extent_Flags', () => {
  it('brings the flags, associates, and shows the transaction to all at once', async () => {
    const other = await stage.open('b');
    const sizes = [{ file, sizeBytes: 5000 }];
    const { transaction, journal } = await harden(ask, [{ file, index: 2, marked: bits(1, 3) }], sizes);
    const seen = await other('Map_Extents', { file, from: 2, count: 1 });
    expect(seen.sizeBytes).toBe(5000);
    expect(seen.extents[0]).toMatchObject({
      extent: null,
      used: NONE,
      pending: [{ transaction, journal: journal[0], marked: bits(1, 3), cleared: NONE }],
    });
    await stage.check();
  });

  it('keeps the flags for the client alone where the commit does not start', async () => {
    const [journal] = (await ask('Allocate_Journal_Space', { count: 1 })).extents;
    const extents = [{ file, index: 0, journal: journal!, marked: bits(4), cleared: bits(5) }];
    const sizes = [{ file, sizeBytes: 99 }];
    expect(await ask('Harden_Extent_Flags', { extents, sizes, starts: false })).toEqual({
      transaction: null,
      done: null,
    });
    expect((await mapOf(ask, file, 0)).pending).toEqual([]);
    await stage.restart();
    const left = await ask('Open_Client', {});
    expect(left.journal).toEqual([
      { extent: journal, file, index: 0, flags: { marked: bits(4), cleared: bits(5) } },
    ]);
    expect(left.sizes).toEqual(sizes);
    await ask('Harden_Extent_Flags', { extents, sizes, starts: true });
    expect((await ask('Open_Client', {})).sizes).toEqual([]);
    await stage.check();
  });

  it('takes a size alone: there is nothing to wait for', async () => {
    const { transaction } = await ask('Harden_Extent_Flags', {
      extents: [],
      sizes: [{ file, sizeBytes: 1 }],
      starts: true,
    });
    expect(transaction).toBeNull();
    expect((await ask('Look_Up_File', { name: 'disk' })).sizeBytes).toBe(1);
    await stage.check();
  });

  it('takes any number of extents: parts are put first, and one commit seals them', async () => {
    const { big, client, long, extents } = await longCommit(1200);
    big.engine.commits = 0;
    const { transaction } = await client('Harden_Extent_Flags', { extents, sizes: [], starts: true });
    // 4.7 MiB of flags, in engine commits of 1 MiB at most.
    expect(big.engine.commits).toBeGreaterThan(5);
    expect((await mapOf(client, long, 1199)).pending).toMatchObject([
      { transaction, marked: extents[0]!.marked, cleared: extents[0]!.cleared },
    ]);
    await big.check();
  });
});

describe('paragraph 25, operation 302: Swap_Data_Journal', () => {
  it('puts the journal extent, which the server knows, in the place of the data extent', async () => {
    await write(ask, { file, index: 0, marked: bits(0, 1, 2) });
    const data = (await mapOf(ask, file, 0)).extent;
    const { transaction, journal } = await harden(ask, [{ file, index: 0, marked: bits(1, 2, 3, 4) }]);
    const done = await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
    expect(done).toEqual({ extents: [{ journal: [data], wasDone: false }], isTransactionDone: true });
    expect(await mapOf(ask, file, 0)).toEqual({
      index: 0,
      extent: journal[0],
      used: bits(0, 1, 2, 3, 4),
      isShared: false,
      pending: [],
    });
    await stage.check();
  });

  it('says so when it was done before', async () => {
    const { transaction } = await harden(ask, [{ file, index: 0, marked: bits(1) }]);
    await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
    const again = await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
    expect(again).toEqual({ extents: [{ journal: [], wasDone: true }], isTransactionDone: false });
    await stage.check();
  });

  it('of several extents is one message: all of them, or none where one is not to be swapped', async () => {
    await write(ask, { file, index: 2, marked: bits(0, 1, 2, 3) });
    const before = (await mapOf(ask, file, 2)).extent;
    const { transaction, journal } = await harden(
      ask,
      [0, 1, 2].map((index) => ({ file, index, marked: bits(1) })),
    );
    const all = [0, 1, 2].map((index) => ({ file, index }));
    // The third has more to keep than was marked: it is to be copied home.
    await expect(ask('Swap_Data_Journal', { transaction, extents: all })).rejects.toThrow('to commit');
    expect((await mapOf(ask, file, 0)).pending).toHaveLength(1);
    const swapped = await ask('Swap_Data_Journal', { transaction, extents: all.slice(0, 2) });
    const none = { journal: [], wasDone: false };
    expect(swapped).toEqual({ extents: [none, none], isTransactionDone: false });
    expect((await mapOf(ask, file, 1)).extent).toBe(journal[1]);
    const last = await ask('Commit_Data_Journal', { transaction, extents: all });
    const done = { journal: [], wasDone: true };
    const extents = [done, done, { journal: [journal[2]], wasDone: false }];
    expect(last).toEqual({ extents, isTransactionDone: true });
    expect((await mapOf(ask, file, 2)).extent).toBe(before);
    await stage.check();
  });
});

it('paragraph 25, operation 302: Commit_Data_Journal moves nothing: flags are cleared, and the data extent has more in use', async () => {
  await write(ask, { file, index: 0, marked: ALL });
  const data = (await mapOf(ask, file, 0)).extent;
  const { transaction, journal } = await harden(ask, [{ file, index: 0, marked: bits(1), cleared: bits(6) }]);
  const done = await ask('Commit_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
  expect(done).toEqual({ extents: [{ journal: [journal[0]], wasDone: false }], isTransactionDone: true });
  expect(await mapOf(ask, file, 0)).toMatchObject({
    extent: data,
    used: bits(0, 1, 2, 3, 4, 5, 7),
    pending: [],
  });
  await stage.check();
});

describe('paragraph 25, operation 302: Disassociate_Journal_Extent', () => {
  it('before a commit discards what was written', async () => {
    const [journal] = (await ask('Allocate_Journal_Space', { count: 1 })).extents;
    const extents = [{ file, index: 0, journal: journal!, marked: bits(4), cleared: NONE }];
    await ask('Harden_Extent_Flags', { extents, sizes: [], starts: false });
    await ask('Disassociate_Journal_Extent', { extents: [journal!] });
    await ask('Free_Journal_Space', { extents: [journal!] });
    expect((await ask('Open_Client', {})).journal).toEqual([]);
    expect(await ask('Space', {})).toMatchObject({ free: 64, journal: 0 });
    await stage.check();
  });

  it('after a commit the extent is free for another: not before', async () => {
    const { transaction, journal } = await harden(ask, [{ file, index: 0, marked: bits(1) }]);
    const associate = { file, index: 5, journal: journal[0]! };
    await expect(ask('Associate_Data_Journal', associate)).rejects.toMatchObject({ code: 'REFUSED' });
    await expect(ask('Disassociate_Journal_Extent', { extents: [journal[0]!] })).rejects.toThrow('hardened');
    await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
    const second = await harden(ask, [{ file, index: 0, marked: bits(1, 2) }]);
    const swap = { transaction: second.transaction, extents: [{ file, index: 0 }] };
    const { extents: done } = await ask('Swap_Data_Journal', swap);
    expect(done).toEqual([{ journal: [journal[0]], wasDone: false }]);
    await expect(ask('Associate_Data_Journal', associate)).rejects.toThrow('not disassociated');
    await ask('Disassociate_Journal_Extent', { extents: [journal[0]!] });
    await ask('Associate_Data_Journal', associate);
    await stage.check();
  });
});

it('a hole that is cleared, and a whole extent that is: nothing is kept, and the extent comes back', async () => {
  expect(await write(ask, { file, index: 0, marked: NONE, cleared: bits(1) })).toEqual(['commit']);
  expect((await mapOf(ask, file, 0)).extent).toBeNull();
  await write(ask, { file, index: 0, marked: ALL });
  const extents = [{ file, index: 0, journal: null, marked: NONE, cleared: ALL }];
  const { transaction } = await ask('Harden_Extent_Flags', { extents, sizes: [], starts: true });
  expect(await finish(ask, transaction!)).toEqual(['commit']);
  expect((await mapOf(ask, file, 0)).extent).toBeNull();
  await stage.check();
});
