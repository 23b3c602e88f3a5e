/** No journal extent is to be had: an early commit, or a refusal; never silently (data journaling, paragraph 25). */
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.js';
import { FLAG_PLACES, type FlagPlace } from '../../src/metadata/flag-places.js';
import type { Message, MetadataService } from '../../src/metadata/messages.js';
import { contentOf, EXTENT_BYTES, filled, Stage } from './support/stage.js';

/** A file of eight extents, all used, in a pool of twelve. */
async function tight(onJournalFull: 'commit' | 'fail', given?: Stage, service?: MetadataService) {
  const stage = given ?? (await Stage.make({ extents: 12 }));
  const store = await stage.open({ onJournalFull, ...(service === undefined ? {} : { service }) });
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

  it('is told of no other file’s failure: it finds room elsewhere, or fails with its own', async () => {
    let isBroken = false;
    const stage = await Stage.make({ extents: 12 });
    const service: MetadataService = {
      request: async (message) => {
        const { type, sizes } = message as unknown as Message<'Harden_Extent_Flags'>;
        // That of the other file, which has a size of its own.
        if (isBroken && type === 'Harden_Extent_Flags' && sizes.length > 0)
          throw new UserError('IO_ERROR', 'the server does not answer');
        return stage.server.request(message);
      },
      subscribe: (client, callback) => stage.server.subscribe(client, callback),
    };
    const store = await stage.open({ service });
    for (const name of ['broken', 'whole', 'disk']) await store.files.create(name, { sizeBytes: 0 });
    const broken = await store.openFile('broken', { access: 'write' });
    const whole = await store.openFile('whole', { access: 'write' });
    const file = await store.openFile('disk', { access: 'write' });
    await whole.write(0, filled(4 * EXTENT_BYTES, 1));
    await whole.commit({ isComplete: true });
    await broken.write(0, filled(4 * EXTENT_BYTES, 2));
    await whole.write(0, filled(4 * EXTENT_BYTES, 3));
    isBroken = true;
    await file.write(0, filled(EXTENT_BYTES, 4));
    expect(whole.statistics.earlyCommits).toBe(1);
    await expect(broken.commit()).rejects.toMatchObject({ code: 'IO_ERROR', details: { file: 'broken' } });
    expect(stage.warnings.join()).toContain('broken: an early commit failed');
  });

  it('holds no extent while it waits for others: of two large ones neither fails for the other', async () => {
    for (let turns = 0; turns < 40; turns++) {
      const stage = await Stage.make({ extents: 6 });
      const store = await stage.open();
      await store.files.create('disk', { sizeBytes: 8 * EXTENT_BYTES });
      const file = await store.openFile('disk', { access: 'write' });
      for (const index of [2, 6]) {
        await file.write(index * EXTENT_BYTES, filled(EXTENT_BYTES, 1));
        await file.commit({ isComplete: true });
      }
      for (const index of [1, 5]) await file.write(index * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
      const writes = [1, 5].map((index) => file.write(index * EXTENT_BYTES, filled(2 * EXTENT_BYTES, 3)));
      // The commit seals at each moment of their waiting: then both need two extents more, and one alone has room.
      for (let turn = 0; turn < turns; turn++) await null;
      await Promise.all([...writes, file.commit()]);
      const content = await contentOf(file);
      for (const index of [1, 2, 5, 6]) expect(content[index * EXTENT_BYTES]).toBe(3);
      await store.close();
    }
  });
});

function completingSlowly(stage: Stage): MetadataService {
  return {
    request: async (message) => {
      const { type } = message as Message;
      if (type === 'Swap_Data_Journal' || type === 'Commit_Data_Journal')
        for (let turn = 0; turn < 50; turn++) await new Promise((resolve) => setImmediate(resolve));
      return stage.server.request(message);
    },
    subscribe: (client, callback) => stage.server.subscribe(client, callback),
  };
}

/** Four journal extents are hardened, half written: completion has to copy before it gives any of them back. */
async function untilCompleted(flags: FlagPlace) {
  const stage = await Stage.make({ extents: 12, flags });
  const { store, file } = await tight('fail', stage, completingSlowly(stage));
  for (let at = 0; at < 4; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES / 2, 2));
  await file.commit();
  return { stage, store, file };
}

describe.each(FLAG_PLACES)('keeping at %s, where nothing is left in the pool', (flags) => {
  it('waits for what is being completed', async () => {
    const { stage, file } = await untilCompleted(flags);
    // A place that is cleared whole has no journal extent until it is kept.
    await file.clear(5 * EXTENT_BYTES, 3 * EXTENT_BYTES);
    const wanted = await contentOf(file);
    await file.keep();
    expect(file.statistics.earlyCommits).toBe(0);
    await stage.crash(1, 'none');
    const again = await (await stage.open()).openFile('disk', { access: 'write' });
    expect(await contentOf(again)).toEqual(wanted);
  });

  it('fails where nothing is: what is not committed is as it was', async () => {
    const { store, file } = await tight('fail', await Stage.make({ extents: 12, flags }));
    for (let at = 0; at < 4; at++) await file.write(at * EXTENT_BYTES, filled(EXTENT_BYTES, 2));
    await file.clear(5 * EXTENT_BYTES, 3 * EXTENT_BYTES);
    const wanted = await contentOf(file);
    await expect(file.keep()).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(await contentOf(file)).toEqual(wanted);
    await file.commit({ isComplete: true });
    expect(await contentOf(file)).toEqual(wanted);
    await file.close();
    await store.close();
  });
});
