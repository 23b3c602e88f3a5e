/** No journal extent is to be had: an early commit, or a refusal; never silently (data journaling, paragraph 25). */
import { describe, expect, it } from 'vitest';
import { contentOf, EXTENT_BYTES, filled, Stage } from './support/stage.js';

/** A file of eight extents, all used, in a pool of twelve. */
async function tight(onJournalFull: 'commit' | 'fail') {
  const stage = await Stage.make({ extents: 12 });
  const store = await stage.open({ onJournalFull });
  await store.files.create('disk', { sizeBytes: 8 * EXTENT_BYTES });
  const file = await store.openFile('disk', { access: 'write' });
  for (let at = 0; at < 8; at++) {
    await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
  }
  return { stage, store, file };
}

describe('a write that finds no journal extent', () => {
  it('commits what was acknowledged so far, counts it, and goes on', async () => {
    const { stage, store, file } = await tight('commit');
    for (let at = 0; at < 8; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
    expect(file.statistics.earlyCommits).toBe(1);
    await stage.crash(1, 'none');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    const found = (await contentOf(again)).filter((_, at) => at % EXTENT_BYTES === 0);
    // A point in the order of writes: the first ones, and none of the others.
    expect([...found]).toEqual([2, 2, 2, 2, 1, 1, 1, 1]);
    expect(store.recovery.redoneTransactions).toBe(0);
  });

  it('fails where that is set, and nothing of it is written', async () => {
    const { store, file } = await tight('fail');
    for (let at = 0; at < 4; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
    const refused = file.write(4 * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
    await expect(refused).rejects.toMatchObject({
      code: 'NO_SPACE',
      hint: expect.stringContaining('Commit'),
    });
    expect(file.statistics.earlyCommits).toBe(0);
    expect((await contentOf(file))[4 * EXTENT_BYTES]).toBe(1);
    await file.commit({ isComplete: true });
    await file.write(4 * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
    expect((await contentOf(file))[4 * EXTENT_BYTES]).toBe(2);
    await store.close();
  });

  it('fails where no commit helps: it is longer than the pool has room', async () => {
    const { stage, store, file } = await tight('commit');
    const before = await contentOf(file);
    await expect(file.write(0, filled(6 * EXTENT_BYTES, 3))).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(await contentOf(file)).toEqual(before);
    await file.write(0, filled(4 * EXTENT_BYTES, 3));
    await file.commit();
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('takes what is kept for its file; others do not', async () => {
    const stage = await Stage.make({ extents: 12 });
    const store = await stage.open();
    await store.files.create('other', { sizeBytes: 0 });
    await store.files.create('disk', { sizeBytes: 0, reserveBytes: 6 * EXTENT_BYTES });
    const other = await store.openFile('other', { access: 'write' });
    await other.write(0, filled(6 * EXTENT_BYTES, 1));
    await other.commit({ isComplete: true });
    await expect(other.write(6 * EXTENT_BYTES, filled(EXTENT_BYTES, 1))).rejects.toMatchObject({
      code: 'NO_SPACE',
    });
    const file = await store.openFile('disk', { access: 'write' });
    await file.write(0, filled(6 * EXTENT_BYTES, 2));
    await file.commit({ isComplete: true });
    expect((await contentOf(file))[6 * EXTENT_BYTES - 1]).toBe(2);
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('has other files commit theirs, where these want that', async () => {
    const { store, file } = await tight('commit');
    await store.files.create('other', { sizeBytes: 0 });
    const other = await store.openFile('other', { access: 'write' });
    for (let at = 0; at < 4; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
    await other.write(0, filled(10, 5));
    expect(file.statistics.earlyCommits).toBe(1);
    await other.commit({ isComplete: true });
    await store.close();
  });
});
