/**
 * Recovery and Issues (data journaling, paragraphs 48 to 53), as far as it can be told at this layer: who dies when,
 * which target is lost when, and what there is after it.
 */
import { beforeEach, describe, expect, it } from 'vitest';
import { CompletionError, completeAll, completeTransactions } from '../../src/metadata/completion.js';
import type { FaultyDevice } from '../support/devices/faulty-device.js';
import {
  type Blocks,
  commitStart,
  everyBlock,
  readFile,
  stageWithTargets,
  type TargetStage,
} from './support/pool.js';
import { bits, harden, longCommit, mapOf, NONE, type Written } from './support/stage.js';

let { stage, ask, file, devices, pool } = {} as TargetStage;

beforeEach(async () => {
  ({ stage, ask, file, devices, pool } = await stageWithTargets());
});

const filled = (fill: number, blocks = everyBlock): Blocks =>
  Object.fromEntries(blocks.map((block) => [block, fill]));

/** The file's first extent with 1 in every block, on the first device; the next journal extent is on the second. */
async function fileOnFirst(): Promise<void> {
  const [even] = (await ask('Allocate_Journal_Space', { count: 1 })).extents;
  const { transaction } = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(1) }], [even!]);
  await completeTransactions(stage.server, 'a', [transaction], pool);
  expect(even! % 2).toBe(0);
}

async function complete(transaction: number): Promise<CompletionError | null> {
  try {
    await completeTransactions(stage.server, 'a', [transaction], pool);
    return null;
  } catch (cause) {
    expect(cause).toBeInstanceOf(CompletionError);
    return cause as CompletionError;
  }
}

/** Every call to the device fails until the answer is called. */
const lose = (device: FaultyDevice) => device.addRule({});

describe('paragraph 48: the client fails before the commit starts', () => {
  beforeEach(async () => {
    const { extents } = await ask('Allocate_Journal_Space', { count: 3 });
    const kept = { file, index: 1, journal: extents[1]!, marked: bits(2), cleared: NONE };
    await ask('Associate_Data_Journal', { file, index: 0, journal: extents[0]! });
    await ask('Harden_Extent_Flags', { extents: [kept], sizes: [], starts: false });
    await ask('Lock_File', { file, mode: 'write' });
  });

  it('and comes back in time: what it had associated and marked is its own, and it goes on', async () => {
    stage.nowMs += stage.leaseMs;
    const left = await ask('Open_Client', {});
    expect(left).toMatchObject({ isNew: false, locks: [{ file, mode: 'write' }], transactions: [] });
    expect(left.journal.map(({ index, flags }) => [index, flags?.marked])).toEqual([
      [0, undefined],
      [1, bits(2)],
    ]);
    await stage.check();
  });

  it('and does not: its journal extents and its locks are for others, the file is what it was', async () => {
    const other = await stage.open('b');
    const events = stage.events('b');
    expect(await other('Lock_File', { file, mode: 'write' })).toEqual({ isGranted: false });
    stage.nowMs += stage.leaseMs;
    await other('Renew_Lease', {});
    stage.nowMs += 1;
    await other('Renew_Lease', {});
    await stage.settledCheck();
    expect(events).toContainEqual({ type: 'lock-free', file });
    expect(await other('Lock_File', { file, mode: 'write' })).toEqual({ isGranted: true });
    expect(await other('Space', {})).toMatchObject({ free: 64, journal: 0 });
    expect((await mapOf(other, file, 1)).pending).toEqual([]);
    await expect(ask('Space', {})).rejects.toMatchObject({ details: { reason: 'lease-ended' } });
    expect(await ask('Open_Client', {})).toMatchObject({ isNew: true, journal: [] });
  });
});

