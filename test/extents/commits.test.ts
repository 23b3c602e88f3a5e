/** A commit is a point in the order of writes, and what of the document is about commits that meet writes. */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { HeldDevice } from '../support/devices/held-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { BLOCK_BYTES, contentOf, EXTENT_BYTES, filled, Stage, type StageOptions } from './support/stage.js';

const LANES = 24;

/** Calls of the target can be held up. */
async function heldStage(options: StageOptions = {}): Promise<{ stage: Stage; held: HeldDevice }> {
  let held!: HeldDevice;
  const wrap = (device: BlockDevice) => {
    held = new HeldDevice(device);
    return held;
  };
  const stage = await Stage.make({ ...options, wrap });
  return { stage, held };
}

const turn = () => new Promise((resolve) => setImmediate(resolve));

describe('a commit', () => {
  it('is a point in the order of writes, however many are under way', () =>
    withSeed(async (random) => {
      for (let round = 0; round < 8; round++) {
        const stage = await Stage.make({
          seed: random.below(1000),
          maxDelayTurns: 4,
          store: { writeBehindBytes: random.pick([0, 1024, 1_000_000]) },
        });
        const { file } = await stage.openWithFile(LANES * BLOCK_BYTES);
        const acknowledged = new Array<number>(LANES).fill(0);
        let committed = acknowledged;
        let isOver = false;
        // Each writes a higher number when the one before was acknowledged, and so on.
        const lanes = acknowledged.map(async (_, lane) => {
          for (let n = 1; !isOver; n++) {
            await file.write(lane * BLOCK_BYTES, filled(BLOCK_BYTES, n & 0xff));
            acknowledged[lane] = n;
            if (random.chance(0.3)) await new Promise((resolve) => setImmediate(resolve));
          }
        });
        // One after another, whichever is acknowledged was submitted after those before it.
        const chain = (async () => {
          for (let n = 1; !isOver; n++) {
            await file.write(0 * BLOCK_BYTES + LANES * BLOCK_BYTES, filled(BLOCK_BYTES, n & 0xff));
            await file.write((LANES + 9) * BLOCK_BYTES, filled(BLOCK_BYTES, n & 0xff));
          }
        })();
        for (let n = random.between(1, 5); n > 0; n--) {
          const before = [...acknowledged];
          await file.commit();
          committed = before;
        }
        const ended = Promise.allSettled([...lanes, chain]);
        await stage.crash(random.below(1000));
        isOver = true;
        await ended;
        const again = await (await stage.open()).openFile('disk', { access: 'read' });
        const found = await contentOf(again);
        for (let lane = 0; lane < LANES; lane++) {
          const block = found.subarray(lane * BLOCK_BYTES, (lane + 1) * BLOCK_BYTES);
          expect(new Set(block).size).toBe(1);
          expect(block[0]! >= (committed[lane]! & 0xff) || acknowledged[lane]! > 255).toBe(true);
        }
        // B was submitted when A was acknowledged: no commit has B without A.
        const [a, b] = [found[LANES * BLOCK_BYTES] ?? 0, found[(LANES + 9) * BLOCK_BYTES] ?? 0];
        expect([0, 1]).toContain((a - b) & 0xff);
      }
    }));

  it('lets a second write to a region wait for nothing: it goes to another journal extent (paragraph 52)', async () => {
    const { stage, held } = await heldStage();
    const { store, file } = await stage.openWithFile();
    await file.write(0, filled(EXTENT_BYTES, 1));
    held.hold('flush');
    const committing = file.commit();
    await held.arrived(1);
    await file.write(0, filled(BLOCK_BYTES, 2));
    const [status] = (await store.journal.status()).files;
    expect(status).toMatchObject({ extents: 1, writtenBlocks: 1 });
    expect((await contentOf(file)).subarray(0, BLOCK_BYTES + 1)).toEqual(
      Uint8Array.of(...filled(BLOCK_BYTES, 2), 1),
    );
    held.release('flush');
    expect(await committing).toMatchObject({ extents: 1, writtenBlocks: 8 });
    // The one has the first content alone: what a crash leaves now is that.
    await stage.crash(1, 'all');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    expect((await contentOf(again)).subarray(0, EXTENT_BYTES)).toEqual(filled(EXTENT_BYTES, 1));
  });

  it('flushes when the writes that it has have ended, and not before', async () => {
    const { stage, held } = await heldStage({ store: { writeBehindBytes: 0 } });
    const { file } = await stage.openWithFile();
    held.hold('write');
    held.hold('flush');
    const writing = file.write(0, filled(EXTENT_BYTES, 1));
    await held.arrived(1);
    const committing = file.commit();
    for (let n = 0; n < 50; n++) await turn();
    expect(held.waiting).toBe(1);
    held.release('write');
    await held.arrived(1);
    held.release('flush');
    await Promise.all([writing, committing]);
    expect(file.statistics.writtenBlocks).toBe(8);
  });

  it('is shared by all who ask while one is on its way', async () => {
    const { stage, held } = await heldStage();
    const { file } = await stage.openWithFile();
    await file.write(0, filled(10, 1));
    held.hold('flush');
    const first = file.commit();
    await held.arrived(1);
    await file.write(0, filled(10, 2));
    const others = Array.from({ length: 10 }, () => file.commit());
    held.release('flush');
    const transactions = (await Promise.all([first, ...others])).map(({ transaction }) => transaction);
    expect(new Set(transactions).size).toBe(2);
    expect(file.statistics.commits).toBe(2);
  });

  it('that has nothing to do sends nothing, and says so', async () => {
    const stage = await Stage.make();
    const { file } = await stage.openWithFile();
    expect(await file.commit()).toMatchObject({ transaction: null, extents: 0, isComplete: true });
    expect(file.statistics.commits).toBe(0);
  });

  it('has several extents in one transaction, all or nothing (paragraphs 32, 37 and 46)', async () => {
    const stage = await Stage.make();
    const { file } = await stage.openWithFile();
    for (let at = 0; at < 5; at++) await file.write(at * EXTENT_BYTES, filled(100, at + 1));
    const result = await file.commit({ isComplete: true });
    expect(result).toMatchObject({ extents: 5, isComplete: true });
    expect(await file.commit()).toMatchObject({ transaction: null });
  });
});

