/**
 * Snapshots (paragraph 53, gone further): one engine commit however large the file is, shared extents that are never
 * written home, and the steps in which maps are emptied and merged, cut at every engine commit.
 */
import { expect, it } from 'vitest';
import { key } from '../../src/metadata/server/keys.js';
import { decode } from '../../src/metadata/server/records.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { ALL, type Ask, bits, harden, makeFile, mapOf, NONE, Stage, write } from './support/stage.js';

it('paragraph 53: a snapshot is one engine commit, whatever the size of the file', async () => {
  const stage = await Stage.make({ extents: 2000 });
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  for (let from = 0; from < 1000; from += 100) {
    await write(ask, ...Array.from({ length: 100 }, (_, at) => ({ file, index: from + at, marked: ALL })));
  }
  stage.engine.commits = 0;
  const snapshot = await ask('Snapshot_File', { file, name: 'disk@1' });
  await stage.server.settled();
  expect(stage.engine.commits).toBe(1);
  expect(snapshot).toMatchObject({ isReadOnly: true, snapshotOf: file });
  const before = await ask('Map_Extents', { file, from: 0, count: 1000 });
  expect(before.extents.every(({ isShared }) => isShared)).toBe(true);
  const there = await ask('Map_Extents', { file: snapshot.file, from: 0, count: 1000 });
  expect(there.extents.map(({ extent }) => extent)).toEqual(before.extents.map(({ extent }) => extent));
  await stage.check();
});

it('a shared extent swaps, the former stays with the snapshot; a hole covers what the snapshot has', async () => {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  await write(ask, { file, index: 0, marked: ALL }, { file, index: 1, marked: ALL });
  const { file: snapshot } = await ask('Snapshot_File', { file, name: 's' });
  const old = await mapOf(ask, file, 0);
  const { transaction, journal } = await harden(ask, [{ file, index: 0, marked: bits(3) }]);
  expect(await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] })).toMatchObject({
    extents: [{ journal: [] }],
  });
  expect(await mapOf(ask, file, 0)).toMatchObject({ extent: journal[0], used: ALL, isShared: false });
  expect((await mapOf(ask, snapshot, 0)).extent).toBe(old.extent);
  expect(await write(ask, { file, index: 1, marked: NONE, cleared: ALL })).toEqual(['commit']);
  expect((await mapOf(ask, file, 1)).extent).toBeNull();
  expect((await mapOf(ask, snapshot, 1)).used).toEqual(ALL);
  // Its own again: a small write goes home.
  expect(await write(ask, { file, index: 0, marked: bits(3) })).toEqual(['commit']);
  await stage.check();
});

it('a snapshot waits for a commit that is under way, and cannot be written', async () => {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  const { transaction } = await harden(ask, [{ file, index: 0, marked: bits(3) }]);
  await expect(ask('Snapshot_File', { file, name: 's' })).rejects.toMatchObject({ code: 'IN_USE' });
  await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
  const { file: snapshot } = await ask('Snapshot_File', { file, name: 's' });
  await expect(write(ask, { file: snapshot, index: 0, marked: bits(3) })).rejects.toMatchObject({
    code: 'PERMISSION_DENIED',
  });
  const second = await ask('Snapshot_File', { file: snapshot, name: 's of s' });
  expect(second.snapshotOf).toBe(file);
  expect((await mapOf(ask, second.file, 0)).used).toEqual(bits(3));
  await stage.check();
});

it('a commit that was decided before a merge is held to the same decision after it', async () => {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  await write(ask, { file, index: 0, marked: ALL });
  const { file: snapshot } = await ask('Snapshot_File', { file, name: 's' });
  const { transaction } = await harden(ask, [{ file, index: 0, marked: bits(0) }]);
  expect((await mapOf(ask, file, 0)).isShared).toBe(true);
  await ask('Remove_File', { file: snapshot });
  await stage.settledCheck();
  // The map of the snapshot is gone: the extent is in the file's own, and swaps all the same.
  const done = await ask('Swap_Data_Journal', { transaction, extents: [{ file, index: 0 }] });
  expect(done.extents[0]!.journal).toHaveLength(1);
  expect(await mapOf(ask, file, 0)).toMatchObject({ used: ALL, isShared: false });
  await stage.check();
});

