/** What is not committed and outlives its process (data journaling, paragraph 48): journal status, commit, discard. */
import { describe, expect, it } from 'vitest';
import { UserError } from '../../src/errors.js';
import { FLAG_PLACES, type FlagPlace } from '../../src/metadata/flag-places.js';
import { contentOf, EXTENT_BYTES, filled, Stage, VOLUME_UUID } from './support/stage.js';

async function kept(flags: FlagPlace = 'metadata') {
  const stage = await Stage.make({ flags });
  const { store, file } = await stage.openWithFile(EXTENT_BYTES);
  await file.write(0, filled(EXTENT_BYTES, 1));
  await file.commit();
  await file.write(100, filled(2 * EXTENT_BYTES, 2));
  await file.keep();
  await file.close();
  await store.close();
  return stage;
}

const SIZE = 2 * EXTENT_BYTES + 100;

describe.each(FLAG_PLACES)('paragraph 48: what is kept, with its flags in the place %s,', (flags) => {
  it('is there in the next life, unseen until it is committed', async () => {
    const stage = await kept(flags);
    await stage.crash(1, 'none');
    const store = await stage.open();
    expect(store.recovery.keptFiles).toBe(1);
    expect(await store.journal.status()).toMatchObject({
      files: [
        {
          name: 'disk',
          extents: 3,
          writtenBlocks: 17,
          sizeBytes: SIZE,
          committedSizeBytes: EXTENT_BYTES,
          flags,
        },
      ],
      heldExtents: 3,
    });
    const reader = await store.openFile('disk', { access: 'read' });
    expect([reader.sizeBytes, (await contentOf(reader))[200]]).toEqual([EXTENT_BYTES, 1]);
    await reader.close();
    const results = await store.journal.commit();
    expect([...results.keys()]).toEqual(['disk']);
    expect(results.get('disk')).toMatchObject({ extents: 3, isComplete: true });
    await stage.crash(1, 'none');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    expect([again.sizeBytes, (await contentOf(again))[200]]).toEqual([SIZE, 2]);
    expect(await stage.findings()).toEqual([]);
  });

  it('can be gone on with; from then on a crash loses all of what is not committed', async () => {
    const stage = await kept(flags);
    const store = await stage.open();
    const file = await store.openFile('disk', { access: 'write' });
    expect([file.sizeBytes, (await contentOf(file))[200]]).toEqual([SIZE, 2]);
    await file.write(0, filled(10, 3));
    await stage.crash(1, 'all');
    const again = await stage.open();
    expect(again.recovery).toMatchObject({ keptFiles: 0, freedJournalExtents: 3 });
    const reader = await again.openFile('disk', { access: 'read' });
    expect([reader.sizeBytes, (await contentOf(reader))[200]]).toEqual([EXTENT_BYTES, 1]);
    expect(await stage.findings()).toEqual([]);
  });

  it('is discarded as a whole', async () => {
    const stage = await kept(flags);
    const store = await stage.open();
    expect(await store.journal.discard()).toEqual(['disk']);
    expect((await store.journal.status()).files).toEqual([]);
    await store.close();
    const again = await stage.open();
    expect(again.recovery).toMatchObject({ keptFiles: 0, freedJournalExtents: 0 });
    expect(await again.space()).toMatchObject({ free: 63, journal: 0 });
    expect(await stage.findings()).toEqual([]);
  });

  it('is whole or not there, at whichever event the power goes while it is kept', async () => {
    let isOver = false;
    for (let event = 1; !isOver; event++) {
      const stage = await Stage.make({ flags });
      const { file } = await stage.openWithFile(EXTENT_BYTES);
      await file.write(0, filled(4 * EXTENT_BYTES, 2));
      stage.power.cutAtEvent(stage.power.events + event);
      isOver = await file.keep().then(
        () => true,
        () => false,
      );
      await stage.crash(event, 'sectors');
      const store = await stage.open();
      const found = await contentOf(await store.openFile('disk', { access: 'write' }));
      const isKept = store.recovery.keptFiles === 1;
      expect(found).toEqual(isKept ? filled(4 * EXTENT_BYTES, 2) : filled(EXTENT_BYTES, 0));
      expect(isKept || !isOver).toBe(true);
      expect(await stage.findings()).toEqual([]);
    }
  });

  it('is whole or not there, at whichever event the power goes while it is taken up again', async () => {
    let isOver = false;
    for (let event = 1; !isOver; event++) {
      const stage = await kept(flags);
      const file = await (await stage.open()).openFile('disk', { access: 'write' });
      stage.power.cutAtEvent(stage.power.events + event);
      const writing = file.write(0, filled(10, 3)).then(() => file.commit());
      isOver = await writing.then(
        () => true,
        () => false,
      );
      await stage.crash(event, 'sectors');
      const store = await stage.open();
      const again = await store.openFile('disk', { access: 'write' });
      const found = await contentOf(again);
      const points = [`${EXTENT_BYTES} 1 1`, `${SIZE} 1 2`, `${SIZE} 3 2`];
      const point = `${found.length} ${found[0]} ${found[200]}`;
      expect(store.recovery.keptFiles === 1 ? points.slice(1, 2) : points).toContain(point);
      expect(!isOver || point === points[2]).toBe(true);
      await again.close();
      await store.close();
      expect(stage.warnings).toEqual([]);
      expect(await stage.findings()).toEqual([]);
    }
  });

  it('is found whatever the next one asks for, and kept again where that one says', async () => {
    for (const next of FLAG_PLACES) {
      const stage = await kept(flags);
      const options = { volumeUuid: VOLUME_UUID, where: next, local: stage.localFile() };
      const store = await stage.open({ flags: options });
      const file = await store.openFile('disk', { access: 'write' });
      await file.write(0, filled(10, 3));
      await file.keep();
      expect(file.journal).toMatchObject({ flags: next, extents: 3 });
      await file.close();
      await store.close();
      await stage.crash(1, 'none');
      const again = await stage.open();
      expect(again.recovery).toMatchObject({ keptFiles: 1, lostFiles: 0 });
      const found = await contentOf(await again.openFile('disk', { access: 'write' }));
      expect([found.length, found[0], found[200]]).toEqual([SIZE, 3, 2]);
      await again.journal.commit();
      await again.close();
      expect(await (await stage.open()).space()).toMatchObject({ journal: 0 });
      expect(await stage.findings()).toEqual([]);
    }
  });

  it('goes when the lease is over: others free it, and complete nothing of it', async () => {
    const stage = await kept(flags);
    await stage.server.request({ type: 'Open_Client', client: 'b' });
    await stage.server.request({ type: 'End_Client', client: 'b', ended: 'a' });
    await stage.server.settled();
    const other = await stage.open({ client: 'b' });
    expect(other.recovery).toMatchObject({ redoneTransactions: 0, keptFiles: 0 });
    expect(await other.space()).toMatchObject({ journal: 0 });
    const reader = await other.openFile('disk', { access: 'write' });
    expect([reader.sizeBytes, (await contentOf(reader))[200]]).toEqual([EXTENT_BYTES, 1]);
    const back = await stage.open();
    expect(back.recovery).toMatchObject({ keptFiles: 0, lostFiles: 0 });
  });

  it('goes with its file', async () => {
    const stage = await kept(flags);
    const store = await stage.open();
    await store.files.remove('disk');
    expect(await store.files.list()).toEqual([]);
    await store.close();
    await stage.server.settled();
    expect(await stage.findings()).toEqual([]);
  });
});