it('paragraph 49: the client fails after the commit has started: another takes the transaction over', async () => {
  await fileOnFirst();
  const { transaction } = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2, [0]) }]);
  const other = await stage.open('b');
  expect(await other('Take_Over', {})).toEqual({ transactions: [] });
  await other('End_Client', { ended: 'a' });
  expect(stage.orphans).toEqual([transaction]);
  await completeAll(stage.server, 'b', pool);
  expect(await readFile(other, pool, file, 1)).toEqual([2, 1, 1, 1, 1, 1, 1, 1]);
  await other('Free_Journal_Space', { extents: [] });
  await stage.settledCheck();
});

it('paragraph 49: once taken over it is another’s: the former client is refused', async () => {
  const { transaction } = await harden(ask, [{ file, index: 0, marked: bits(0) }]);
  const other = await stage.open('b');
  await other('End_Client', { ended: 'a' });
  await stage.server.settled();
  await other('Take_Over', {});
  await ask('Open_Client', {});
  await expect(ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] })).rejects.toThrow(
    'another client',
  );
  await expect(ask('Read_Transaction', { transaction, from: 0, count: 1 })).rejects.toThrow('another client');
  await expect(ask('Abort_Transaction', { transaction, why: '' })).rejects.toThrow('another client');
  expect(await ask('Take_Over', {})).toEqual({ transactions: [] });
});

describe('paragraph 50: the server fails', () => {
  it('before the commit starts: no damage is done', async () => {
    const { extents } = await ask('Allocate_Journal_Space', { count: 1 });
    await ask('Associate_Data_Journal', { file, index: 0, journal: extents[0]! });
    await stage.restart();
    const { transaction } = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(3) }], extents);
    expect(await complete(transaction)).toBeNull();
    await stage.check();
  });

  it('after it started, and the client too before the server is back: the server knows enough', async () => {
    await fileOnFirst();
    await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2, [0]) }]);
    await stage.restart();
    const recovery = await stage.open('recovery');
    await recovery('End_Client', { ended: 'a' });
    const { statistics } = await completeAll(stage.server, 'recovery', pool);
    expect(statistics).toMatchObject({ transactions: 1, copiedHomeBlocks: 1 });
    expect(await readFile(recovery, pool, file, 1)).toEqual([2, 1, 1, 1, 1, 1, 1, 1]);
    await stage.settledCheck();
  });

  it('amid a long transaction, at each of its engine commits: all of it is there or nothing', async () => {
    for (let commits = 0, isSealed = false; !isSealed; commits++) {
      const { big, client, long, extents } = await longCommit(60);
      const sizes = [{ file: long, sizeBytes: 7 }];
      big.engine.commitsLeft = commits;
      const started = client('Harden_Extent_Flags', { extents, sizes, starts: true });
      const isDone = await started.then(
        () => true,
        () => false,
      );
      await big.restart();
      await big.check();
      const { transactions, journal: left } = await client('Open_Client', {});
      const map = await client('Map_Extents', { file: long, from: 0, count: 60 });
      isSealed = transactions.length === 1;
      expect(isDone).toBe(isSealed);
      expect(map.sizeBytes).toBe(isSealed ? 7 : 0);
      expect(map.extents.filter(({ pending }) => pending.length > 0)).toHaveLength(isSealed ? 60 : 0);
      // What came into the engine is kept for the client, which may start again.
      if (!isSealed) expect(left.every(({ flags }) => flags !== null)).toBe(true);
      if (isSealed) expect(commits).toBeGreaterThan(2);
      await big.check();
    }
  });
});

