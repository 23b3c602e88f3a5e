/**
 * What the source document says, paragraph by paragraph, of our own implementation (Corrado, US patent application
 * "Method, system, and program for managing data updates", paragraphs 18 to 29: where the record lies, how entries
 * come into it, and when it is written). Where we do something else on purpose, the test's name says so.
 */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL } from '../../../src/lab/self/raid/arrays.js';
import { RECORD_COPIES } from '../../../src/raid/record/index.js';
import { fileBytes } from '../../../src/raid/record/places.js';
import { cached } from '../../../src/volume/stack.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import {
  MANY,
  newestOn,
  openFor,
  recordsOn,
  SECTOR,
  settle,
  stripesOf,
  WIDE,
  watchedArray,
} from './support/watched-array.js';

describe('where the record lies', () => {
  it('paragraph 18: the journal manager keeps a record of dirty stripes on the members themselves', async () => {
    const watched = await watchedArray();
    await watched.touch(3);
    await watched.touch(7);
    expect(await watched.listed()).toEqual([3, 7]);
    const { record } = await openFor(watched.bases, { readOnly: true });
    expect(record).toMatchObject({ kind: 'members', chosen: { verdict: 'valid' } });
  });

  it("paragraph 18: another memory than the members (the document's NVRAM) is a file, and holds it alone", async () => {
    const bases = await makeMembers(SMALL);
    const { freshest } = await judgeDevices(bases);
    const recordFile = new MemoryDevice(fileBytes(freshest!, RECORD_COPIES), { name: 'nvram' });
    const array = await openFor(bases, { recordFile });
    await array.write(0, SECTOR);
    expect(await recordsOn(bases)).toEqual([]);
    const again = await openFor(bases, { recordFile, readOnly: true });
    expect(again.record).toMatchObject({ kind: 'file', chosen: { verdict: 'valid' } });
    expect(again.core.suspect.totalBytes).toBe(SMALL.chunkBytes);
    // Should it fail, there is no backup of it on the members: all is resynced.
    const without = await openFor(bases, { readOnly: true });
    expect(without.core.suspect.totalBytes).toBe(SMALL.chunkBytes * SMALL.stripes);
  });

  it('paragraph 19: entries accumulate in memory before they are written, so that fewer writes of it are needed', async () => {
    const watched = await watchedArray(MANY);
    const { gate } = watched;
    gate.shut();
    const first = watched.touch(0);
    await gate.arrived(RECORD_COPIES);
    const others = Array.from({ length: 20 }, (_, index) => watched.touch(10 + 2 * index));
    await settle();
    expect(watched.begun('record')).toHaveLength(RECORD_COPIES);
    gate.release();
    await Promise.all([first, ...others]);
    expect(watched.generations).toBe(2);
    expect(await watched.listed()).toHaveLength(21);
  });

  it('paragraph 20: there are records on different members, and the most recent of them is used', async () => {
    const watched = await watchedArray();
    for (const stripe of [1, 4, 9]) await watched.touch(stripe);
    const records = await recordsOn(watched.bases);
    const newest = records.reduce(
      (max, { record }) => (record.generation > max ? record.generation : max),
      0n,
    );
    expect(new Set(records.map(({ record }) => record.generation)).size).toBeGreaterThan(2);
    expect(new Set(records.map(({ member }) => member)).size).toBe(SMALL.members);
    const { record, core } = await openFor(watched.bases, { readOnly: true });
    expect(record.chosen.record!.generation).toBe(newest);
    const height = SMALL.chunkBytes;
    expect(core.suspect.list()).toEqual(
      [1, 4, 9].map((stripe) => ({ start: stripe * height, end: (stripe + 1) * height })),
    );
  });

  it('paragraph 20: each is on two members, not one: the loss of any member leaves the most recent', async () => {
    const watched = await watchedArray();
    for (const stripe of [2, 5, 6, 8]) {
      await watched.touch(stripe);
      const { generation } = await watched.newest();
      for (const away of watched.bases) {
        const left = watched.bases.filter((base) => base !== away);
        expect((await newestOn(left)).generation).toBe(generation);
      }
    }
  });
});

