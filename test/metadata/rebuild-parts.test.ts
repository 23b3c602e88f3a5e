/**
 * Maps, transactions and flags are made whole from what says the same elsewhere, and nothing that was committed changes by
 * it; where nothing else says it, it stays as it is and is found still. Extents in two places get copies.
 */
import { describe, expect, it } from 'vitest';
import { list } from '../../src/lab/self/metadata/model.js';
import { checkMetadata } from '../../src/metadata/server/check.js';
import { key } from '../../src/metadata/server/keys.js';
import { rebuildIndexes } from '../../src/metadata/server/rebuild-indexes.js';
import { decode, encode } from '../../src/metadata/server/records.js';
import { separateExtents } from '../../src/metadata/server/separate-extents.js';
import { change, type Damaged, drop, number, put, stageWithAll } from './support/damage.js';
import { NONE } from './support/stage.js';

describe('rebuilding makes it what it was:', () => {
  it.each<[string, (damaged: Damaged) => Promise<unknown>]>([
    ['an entry of a transaction', (d) => drop(d, key('t', d.transaction, 0))],
    ['the place of an entry', (d) => drop(d, key('H', d.file, 0, d.transaction))],
    ['the hardened journal extent of an entry', (d) => drop(d, key('J', d.hardened))],
    ['the kept journal extent of a place', (d) => drop(d, key('J', d.kept))],
    [
      'a transaction that counts too few',
      (d) => change(d, key('T', d.transaction), 'transaction', { left: 0 }),
    ],
    ['a place of no transaction', (d) => put(d, key('H', d.file, 9, 99), number(0))],
    ['flags of nothing', (d) => put(d, key('B', 60, 0), NONE)],
    ['the files of a map', (d) => change(d, key('M', 2), 'map', { files: 7 })],
    ['the children of a map', (d) => change(d, key('M', 1), 'map', { children: 7 })],
    ['the child of a parent', (d) => drop(d, key('P', 1, 2))],
    ['a child of nobody', (d) => put(d, key('P', 2, 1), number(0))],
    ['a map that is held, and being emptied', (d) => put(d, key('R', 2), number(0))],
  ])('%s', async (_what, damage) => {
    const damaged = await stageWithAll();
    const before = await list(damaged.stage.engine);
    await damage(damaged);
    expect(await checkMetadata(damaged.stage.engine)).not.toEqual([]);
    await rebuildIndexes(damaged.stage.engine);
    expect(await list(damaged.stage.engine)).toEqual(before);
    await damaged.stage.check();
  });
});

describe('rebuilding leaves, because nothing tells what it was:', () => {
  it.each<[string, (damaged: Damaged) => Promise<unknown>]>([
    ['the flags of what was committed', (d) => drop(d, key('B', d.hardened, 0))],
    ['a transaction', (d) => drop(d, key('T', d.transaction))],
    [
      'an entry and its place',
      async (d) => {
        await drop(d, key('t', d.transaction, 0));
        await drop(d, key('H', d.file, 0, d.transaction));
      },
    ],
    ['a map that is not there', (d) => drop(d, key('M', 2))],
    [
      'a map held by nothing',
      (d) => put(d, key('M', 9), encode('map', { parent: 0, files: 0, children: 0 })),
    ],
    ['a size without its transaction', (d) => put(d, key('z', 99, d.file), number(7))],
    ['an extent past the pool', (d) => change(d, key('E', 2, 0), 'entry', { extent: 1000 })],
    [
      'flags of nothing, which may be a part of what is kept',
      async (d) => {
        await put(d, key('Y', 1, d.file), number(99));
        await put(d, key('B', 60, 0), NONE);
      },
    ],
  ])('%s', async (_what, damage) => {
    const damaged = await stageWithAll();
    await damage(damaged);
    const { engine } = damaged.stage;
    const found = (await checkMetadata(engine)).map(({ code }) => code);
    await rebuildIndexes(engine);
    expect((await checkMetadata(engine)).some(({ code }) => found.includes(code))).toBe(true);
  });
});

describe('an extent in two places', () => {
  it('of a map and a journal is copied for the map', async () => {
    const damaged = await stageWithAll();
    const { engine } = damaged.stage;
    await change(damaged, key('E', 2, 0), 'entry', { extent: damaged.kept + 1 });
    await rebuildIndexes(engine);
    expect((await checkMetadata(engine)).map(({ code }) => code)).toEqual(['EXTENT_USED_TWICE']);
    const copies: number[][] = [];
    await separateExtents(engine, async (from, to) => {
      const { extent } = decode('entry', (await engine.get(key('E', 2, 0)))!);
      // The map leads to the copy when that is durable.
      expect(extent - 1).toBe(damaged.kept);
      copies.push([from, to]);
    });
    const { extent } = decode('entry', (await engine.get(key('E', 2, 0)))!);
    expect(copies).toEqual([[damaged.kept, extent - 1]]);
    await damaged.stage.check();
  });

  it('of two maps is copied for the second, and a copy that fails changes nothing', async () => {
    const damaged = await stageWithAll();
    const { engine } = damaged.stage;
    const first = decode('entry', (await engine.get(key('E', 1, 1)))!);
    await change(damaged, key('E', 2, 0), 'entry', { extent: first.extent });
    await rebuildIndexes(engine);
    const before = await list(damaged.stage.engine);
    await expect(separateExtents(engine, () => Promise.reject(new Error('cut')))).rejects.toThrow('cut');
    expect(await list(damaged.stage.engine)).toEqual(before);
    await separateExtents(engine, async () => {});
    expect(decode('entry', (await engine.get(key('E', 1, 1)))!)).toEqual(first);
    await damaged.stage.check();
  });

  it('stays where there is no room for a copy', async () => {
    const damaged = await stageWithAll();
    const { engine } = damaged.stage;
    await change(damaged, key('E', 2, 0), 'entry', { extent: damaged.kept + 1 });
    await rebuildIndexes(engine);
    await change(damaged, key('K'), 'counters', { freeExtents: 0 });
    await expect(separateExtents(engine, async () => {})).rejects.toMatchObject({ code: 'NO_SPACE' });
  });
});