describe('a store that is read only', () => {
  it('shows what is hardened, and completes nothing', async () => {
    const stage = await Stage.make();
    const { store, file } = await stage.openWithFile();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    await file.write(0, filled(100, 2));
    const { transaction } = await file.commit();
    await stage.crash(1, 'none');
    const again = await stage.open({ readOnly: true });
    expect(again.recovery.redoneTransactions).toBe(0);
    const reader = await again.openFile('disk', { access: 'read' });
    expect((await contentOf(reader))[0]).toBe(2);
    await expect(again.openFile('disk', { access: 'write' })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    await again.close();
    const opened = await stage.server.request({ type: 'Open_Client', client: 'a' });
    expect([opened.transactions, store.recovery.redoneTransactions]).toEqual([[transaction], 0]);
  });
});

describe('a commit that the metadata server has no room for', () => {
  /** The next message that hardens is refused. */
  async function refused() {
    const stage = await Stage.make();
    const { store, file } = await stage.openWithFile();
    await file.write(0, filled(100, 1));
    const { server } = stage;
    const ask = server.request.bind(server);
    let isFull = true;
    server.request = (async (message: Parameters<typeof ask>[0]) => {
      const isRefused = isFull && message.type === 'Harden_Extent_Flags';
      if (!isRefused) return ask(message);
      isFull = false;
      throw new UserError('NO_SPACE', 'the engine is full');
    }) as typeof server.request;
    await expect(file.commit()).rejects.toMatchObject({ code: 'NO_SPACE' });
    return { stage, store, file };
  }

  it('can be tried again, and loses nothing; what was written since comes after it', async () => {
    const { stage, file } = await refused();
    await file.write(50, filled(100, 2));
    await file.commit();
    expect(file.statistics.commits).toBe(2);
    await stage.crash(1, 'none');
    const found = await contentOf(await (await stage.open()).openFile('disk', { access: 'read' }));
    expect([found[49], found[50], found[149]]).toEqual([1, 2, 2]);
  });

  it('can be discarded', async () => {
    const { stage, store, file } = await refused();
    await file.discard();
    expect((await contentOf(file))[0]).toBe(0);
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });
});

describe('what is not kept', () => {
  it('is gone when the last one closes the file, and not before', async () => {
    const stage = await Stage.make();
    const { store, file } = await stage.openWithFile();
    const same = await store.openFile('disk', { access: 'write' });
    expect(same).toBe(file);
    await file.write(0, filled(10, 1));
    await same.close();
    expect((await contentOf(file))[0]).toBe(1);
    await file.close();
    const again = await store.openFile('disk', { access: 'write' });
    expect((await contentOf(again))[0]).toBe(0);
    await expect(store.files.remove('disk')).rejects.toMatchObject({ code: 'IN_USE' });
    await expect(file.write(0, filled(1, 1))).rejects.toMatchObject({ code: 'IO_ERROR' });
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('is written out when it is old, so that little is left to do for the commit (paragraph 46)', async () => {
    let pass!: () => void;
    const aged = new Promise<void>((resolve) => {
      pass = resolve;
    });
    const clock = { nowMs: () => 0, wait: () => aged };
    const stage = await Stage.make({ store: { clock, writeBehindAgeMs: 7 } });
    const { file } = await stage.openWithFile();
    await file.write(0, filled(10, 1));
    expect(file.statistics.deviceWrites).toBe(0);
    pass();
    while (file.statistics.writtenBlocks === 0) await new Promise((resolve) => setImmediate(resolve));
    await file.commit();
    expect(file.statistics).toMatchObject({ deviceWrites: 1, writtenBlocks: 1 });
  });
});