describe('paragraph 51: a storage target fails', () => {
  it('before the commit: another journal extent is assigned, not on that target', async () => {
    const { extents } = await ask('Allocate_Journal_Space', { count: 1 });
    await ask('Associate_Data_Journal', { file, index: 0, journal: extents[0]! });
    await ask('Disassociate_Journal_Extent', { extents: [extents[0]!] });
    const { extents: moved } = await ask('Allocate_Journal_Space', {
      count: 2,
      avoid: [{ from: 0, count: 40 }],
    });
    expect(moved).toEqual([40, 41]);
    await expect(
      ask('Allocate_Journal_Space', { count: 1, avoid: [{ from: 0, count: 64 }] }),
    ).rejects.toMatchObject({
      code: 'NO_SPACE',
    });
    await ask('Associate_Data_Journal', { file, index: 0, journal: moved[0]! });
    await stage.check();
  });

  it('after it started, and it has the data extent: it is told, and goes on when the target is back', async () => {
    await fileOnFirst();
    const { transaction } = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2, [0]) }]);
    const back = lose(devices[0]);
    expect(await complete(transaction)).toMatchObject({ role: 'data', transaction, code: 'IO_ERROR' });
    await stage.check();
    back();
    expect(await complete(transaction)).toBeNull();
    expect(await readFile(ask, pool, file, 1)).toEqual([2, 1, 1, 1, 1, 1, 1, 1]);
  });

  it('after it started, the journal extent is lost while copying home: it waits for the target', async () => {
    await fileOnFirst();
    // Two runs: the second cannot be read any more when the first has been copied.
    const { transaction } = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2, [0, 5]) }]);
    const back = devices[1].addRule({ operations: ['read'], nth: 2, latch: true });
    expect(await complete(transaction)).toMatchObject({ role: 'journal', hasBegunHome: true });
    // A new life of the client does not know how far the old one was.
    await ask('Open_Client', {});
    await expect(ask('Abort_Transaction', { transaction, why: 'lost' })).rejects.toThrow('may have begun');
    back();
    expect(await complete(transaction)).toBeNull();
    expect(await readFile(ask, pool, file, 1)).toEqual([2, 1, 1, 1, 1, 2, 1, 1]);
    await stage.check();
  });

  it('after it started, the journal extent is lost before any copy: the transaction is aborted whole', async () => {
    await fileOnFirst();
    const { transaction, journal } = await commitStart(ask, pool, [
      { file, index: 0, blocks: filled(2, [0]) },
      { file, index: 1, blocks: filled(2) },
    ]);
    lose(devices[1]);
    expect(await complete(transaction)).toMatchObject({ role: 'journal', hasBegunHome: false });
    await ask('Abort_Transaction', { transaction, why: 'the journal is lost' });
    expect(await readFile(ask, pool, file, 2)).toEqual([1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (const extent of journal) await ask('Disassociate_Journal_Extent', { extents: [extent] });
    await ask('Free_Journal_Space', { extents: journal });
    await stage.check();
  });

  it('a copy to a journal extent that is to be swapped fails: no copy home has begun, whatever the order of extents', async () => {
    await fileOnFirst();
    const spare = (await ask('Allocate_Journal_Space', { count: 8 })).extents;
    const even = spare.filter((extent) => extent % 2 === 0);
    const odd = spare.filter((extent) => extent % 2 === 1);
    const first = await commitStart(ask, pool, [{ file, index: 1, blocks: filled(1) }], [even[0]!]);
    expect(await complete(first.transaction)).toBeNull();
    const changes = [
      { file, index: 0, blocks: filled(2, [0]) },
      { file, index: 1, blocks: filled(2, [0, 1, 2, 3, 4]) },
    ];
    const { transaction } = await commitStart(ask, pool, changes, [even[1]!, odd[0]!]);
    devices[1].addRule({ operations: ['flush'] });
    expect(await complete(transaction)).toMatchObject({ role: 'journal', hasBegunHome: false });
    await ask('Abort_Transaction', { transaction, why: 'the journal is lost' });
    await stage.check();
  });
});