it.each([
  ['above an older snapshot’s, stays a hole', true],
  ['above nothing, is no entry any more', false],
])('a hole over what a removed snapshot had, %s', async (_what, hasOlder) => {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  if (hasOlder) {
    await write(ask, { file, index: 0, marked: ALL });
    await ask('Snapshot_File', { file, name: 'older' });
  }
  await write(ask, { file, index: 0, marked: ALL });
  const { file: removed } = await ask('Snapshot_File', { file, name: 'removed' });
  await write(ask, { file, index: 0, marked: NONE, cleared: ALL });
  await ask('Remove_File', { file: removed });
  await stage.settledCheck();
  expect((await mapOf(ask, file, 0)).extent).toBeNull();
  const { map } = (await stage.engine.content.get(key('I', file)).then((value) => decode('inode', value!)))!;
  expect((await stage.engine.content.get(key('E', map, 0))) !== null).toBe(hasOlder);
});

/** A file with snapshots and what each of them had when it was made. */
async function history(stage: Stage, ask: Ask, indexes: number) {
  const file = await makeFile(ask, 'disk');
  const kept = new Map<number, string>();
  for (let round = 0; round < 4; round++) {
    const written = [];
    for (let index = round; index < indexes; index += round + 1) {
      const isHole = round > 0 && index % 5 === 0;
      written.push({ file, index, marked: isHole ? NONE : bits(round), cleared: isHole ? ALL : NONE });
    }
    for (let at = 0; at < written.length; at += 100) await write(ask, ...written.slice(at, at + 100));
    if (round === 3) continue;
    const { file: snapshot } = await ask('Snapshot_File', { file, name: `s${round}` });
    kept.set(snapshot, await seen(ask, snapshot, indexes));
  }
  kept.set(file, await seen(ask, file, indexes));
  await stage.settledCheck();
  return kept;
}

async function seen(ask: Ask, file: number, indexes: number): Promise<string> {
  const { extents } = await ask('Map_Extents', { file, from: 0, count: indexes });
  return JSON.stringify(extents.map(({ extent, used }) => [extent, extent === null ? 0 : used[0]]));
}

/** The engine dies after so many commits of a removal; the next server goes on. */
async function removeWithCut(stage: Stage, ask: Ask, file: number, commits: number): Promise<boolean> {
  stage.engine.commitsLeft = commits;
  let isRemoved = true;
  try {
    await ask('Remove_File', { file });
    await stage.server.settled();
  } catch (cause) {
    expect(cause).toMatchObject({ code: 'IO_ERROR' });
    isRemoved = false;
  }
  const died = stage.engine.commitsLeft <= 0;
  await stage.restart();
  if (!isRemoved) {
    const { files } = await ask('List_Files', { count: 100 });
    if (files.some((one) => one.file === file)) await ask('Remove_File', { file });
  }
  return died;
}

it.each([0, 1, 2, 3])(
  'removing snapshot %i, cut at every engine commit: all others read the same',
  async (which) => {
    for (let commits = 0; ; commits++) {
      const stage = await Stage.make({ extents: 3000 });
      const ask = await stage.open('a');
      const kept = await history(stage, ask, 300);
      const removed = [...kept.keys()][which]!;
      const died = await removeWithCut(stage, ask, removed, commits);
      await stage.check();
      await stage.settledCheck();
      for (const [file, was] of kept) {
        if (file !== removed) expect(await seen(ask, file, 300)).toBe(was);
      }
      // What is left when all are gone is nothing.
      for (const file of kept.keys()) if (file !== removed) await ask('Remove_File', { file });
      await stage.settledCheck();
      expect(await ask('Space', {})).toMatchObject({ free: 3000 - (await ask('Space', {})).journal });
      if (!died) {
        expect(commits).toBeGreaterThan(2);
        break;
      }
    }
  },
);

it('look-ups are right at every step of every merge, whatever order snapshots go in', async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < 4; round++) {
      const stage = await Stage.make({ extents: 3000 });
      const ask = await stage.open('a');
      const kept = await history(stage, ask, 300);
      while (kept.size > 0) {
        const removed = random.pick([...kept.keys()]);
        kept.delete(removed);
        await ask('Remove_File', { file: removed });
        // Steps go on between these questions.
        for (const [file, was] of kept) {
          expect(await seen(ask, file, 300)).toBe(was);
          await stage.check();
        }
      }
      await stage.settledCheck();
      const { free, journal } = await ask('Space', {});
      expect(free + journal).toBe(3000);
    }
  });
});