describe('reading', () => {
  it('has its extent for itself until it has ended: one that is swapped away is not used again before (invariant 6)', async () => {
    const { stage, held } = await heldStage();
    const { store, file } = await stage.openWithFile();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    held.hold('read');
    const into = new Uint8Array(BLOCK_BYTES);
    const reading = file.read(7 * BLOCK_BYTES, into);
    await held.arrived(1);
    // All but the block that is being read: the extent is swapped, and that block is copied.
    await file.write(0, filled(7 * BLOCK_BYTES, 2));
    const hardened = file.commit();
    await held.arrived(2);
    await hardened;
    held.letIn(1);
    while (file.statistics.swappedExtents < 2) await turn();
    // The map has changed, and nothing of it but the read keeps the old extent.
    const before = (await store.journal.status()).readyExtents;
    for (let n = 0; n < 50; n++) await turn();
    expect((await store.journal.status()).readyExtents).toBe(before);
    held.release('read');
    await reading;
    await store.settled();
    expect(into).toEqual(filled(BLOCK_BYTES, 1));
    expect((await store.journal.status()).readyExtents).toBeGreaterThan(before);
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('goes by the map as it is after a swap, without asking again (paragraph 34)', async () => {
    const stage = await Stage.make();
    const { store, file } = await stage.openWithFile();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    await contentOf(file);
    await file.write(0, filled(EXTENT_BYTES, 2));
    await file.commit({ isComplete: true });
    const requests: string[] = [];
    const { server } = stage;
    const ask = server.request.bind(server);
    server.request = ((message: Parameters<typeof ask>[0]) => {
      requests.push(message.type);
      return ask(message);
    }) as typeof server.request;
    expect((await contentOf(file)).subarray(0, EXTENT_BYTES)).toEqual(filled(EXTENT_BYTES, 2));
    expect(requests).toEqual([]);
    await store.close();
  });
});

describe('association (paragraph 27)', () => {
  it.each(['at-once', 'at-commit'] as const)(
    '%s: what a crash leaves of it is free again',
    async (associates) => {
      const stage = await Stage.make({ store: { associates } });
      const { store: before, file } = await stage.openWithFile();
      await file.write(0, filled(3 * EXTENT_BYTES, 1));
      // What was sent before it has been answered.
      await before.space();
      await stage.crash(1, 'all');
      const store = await stage.open();
      expect(store.recovery).toMatchObject({
        freedJournalExtents: associates === 'at-once' ? 3 : 0,
        keptFiles: 0,
        lostFiles: 0,
      });
      expect(await store.space()).toMatchObject({ free: 64, journal: 0 });
      expect(await stage.findings()).toEqual([]);
    },
  );
});