describe('how entries come into it', () => {
  /** A write of one sector in stripe 2, whose reads wait, as no record could be written. */
  async function readingWrite() {
    const watched = await watchedArray(WIDE);
    const { held, array, gate } = watched;
    gate.shut();
    for (const device of held) device.hold('read');
    const write = watched.touch(2);
    const [piece] = [...array.core.geometry.pieces(watched.offsetOf(2), 512)];
    const letRead = (): void => {
      for (const device of held) device.release('read');
    };
    return { watched, write, data: piece!.slot, parity: array.core.geometry.parityMember(2), letRead };
  }

  it('paragraph 21: a write begins to read the old data of its stripe as soon as it is initiated, whatever becomes of the record', async () => {
    const { watched, write, data, letRead } = await readingWrite();
    await watched.held[data]!.arrived(1);
    letRead();
    await watched.gate.arrived(RECORD_COPIES);
    expect(watched.begun('data')).toEqual([]);
    watched.gate.release();
    await write;
    expect(watched.begun('data')).toHaveLength(1);
  });

  it('paragraph 22: and the old parity; what is to be written is there already, no transfer is waited for', async () => {
    const { watched, write, data, parity, letRead } = await readingWrite();
    await watched.held[parity]!.arrived(1);
    const reads = watched.held.map(({ waiting }) => waiting);
    expect(reads).toEqual(watched.held.map((_, slot) => (slot === parity || slot === data ? 1 : 0)));
    letRead();
    watched.gate.release();
    await write;
  });

  it('paragraph 23: its stripe is entered when it is initiated, before it has read; by its number alone, as a record is of one volume', async () => {
    const watched = await watchedArray();
    for (const device of watched.held) device.hold('read');
    const reading = watched.touch(2);
    await watched.fill(6);
    const [record] = watched.begun('record').map((call) => call.record!);
    expect(record!.dirty).toEqual([
      { start: 2, end: 3 },
      { start: 6, end: 7 },
    ]);
    for (const device of watched.held) device.release('read');
    await reading;
  });

  it('paragraph 24: every concurrent write enters its own', async () => {
    const watched = await watchedArray();
    for (const device of watched.held) device.hold('read');
    const reading = [1, 3, 5, 7].map((stripe) => watched.touch(stripe));
    await watched.fill(10);
    expect(await watched.listed()).toEqual([1, 3, 5, 7, 10]);
    for (const device of watched.held) device.release('read');
    await Promise.all(reading);
  });

  it('paragraph 25: entries of earlier writes are still there beside it', async () => {
    const watched = await watchedArray();
    await watched.touch(0);
    await watched.touch(4);
    await watched.touch(8);
    const lists = watched.begun('record').map(({ record }) => stripesOf(record!));
    expect(lists).toEqual([[0], [0], [0, 4], [0, 4], [0, 4, 8], [0, 4, 8]]);
  });
});

describe('when it is written', () => {
  it('paragraph 26: not for each write: 64 that come together are entered by one', async () => {
    const watched = await watchedArray(MANY);
    await Promise.all(Array.from({ length: 64 }, (_, index) => watched.touch(3 * index)));
    expect(watched.generations).toBe(1);
    const first = watched.begun('record')[0]!;
    expect(stripesOf(first.record!)).toHaveLength(64);
  });

  it('paragraph 27: the first of them that has its data has it written; it names the others too, who wait for nothing then', async () => {
    const watched = await watchedArray();
    for (const device of watched.held) device.hold('read');
    const reading = [1, 3].map((stripe) => watched.touch(stripe));
    await settle();
    expect(watched.generations).toBe(0);
    await watched.fill(6);
    expect(watched.generations).toBe(1);
    watched.gate.shut();
    for (const device of watched.held) device.release('read');
    // No record could be written now.
    await Promise.all(reading);
    expect(watched.generations).toBe(1);
  });

  it('paragraph 27: one that is alone has nobody to accumulate: it is written at once, while the old data is read', async () => {
    const watched = await watchedArray();
    watched.gate.shut();
    for (const device of watched.held) device.hold('read');
    const write = watched.touch(1);
    await watched.gate.arrived(RECORD_COPIES);
    watched.gate.release();
    for (const device of watched.held) device.release('read');
    await write;
    expect(watched.generations).toBe(1);
  });

  it('paragraph 28: writes that are made as a batch name all their stripes and then have it written once', async () => {
    await withSeed(async (random) => {
      const watched = await watchedArray(MANY);
      const stripes = Array.from({ length: 120 }, (_, index) => 3 * index);
      const batch = stripes.map((stripe) => ({ offset: watched.offsetOf(stripe), from: random.bytes(512) }));
      await watched.array.writeBatch(batch);
      expect(watched.generations).toBe(1);
      expect(await watched.listed()).toEqual(stripes);
    });
  });

  it('paragraph 28: such a batch is what the cache lets go of together', async () => {
    const watched = await watchedArray(MANY);
    const cache = cached(watched.array, watched.array.core.geometry.stripeDataBytes);
    for (let stripe = 0; stripe < 300; stripe += 3) await cache.write(watched.offsetOf(stripe), SECTOR);
    await cache.flush();
    expect(watched.generations).toBe(1);
    await cache.close();
  });

  it('paragraph 29: marks of clean accumulate too; here a mark of clean is a flush, and writes no record by itself', async () => {
    const watched = await watchedArray(MANY);
    const stripes = Array.from({ length: 190 }, (_, index) => 2 * index);
    await Promise.all(stripes.map((stripe) => watched.touch(stripe)));
    await watched.array.flush();
    expect(watched.generations).toBe(1);
    expect(await watched.listed()).toEqual(stripes);
    await watched.touch(399);
    const listed = await watched.listed();
    expect(watched.generations).toBe(2);
    // Those that were written last stay for a while: whoever writes them again needs no record.
    expect(listed.length).toBeLessThan(stripes.length);
    expect(listed).toContain(399);
    expect(listed).toContain(378);
    expect(listed).not.toContain(0);
  });
});
