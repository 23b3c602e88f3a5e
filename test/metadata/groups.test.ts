/** Messages that wait together share an engine commit; none notices another that is refused. */
import { beforeEach, expect, it } from 'vitest';
import { ALL, type Ask, bits, harden, longCommit, makeFile, mapOf, Stage } from './support/stage.js';

let stage: Stage;
let ask: Ask;
let file: number;

beforeEach(async () => {
  stage = await Stage.make({ extents: 1000 });
  ask = await stage.open('a');
  file = await makeFile(ask, 'disk');
});

it('a hundred messages at once are one engine commit or two, and see each other in their order', async () => {
  stage.engine.commits = 0;
  const asked = Array.from({ length: 100 }, (_, n) => ask('Create_File', { name: `n${n}`, sizeBytes: n }));
  const made = await Promise.all(asked);
  expect(stage.engine.commits).toBeLessThanOrEqual(2);
  expect(new Set(made.map((one) => one.file)).size).toBe(100);
  await stage.check();
});

it('what comes while a commit is under way shares the next, and one is under way at most', async () => {
  const asked: Promise<unknown>[] = [];
  stage.engine.commits = 0;
  for (let n = 0; n < 50; n++) {
    asked.push(ask('Create_File', { name: `n${n}`, sizeBytes: n }));
    if (n % 10 === 9) await asked[n - 9];
  }
  await Promise.all(asked);
  expect(stage.engine.commits).toBeLessThanOrEqual(12);
  expect(stage.engine.mostUnderWay).toBe(1);
});

it('a question makes no engine commit', async () => {
  stage.engine.commits = 0;
  await ask('Map_Extents', { file, from: 0, count: 10 });
  await ask('List_Files', { count: 10 });
  await ask('Space', {});
  await ask('Renew_Lease', {});
  expect(stage.engine.commits).toBe(0);
});

it('one that is refused leaves the others of its group alone, and nothing of itself', async () => {
  const { extents } = await ask('Allocate_Journal_Space', { count: 2 });
  const [journal, second] = extents as [number, number];
  const good = { file, index: 0, journal, marked: ALL, cleared: bits() };
  const bad = { file, index: 1, journal: second, marked: ALL, cleared: ALL };
  const [first, refused, third] = await Promise.allSettled([
    ask('Create_File', { name: 'one', sizeBytes: 0 }),
    ask('Harden_Extent_Flags', { extents: [good, bad], sizes: [], starts: true }),
    ask('Create_File', { name: 'two', sizeBytes: 0 }),
  ]);
  expect([first.status, refused.status, third.status]).toEqual(['fulfilled', 'rejected', 'fulfilled']);
  expect((await mapOf(ask, file, 0)).pending).toEqual([]);
  await ask('Free_Journal_Space', { extents });
  await stage.check();
});

it('a question in a group is answered when what it saw is durable', async () => {
  stage.engine.commitsLeft = 0;
  const [made, seen] = await Promise.allSettled([
    ask('Create_File', { name: 'one', sizeBytes: 0 }),
    ask('Look_Up_File', { name: 'one' }),
  ]);
  expect([made.status, seen.status]).toEqual(['rejected', 'rejected']);
});

it('where a group is too much for the engine, each of it is tried alone', async () => {
  await ask('Create_File', { name: 'old', sizeBytes: 0 });
  const { file: old } = await ask('Look_Up_File', { name: 'old' });
  stage.engine.isTooMuch = (changes) => changes.filter(({ value }) => value !== null).length > 5;
  const [removed, made] = await Promise.allSettled([
    ask('Remove_File', { file: old }),
    ask('Snapshot_File', { file, name: 'snapshot' }),
  ]);
  expect(removed.status).toBe('fulfilled');
  expect(made).toMatchObject({ status: 'rejected', reason: { code: 'NO_SPACE' } });
  await stage.settledCheck();
});

it('a long transaction for which the engine has no room amid its parts is taken back at once', async () => {
  const { big, client, long, extents } = await longCommit(100);
  for (const part of [1, 2, 4, 5, 6, 7]) {
    let commits = 0;
    big.engine.isTooMuch = () => {
      commits += 1;
      return commits === part;
    };
    const started = client('Harden_Extent_Flags', { extents, sizes: [], starts: true });
    await expect(started).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect((await mapOf(client, long, 0)).pending).toEqual([]);
    await big.check();
  }
  big.engine.isTooMuch = () => false;
  await client('Harden_Extent_Flags', { extents, sizes: [], starts: true });
  expect((await mapOf(client, long, 99)).pending).toHaveLength(1);
  await big.check();
});

it('after a failure of the engine each message is refused, and what is there can be read', async () => {
  const { transaction } = await harden(ask, [{ file, index: 0, marked: ALL }]);
  stage.engine.commitsLeft = 0;
  await expect(
    ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] }),
  ).rejects.toMatchObject({
    code: 'IO_ERROR',
  });
  expect((await mapOf(ask, file, 0)).pending).toHaveLength(1);
  await stage.restart();
  await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
  await stage.check();
});

it('whoever is told and throws does not undo an answer; the fault is not lost', async () => {
  await stage.open('b');
  stage.server.subscribe('b', () => {
    throw new Error('the subscriber is broken');
  });
  await ask('Snapshot_File', { file, name: 's' });
  await expect(stage.server.settled()).rejects.toThrow('the subscriber is broken');
});
