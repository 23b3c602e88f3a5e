/** What a map file has, what it costs, and who waits for whom. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../../src/replication/map/page.js';
import { PAGE_BITS } from '../../../src/replication/map/words.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';
import { BLOCKS, inPage, mapStage, ownerOf, setDurably } from './map-stage.js';

const TIB_BLOCKS = 2 ** 40 / 4096;

describe('a map file', () => {
  it('has what was persisted, and is empty at first', async () => {
    const { file, open } = await mapStage();
    expect((await open()).file.map.isEmpty).toBe(true);
    await setDurably(
      file,
      { from: 5, count: 3 },
      { from: BLOCKS - 1, count: 1 },
      inPage(7, 0, 2 * PAGE_BITS),
    );
    const { file: again, damage } = await open();
    expect(damage).toEqual([]);
    expect(again.map.equals(file.map)).toBe(true);
    expect(again.map.count).toBe(4 + 2 * PAGE_BITS);
  });

  it('is less than 0.01% of the volume (paragraph 95)', () => {
    expect(mapFileBytes(TIB_BLOCKS) / 2 ** 40).toBeLessThan(0.000_034);
    expect(mapFileBytes(2 ** 30 / 4096) / 2 ** 30).toBeLessThan(0.0001);
  });

  it('takes room for pages with bits alone (paragraphs 98.5 and 100)', async () => {
    const { file, memory } = await mapStage(TIB_BLOCKS);
    const empty = memory.allocatedBytes;
    expect(empty).toBeLessThanOrEqual(24 * 1024);
    const ranges = Array.from({ length: 10 }, (_, at) => ({ from: at * 20_000_000, count: 1 }));
    await setDurably(file, ...ranges);
    expect(memory.allocatedBytes).toBe(empty + 10 * 4096);
    for (const range of ranges) file.map.clear(range);
    await file.release();
    expect(memory.allocatedBytes).toBe(empty);
  });

  it('of a TiB with 1,000 blocks is opened with the reads of what is there', async () => {
    const { file, device, open } = await mapStage(TIB_BLOCKS);
    await setDurably(file, ...Array.from({ length: 1000 }, (_, at) => ({ from: at * 1000 + 7, count: 1 })));
    device.resetCounts();
    const opened = await open();
    expect(opened.file.map.equals(file.map)).toBe(true);
    // Two headers, the auxiliary map, and 261 pages side by side.
    expect(device.counts.reads).toBe(4);
    expect(device.counts).toMatchObject({ fuaWrites: 0, writes: 0, flushes: 0 });
  });

  it('has every block where it must, also with two pages of the auxiliary map', async () => {
    const blocks = PAGE_BITS * (PAGE_BITS + 1) + 1;
    const { file, device, open } = await mapStage(blocks);
    file.map.setAll();
    await file.persist([{ from: 0, count: blocks }]);
    // Both of the auxiliary map, and 3842 in pieces of 2048, at most.
    expect(device.counts).toMatchObject({ writes: 3, writtenBytes: 512 * 3844, flushes: 1 });
    expect((await open()).file.map.count).toBe(blocks);
  });
});

describe('persisting', () => {
  it('costs nothing where the disk has it (paragraph 98.1)', async () => {
    const { file, device } = await mapStage();
    await setDurably(file, inPage(3, 5, 10));
    expect(file.counts).toMatchObject({ rounds: 2, flushes: 2 });
    device.resetCounts();
    expect(file.isPersisted([inPage(3, 5, 10)])).toBe(true);
    await setDurably(file, inPage(3, 7));
    // Blocks that are not in the map have no bit to be made durable.
    await file.persist([inPage(9)]);
    expect(device.counts).toMatchObject({ fuaWrites: 0, writes: 0, flushes: 0 });
    await setDurably(file, inPage(3, 15));
    // The page; the auxiliary map names it already.
    expect(device.counts).toMatchObject({ writes: 1, writtenBytes: 512, flushes: 1 });
  });

  for (const callers of [1, 8, 64]) {
    it(`is one write of a page and one flush for ${callers} who come at one moment`, async () => {
      const { file, device } = await mapStage();
      const before = { ...file.counts };
      await Promise.all(Array.from({ length: callers }, (_, at) => setDurably(file, inPage(4, at * 2))));
      expect(device.counts).toMatchObject({ writes: 2, writtenBytes: 1024, flushes: 1 });
      expect(file.counts).toEqual({
        rounds: before.rounds + 1,
        writes: before.writes + 2,
        bytes: before.bytes + 1024,
        flushes: before.flushes + 1,
        trims: 0,
      });
    });
  }

  it('writes pages side by side at once', async () => {
    const { file, device } = await mapStage();
    await setDurably(file, inPage(2, 0, 5 * PAGE_BITS));
    expect(device.counts).toMatchObject({ writes: 2, writtenBytes: 6 * 512, flushes: 1 });
  });

  it('shares the next round while one is in flight, and needs none where that one has it', async () => {
    const owner = ownerOf();
    const held = new HeldDevice(new MemoryDevice(mapFileBytes(BLOCKS)));
    const file = await MapFile.format(held, owner);
    held.hold('flush');
    file.map.set(inPage(1, 1));
    const first = setDurably(file, inPage(1));
    await held.arrived(1);
    const covered = file.persist([inPage(1, 1)]);
    const later = setDurably(file, inPage(1, 2));
    held.letIn(0);
    await first;
    await held.arrived(1);
    held.release('flush');
    await Promise.all([covered, later]);
    // The making, the first, and one for both of the others.
    expect(file.counts.rounds).toBe(3);
  });

  it('waits for a flush where what it finds was read by the opening: it may be in the page cache alone', async () => {
    const owner = ownerOf();
    let keeps = true;
    const device = new VolatileDevice(mapFileBytes(BLOCKS), { keepsBarrier: () => keeps });
    const file = await MapFile.format(device, owner);
    keeps = false;
    await setDurably(file, inPage(2));
    keeps = true;
    const { file: again } = await MapFile.open(device, owner);
    expect(again.isPersisted([inPage(2)])).toBe(false);
    await again.persist([inPage(2)]);
    expect(again.counts).toMatchObject({ writes: 0, flushes: 1 });
    const { file: found } = await MapFile.open(device.cutPower(1, 'none'), owner);
    expect(found.map.has(inPage(2).from)).toBe(true);
  });
});

describe('releasing', () => {
  it('writes nothing where bits came and went in memory alone (paragraphs 89 and 98.2)', async () => {
    const { file, device } = await mapStage();
    file.map.set(inPage(1, 0, 100));
    file.map.clear(inPage(1, 0, 100));
    await file.release();
    await setDurably(file, inPage(5));
    device.resetCounts();
    file.map.set(inPage(5, 9));
    file.map.clear(inPage(5, 9));
    await file.release();
    expect(device.counts).toMatchObject({ fuaWrites: 0, writes: 0, flushes: 0, trims: 0 });
  });

  it('takes away what the map has not any more, and does not name what is empty', async () => {
    const { file, device, open } = await mapStage();
    await setDurably(file, inPage(1, 0, 10), inPage(2), inPage(3), inPage(16, 0, 100));
    device.resetCounts();
    file.map.clear(inPage(1, 5));
    file.map.clear(inPage(2));
    file.map.clear(inPage(16, 0, 100));
    await file.release();
    // The auxiliary map and page 1; and pages 16 to 19, which lie in one block, become a hole.
    expect(device.counts).toMatchObject({ writes: 2, writtenBytes: 1024, flushes: 1, trims: 1 });
    expect((await open()).file.map.equals(file.map)).toBe(true);
    await file.release();
    expect(device.counts.writes).toBe(2);
  });

  it('loses no bit that comes back while it is being taken away', async () => {
    const owner = ownerOf();
    const memory = new MemoryDevice(mapFileBytes(BLOCKS));
    const held = new HeldDevice(memory);
    const file = await MapFile.format(held, owner);
    await setDurably(file, inPage(1, 0, 3));
    file.map.clear(inPage(1, 1));
    held.hold('flush');
    const released = file.release();
    await held.arrived(1);
    // It is on disk, and is about to be gone there.
    const persisted = setDurably(file, inPage(1, 1));
    held.release('flush');
    await Promise.all([released, persisted]);
    expect((await MapFile.open(memory, owner)).file.map.has(inPage(1, 1).from)).toBe(true);
  });

  it('is in one round with those who persist', async () => {
    const { file, open } = await mapStage();
    await setDurably(file, inPage(1), inPage(2));
    file.map.clear(inPage(1));
    const { rounds } = file.counts;
    await Promise.all([file.release(), setDurably(file, inPage(3)), file.release()]);
    expect(file.counts.rounds).toBe(rounds + 1);
    expect([...(await open()).file.map.pages()]).toEqual([2, 3]);
  });
});

describe('many changes', () => {
  it('are all found, and nothing else once it is released', async () => {
    await withSeed(async (random) => {
      const { file, open } = await mapStage();
      for (let step = 0; step < 150; step++) {
        const from = random.below(BLOCKS);
        const range = { from, count: random.below(Math.min(random.pick([3, 9000]), BLOCKS - from) + 1) };
        if (random.chance(0.5)) await setDurably(file, range);
        else file.map.clear(range);
        if (random.chance(0.2)) await file.release();
        if (random.chance(0.2)) {
          const { map } = (await open()).file;
          const before = map.count;
          map.add(file.map);
          expect(map.count).toBe(before);
        }
      }
      await file.release();
      const { file: again, damage } = await open();
      expect(damage).toEqual([]);
      expect(again.map.equals(file.map)).toBe(true);
    });
  });
});

describe('a write that fails', () => {
  for (const operation of ['write', 'flush'] as const) {
    it(`is final: ${operation}`, async () => {
      const { file, device } = await mapStage();
      device.addRule({ operations: [operation], nth: 1 });
      const reason = await setDurably(file, inPage(1)).catch((error: unknown) => error);
      expect(reason).toMatchObject({ code: 'IO_ERROR' });
      await expect(setDurably(file, inPage(2))).rejects.toBe(reason);
      await expect(file.release()).rejects.toBe(reason);
    });
  }
});
