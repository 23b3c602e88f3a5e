/**
 * What the source document says, paragraph by paragraph, of our own implementation (Corrado, US patent application
 * "Method, system, and program for managing data updates", paragraphs 30 to 36: what is written, and who waits for
 * it). Where we do something else on purpose, the test's name says so.
 */
import { describe, expect, it } from 'vitest';
import { RECORD_COPIES } from '../../../src/raid/record/index.js';
import { mismatches, openDevices } from '../../support/arrays.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { MANY, openFor, SECTOR, stripesOf, WIDE, watchedArray } from './support/watched-array.js';

describe('what is written', () => {
  it('paragraph 30: a write whose stripe the newest record lists has none written', async () => {
    const watched = await watchedArray();
    await watched.touch(3);
    expect(watched.generations).toBe(1);
    for (let count = 0; count < 10; count++) await watched.touch(3);
    expect(watched.generations).toBe(1);
  });

  it('paragraph 30: nor does it wait for the one in flight, which lists its stripe too', async () => {
    const watched = await watchedArray();
    await watched.touch(3);
    watched.gate.shut();
    const other = watched.touch(7);
    await watched.gate.arrived(RECORD_COPIES);
    await watched.touch(3);
    watched.gate.release();
    await other;
    expect(watched.generations).toBe(2);
  });

  it('paragraph 31: the generation number rises by one with each record, over restarts too, and the highest is the most current', async () => {
    const watched = await watchedArray();
    for (const stripe of [0, 2, 4, 6]) await watched.touch(stripe);
    const [first, ...later] = watched
      .begun('record')
      .filter((_, index) => index % RECORD_COPIES === 0)
      .map(({ record }) => record!.generation);
    expect(later).toEqual([first! + 1n, first! + 2n, first! + 3n]);
    const { generation } = await watched.newest();
    const again = await openFor(watched.bases);
    expect(again.record.chosen.record!.generation).toBe(generation);
    await again.write(0, SECTOR);
    expect((await watched.newest()).generation).toBeGreaterThan(generation);
  });

  it('paragraph 32: what counts as listed is what the latest record lists, and nothing of those before', async () => {
    const watched = await watchedArray();
    await watched.touch(3);
    await watched.array.activity.rest();
    expect(await watched.listed()).toEqual([]);
    const before = watched.generations;
    await watched.touch(3);
    expect(watched.generations).toBeGreaterThan(before);
    expect(await watched.listed()).toEqual([3]);
  });

  it('paragraph 33: the list in memory becomes the one on disk, with its number; on two members, where the document has one, in turn over all', async () => {
    const watched = await watchedArray();
    for (let stripe = 0; stripe < 12; stripe += 2) await watched.touch(stripe);
    const written = watched.begun('record');
    for (const generation of new Set(written.map(({ record }) => record!.generation))) {
      const copies = written.filter(({ record }) => record!.generation === generation);
      expect(new Set(copies.map(({ member }) => member)).size).toBe(RECORD_COPIES);
      expect(copies[0]!.record).toEqual(copies[1]!.record);
    }
    const perMember = watched.bases.map((_, slot) => written.filter(({ member }) => member === slot).length);
    expect(perMember).toEqual([3, 3, 3, 3]);
    expect(await watched.listed()).toEqual([0, 2, 4, 6, 8, 10]);
  });

  it('paragraph 33: and never over the newest that a member has: it goes to the other slot', async () => {
    const watched = await watchedArray();
    for (let step = 1; step <= 12; step++) await watched.touch((5 * step) % 12);
    for (const [member] of watched.bases.entries()) {
      const slots = watched
        .begun('record')
        .filter((call) => call.member === member)
        .map(({ slot }) => slot);
      expect(slots.length).toBeGreaterThan(3);
      for (const [index, slot] of slots.slice(1).entries()) expect(slot).not.toBe(slots[index]);
    }
  });
});

describe('who waits for it', () => {
  it('paragraph 34: when it is written all writes that it lists are told, and not before', async () => {
    const watched = await watchedArray(MANY);
    watched.gate.shut();
    const writes = [10, 20, 30, 40, 50].map((stripe) => watched.touch(stripe));
    await watched.gate.arrived(RECORD_COPIES);
    expect(watched.begun('data')).toEqual([]);
    watched.gate.release();
    await Promise.all(writes);
    expect(watched.generations).toBe(1);
    const data = watched.begun('data');
    expect(new Set(data.flatMap(({ stripes }) => stripes))).toEqual(new Set([10, 20, 30, 40, 50]));
  });

  it('paragraph 35: no data is written before the record that lists its stripe, here before both copies of it, is', async () => {
    await withSeed(async (random) => {
      const watched = await watchedArray(MANY);
      for (let round = 0; round < 6; round++) {
        const stripes = new Set(Array.from({ length: 8 }, () => random.below(MANY.stripes)));
        await Promise.all([...stripes].map((stripe) => watched.touch(stripe)));
        if (random.chance(0.5)) await watched.array.flush();
      }
      const durable = new Map<bigint, number>();
      let listed = new Set<number>();
      for (const { at, what, record, stripes } of watched.seen()) {
        if (what === 'record' && at === 'ended') {
          const copies = (durable.get(record!.generation) ?? 0) + 1;
          durable.set(record!.generation, copies);
          if (copies === RECORD_COPIES) listed = new Set(stripesOf(record!));
        }
        if (at === 'begun') for (const stripe of stripes) expect(listed).toContain(stripe);
      }
      expect(durable.size).toBeGreaterThan(3);
    });
  });

  it('paragraph 35: after a power failure the parity of the listed stripes is made anew, and not that of the volume', async () => {
    const watched = await watchedArray();
    await watched.touch(2);
    await watched.touch(9);
    const { array } = await openDevices(watched.bases);
    expect(await array.resync()).toMatchObject({ resyncedStripes: 2 });
    await array.close();
    expect(await mismatches(watched.bases)).toEqual([]);
  });

  it('paragraph 36: the new parity is made of what was read and is written as soon as the record is, with the data', async () => {
    const watched = await watchedArray(WIDE);
    watched.gate.shut();
    const write = watched.touch(4);
    await watched.gate.arrived(RECORD_COPIES);
    // Whatever had to be read has been.
    for (const device of watched.held) device.hold('read');
    watched.gate.release();
    await write;
    const order = watched.seen().map(({ at, what }) => `${what} ${at}`);
    const first = (call: string) => order.indexOf(call);
    expect(first('parity begun')).toBeGreaterThan(order.lastIndexOf('record ended'));
    expect(first('parity begun')).toBeLessThan(first('data ended'));
    expect(first('data begun')).toBeLessThan(first('parity ended'));
  });
});