describe('Abort_Transaction', () => {
  const one: Written = { file: 1, index: 0, marked: bits(0) };

  it('is refused when a part is done, or another transaction was made on top', async () => {
    const { transaction } = await harden(ask, [one, { ...one, index: 1 }]);
    const later = await harden(ask, [{ ...one, index: 1 }]);
    await expect(ask('Abort_Transaction', { transaction, why: '' })).rejects.toThrow('on top of it');
    await ask('Abort_Transaction', { transaction: later.transaction, why: '' });
    await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
    await expect(ask('Abort_Transaction', { transaction, why: '' })).rejects.toThrow('done');
    await stage.check();
  });

  it('takes the size back, and the next one counts', async () => {
    await ask('Harden_Extent_Flags', { extents: [], sizes: [{ file, sizeBytes: 10 }], starts: true });
    const { transaction } = await harden(ask, [one], [{ file, sizeBytes: 20 }]);
    expect((await ask('Look_Up_File', { name: 'disk' })).sizeBytes).toBe(20);
    await ask('Abort_Transaction', { transaction, why: '' });
    expect((await ask('Look_Up_File', { name: 'disk' })).sizeBytes).toBe(10);
    await stage.check();
  });

  it('of a long one is all or nothing at each engine commit, and what is left goes when the server opens', async () => {
    for (let commits = 0, isDone = false; !isDone; commits++) {
      const { big, client, long, extents } = await longCommit(400);
      const { transaction } = await client('Harden_Extent_Flags', { extents, sizes: [], starts: true });
      big.engine.commitsLeft = commits;
      const abort = client('Abort_Transaction', { transaction: transaction!, why: '' });
      const isAnswered = await abort.then(
        () => true,
        () => false,
      );
      isDone = big.engine.commitsLeft > 0;
      await big.restart();
      await big.check();
      const map = await client('Map_Extents', { file: long, from: 0, count: 400 });
      const pending = map.extents.filter((extent) => extent.pending.length > 0).length;
      expect(pending === 0 || (pending === 400 && !isAnswered)).toBe(true);
      if (commits > 0) expect(pending).toBe(0);
      await client('Open_Client', {});
      await big.check();
    }
  });
});

describe('paragraph 52: a second write to a place whose commit runs', () => {
  it('has a journal extent of its own, and comes after the first', async () => {
    await fileOnFirst();
    const first = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2, [0, 1]) }]);
    const second = await commitStart(ask, pool, [{ file, index: 0, blocks: { 1: 3, 0: null } }]);
    expect(second.journal).not.toEqual(first.journal);
    const expected = [0, 3, 1, 1, 1, 1, 1, 1];
    expect(await readFile(ask, pool, file, 1)).toEqual(expected);
    await expect(
      ask('Commit_Data_Journal', { transaction: second.transaction, extents: [{ file, index: 0 }] }),
    ).rejects.toThrow('before');
    await completeTransactions(stage.server, 'a', [second.transaction, first.transaction], pool);
    expect(await readFile(ask, pool, file, 1)).toEqual(expected);
    await stage.check();
  });

  it('waits where the first is another client’s', async () => {
    const other = await stage.open('b');
    const first = await commitStart(ask, pool, [{ file, index: 0, blocks: filled(2) }]);
    const second = await commitStart(other, pool, [{ file, index: 0, blocks: filled(3) }]);
    const early = await completeTransactions(stage.server, 'b', [second.transaction], pool);
    expect(early.blocked).toEqual([second.transaction]);
    await completeTransactions(stage.server, 'a', [first.transaction], pool);
    expect((await completeTransactions(stage.server, 'b', [second.transaction], pool)).blocked).toEqual([]);
    expect((await readFile(ask, pool, file, 1))[0]).toBe(3);
    await stage.check();
  });

  it('the size of the younger counts, whichever is done first', async () => {
    const older = await harden(ask, [{ file, index: 0, marked: bits(0) }], [{ file, sizeBytes: 10 }]);
    const younger = await harden(ask, [{ file, index: 1, marked: bits(0) }], [{ file, sizeBytes: 20 }]);
    await ask('Swap_Data_Journal', { transaction: younger.transaction, extents: [{ file, index: 1 }] });
    expect((await ask('Look_Up_File', { name: 'disk' })).sizeBytes).toBe(20);
    await ask('Swap_Data_Journal', { transaction: older.transaction, extents: [{ file, index: 0 }] });
    expect((await ask('Look_Up_File', { name: 'disk' })).sizeBytes).toBe(20);
    await stage.check();
  });
});
