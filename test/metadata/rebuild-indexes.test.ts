/**
 * What the metadata says twice is made anew from what it says first, and what was committed stays: also where it is cut
 * off after any of its commits, and done again.
 */
import { expect, it } from 'vitest';
import { ALL as ALL_KEYS, list } from '../../src/lab/self/metadata/model.js';
import type { Change, MetadataEngine } from '../../src/metadata/engine/contract.js';
import { MemoryEngine } from '../../src/metadata/engine/memory-engine.js';
import { checkMetadata } from '../../src/metadata/server/check.js';
import { key, nameKey, numberOf, under } from '../../src/metadata/server/keys.js';
import { rebuildIndexes } from '../../src/metadata/server/rebuild-indexes.js';
import { decode, encode } from '../../src/metadata/server/records.js';
import { summarize } from '../../src/metadata/server/summary.js';
import { ALL, bits, harden, makeFile, Stage, write } from './support/stage.js';

async function copyOf(engine: MetadataEngine): Promise<MemoryEngine> {
  const copy = new MemoryEngine();
  for await (const entry of engine.entries(...ALL_KEYS)) await copy.commit([entry]);
  return copy;
}

/** A file with data and a snapshot, kept flags, and a transaction under way. */
async function filled(): Promise<MemoryEngine> {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  await write(ask, { file, index: 0, marked: ALL }, { file, index: 1, marked: ALL });
  await ask('Snapshot_File', { file, name: 'snapshot' });
  const { extents } = await ask('Allocate_Journal_Space', { count: 2 });
  const kept = { file, index: 5, journal: extents[0]!, marked: bits(1), cleared: bits(2) };
  await ask('Harden_Extent_Flags', { extents: [kept], sizes: [{ file, sizeBytes: 9 }], starts: false });
  await harden(ask, [{ file, index: 0, marked: bits(3) }], []);
  await stage.settledCheck();
  return copyOf(stage.engine);
}

/** Everything that is an index is lost or wrong. */
async function damage(engine: MemoryEngine): Promise<void> {
  const changes: Change[] = [
    { key: key('G', 0), value: null },
    { key: key('G', 7), value: new Uint8Array(1024).fill(255) },
    { key: nameKey('N', 'disk'), value: null },
    { key: nameKey('N', 'nobody'), value: encode('number', { value: 4711 }) },
    { key: key('A', 9, 9, 9), value: encode('number', { value: 3 }) },
  ];
  for (const prefix of ['j', 'A'] as const) {
    const { from, to } = under(key(prefix));
    for await (const entry of engine.entries(from, to)) changes.push({ key: entry.key, value: null });
  }
  const counters = decode('counters', (await engine.get(key('K')))!);
  const wrong = { ...counters, freeExtents: 1, journalExtents: 99, reservedExtents: 5 };
  changes.push({ key: key('K'), value: encode('counters', wrong) });
  await engine.commit(changes);
}

it('makes all of it what it was', async () => {
  const whole = await filled();
  const engine = await copyOf(whole);
  await rebuildIndexes(engine);
  expect(await list(engine)).toEqual(await list(whole));
  await damage(engine);
  expect((await checkMetadata(engine)).length).toBeGreaterThan(5);
  await rebuildIndexes(engine);
  expect(await checkMetadata(engine)).toEqual([]);
  expect(await list(engine)).toEqual(await list(whole));
});

it('cut off after any commit, and done again, gives the same', async () => {
  const whole = await filled();
  for (let commits = 0; ; commits++) {
    const engine = await copyOf(whole);
    await damage(engine);
    let left = commits;
    const cut: MetadataEngine = {
      get: (at) => engine.get(at),
      entries: (from, to) => engine.entries(from, to),
      checkpoint: () => engine.checkpoint(),
      close: () => engine.close(),
      commit: async (changes) => {
        if (left-- === 0) throw new Error('cut');
        await engine.commit(changes);
      },
    };
    const isDone = await rebuildIndexes(cut).then(
      () => true,
      () => false,
    );
    await rebuildIndexes(engine);
    expect(await checkMetadata(engine)).toEqual([]);
    if (isDone) break;
  }
});

it('takes what a transaction names, though its journal record is lost', async () => {
  const engine = await filled();
  let hardened = -1;
  const { from, to } = under(key('t'));
  for await (const entry of engine.entries(from, to))
    hardened = decode('transactionEntry', entry.value).journal - 1;
  await engine.commit([{ key: key('J', hardened), value: null }]);
  await rebuildIndexes(engine);
  const group = (await engine.get(key('G', 0)))!;
  expect((group[hardened >> 3]! >> (hardened & 7)) & 1).toBe(1);
});

it('a summary counts what is there', async () => {
  const engine = await filled();
  let journal = 0;
  const { from, to } = under(key('J'));
  for await (const entry of engine.entries(from, to)) journal += numberOf(entry.key, 0) >= 0 ? 1 : 0;
  const { extents, free } = await summarize(engine);
  expect(await summarize(engine)).toMatchObject({
    files: 2,
    journal,
    reserved: 0,
    uncommitted: 1,
    transactionsToComplete: 1,
  });
  expect(free).toBe(extents - 2 - journal);
});
