/** What a record says of an open array: which superblocks it knows, what it does when its room is too small. */
import { describe, expect, it } from 'vitest';
import { type Range, RangeSet } from '../../../src/device/range-set.js';
import { judgeDevices, makeMembers, SMALL, type TestShape } from '../../../src/lab/self/raid/arrays.js';
import type { RaidArray } from '../../../src/raid/array.js';
import { setUuidBytes } from '../../../src/raid/md/uuid.js';
import { type RecordContent, recordBytes } from '../../../src/raid/record/codec.js';
import { readPlace, superblockHash } from '../../../src/raid/record/find.js';
import { RecordIntent } from '../../../src/raid/record/record-intent.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { MANY, newestOn, openFor, placesOf, SECTOR, settle, watchedArray } from './support/watched-array.js';

const LONG: TestShape = { members: 3, chunkBytes: 4096, layout: 2, stripes: 1000 };
const SMALL_SLOT_BYTES = 4096;
const ROOM = (SMALL_SLOT_BYTES - 512) / 16;

/** What keeps the record of an array, in places that are smaller than they would be. */
async function narrow(array: RaidArray) {
  const places = array.record.places.map((place) => ({ ...place, slotBytes: SMALL_SLOT_BYTES }));
  const intent = new RecordIntent({ ...array.record, core: array.core, places, found: [] });
  const { superblock } = array.core.slotMembers()[0]!;
  const newest = async (): Promise<RecordContent> => {
    const found = (
      await Promise.all(places.map((place) => readPlace(place, setUuidBytes(superblock))))
    ).flat();
    const good = found.flatMap(({ record }) => (record !== null && !('reason' in record) ? [record] : []));
    return good.reduce((best, record) => (record.generation > best.generation ? record : best));
  };
  return { intent, newest };
}

const rowsOf = (stripes: readonly number[], { chunkBytes }: TestShape): Range[] =>
  stripes.map((stripe) => ({ start: stripe * chunkBytes, end: (stripe + 1) * chunkBytes }));

describe('more stripes than a slot has room for', () => {
  it('are all listed, joined where that adds least', async () => {
    await withSeed(async (random) => {
      const array = await openFor(await makeMembers(LONG));
      const { intent, newest } = await narrow(array);
      const stripes = Array.from({ length: 1000 }, (_, index) => index).filter(() => random.chance(0.4));
      const ticket = intent.begin(rowsOf(stripes, LONG));
      await intent.durable(ticket);
      const { dirty, superblocks } = await newest();
      expect(dirty.length + superblocks.length).toBeLessThanOrEqual(ROOM);
      // Nearly all of its room is used: no more was joined than had to be.
      expect(dirty.length + superblocks.length).toBeGreaterThan(ROOM - 8);
      const listed = new RangeSet(dirty);
      for (const stripe of stripes) expect(listed.covers(stripe, stripe + 1)).toBe(true);
      intent.end(ticket);
    });
  });

  it('ask for a flush, without waiting for it', async () => {
    const array = await openFor(await makeMembers(LONG));
    const { intent } = await narrow(array);
    let flushes = 0;
    intent.attach(() => {
      flushes += 1;
      return new Promise(() => undefined);
    });
    const few = intent.begin(rowsOf([0, 2, 4], LONG));
    await intent.durable(few);
    expect(flushes).toBe(0);
    const stripes = Array.from({ length: 400 }, (_, index) => 2 * index + 1);
    await intent.durable(intent.begin(rowsOf(stripes, LONG)));
    await intent.durable(intent.begin(rowsOf([900], LONG)));
    expect(flushes).toBe(1);
  });

  it('leave none for what is expected: a record is written ahead for it once, and not with every write', async () => {
    const array = await openFor(await makeMembers(LONG));
    const { intent, newest } = await narrow(array);
    const stripes = Array.from({ length: 300 }, (_, index) => 3 * index);
    const ticket = intent.begin(rowsOf(stripes, LONG));
    await intent.durable(ticket);
    intent.expect({ start: 950, end: 960 });
    for (let times = 0; times < 4; times++) {
      await intent.durable(intent.begin(rowsOf([30], LONG)));
      await settle();
    }
    expect(intent.generations).toBe(2);
    expect(new RangeSet((await newest()).dirty).overlaps(950, 960)).toBe(false);
  });

  it('share it with what is in doubt, which stays too', async () => {
    const devices = await makeMembers(LONG);
    const array = await openFor(devices.slice(1));
    array.core.isRecovered = true;
    for (let row = 0; row < 500; row++) array.core.suspect.add(row * 2048, row * 2048 + 512);
    const { intent, newest } = await narrow(array);
    const stripes = Array.from({ length: 250 }, (_, index) => 500 + 2 * index);
    await intent.durable(intent.begin(rowsOf(stripes, LONG)));
    const { dirty, inDoubt, superblocks } = await newest();
    expect(dirty.length + inDoubt.length + superblocks.length).toBeLessThanOrEqual(ROOM);
    const doubt = new RangeSet(inDoubt);
    const listed = new RangeSet(dirty);
    for (const { start, end } of array.core.suspect.list()) expect(doubt.covers(start, end)).toBe(true);
    for (const stripe of stripes) expect(listed.covers(stripe, stripe + 1)).toBe(true);
  });
});

describe('a sequential stream', () => {
  it('pays few records, and waits for none of those that are written ahead', async () => {
    const watched = await watchedArray(MANY);
    for (let stripe = 0; stripe < MANY.stripes; stripe++) await watched.touch(stripe);
    // Twice as many ahead each time, 1 to 256; each time once to go on, and once while it runs ahead.
    expect(watched.generations).toBeLessThanOrEqual(2 * 9);
  });

  it('has none written ahead with a member missing: nothing would be listed by it but what is dirty', async () => {
    const array = await openFor((await makeMembers(MANY)).slice(1));
    array.core.isRecovered = true;
    for (let stripe = 0; stripe < 10; stripe++) {
      const offset = stripe * array.core.geometry.stripeDataBytes;
      for (let part = 0; part < 3; part++) await array.write(offset + part * SECTOR.length, SECTOR);
      await settle();
    }
    // Each stripe, and what made the array active.
    expect(array.recordWrites).toBe(10 + 1);
  });

  it('has all of it listed before it comes there', async () => {
    const watched = await watchedArray(MANY);
    for (let stripe = 0; stripe < 40; stripe++) {
      await watched.touch(stripe);
      expect(await watched.listed()).toContain(stripe);
    }
  });
});

describe('the superblocks that a record knows', () => {
  const hashesOf = async (devices: Parameters<typeof judgeDevices>[0]) =>
    (await judgeDevices(devices)).slots.map(({ superblock }) => superblockHash(superblock!.raw));

  it('are those on disk, and before they change those that will be', async () => {
    const watched = await watchedArray(SMALL);
    const before = await hashesOf(watched.bases);
    await watched.array.close();
    const after = await hashesOf(watched.bases);
    const { superblocks } = await watched.newest();
    for (const [slot] of watched.bases.entries()) {
      expect(superblocks.filter((each) => each.slot === slot).map(({ hash }) => hash)).toEqual([
        before[slot],
        after[slot],
      ]);
    }
  });

  it('are, of a member that did not say that one is written, both: a cut may have left either', async () => {
    const bases = await makeMembers(SMALL);
    const devices = bases.map((base) => new FaultyDevice(base));
    const array = await openFor(devices);
    await array.write(0, SECTOR);
    const { superOffset } = array.core.slots[2]!.member!.superblock;
    const range = { offset: superOffset, length: 512 };
    const clear = devices[2]!.addRule({ operations: ['write'], range, code: 'NO_SPACE' });
    await expect(array.metadata.checkpoint()).rejects.toMatchObject({ code: 'NO_SPACE' });
    await array.write(8 * array.core.geometry.stripeDataBytes, SECTOR);
    expect((await newestOn(bases)).superblocks.map(({ slot }) => slot)).toEqual([0, 1, 2, 2, 3]);
    expect((await openFor(bases, { readOnly: true })).record.chosen.verdict).toBe('valid');
    clear();
    await array.metadata.checkpoint();
    await array.write(4 * array.core.geometry.stripeDataBytes, SECTOR);
    expect((await newestOn(bases)).superblocks.map(({ slot }) => slot)).toEqual([0, 1, 2, 3]);
    await array.close();
  });

  it('never take more room than there is: an array that cannot write a superblock, however often, writes nothing behind its slots', async () => {
    const bases = await makeMembers(SMALL);
    const devices = bases.map((base) => new FaultyDevice(base));
    const places = await placesOf(bases);
    const array = await openFor(devices);
    await array.write(0, SECTOR);
    const { superOffset, dataOffset } = array.core.slots[2]!.member!.superblock;
    const range = { offset: superOffset, length: 512 };
    devices[2]!.addRule({ operations: ['write'], range, code: 'NO_SPACE' });
    const room = places[0]!.slotBytes;
    const attempts = Math.ceil(room / 16);
    for (let count = 0; count < attempts; count++) await array.metadata.checkpoint().catch(() => undefined);
    expect(recordBytes(attempts)).toBeGreaterThan(room);
    for (const { device, offset, slotBytes } of places) {
      const behind = new Uint8Array(dataOffset - offset - 2 * slotBytes);
      await device.read(offset + 2 * slotBytes, behind);
      expect(behind.every((byte) => byte === 0)).toBe(true);
    }
    // What is durable still counts.
    expect((await openFor(bases, { readOnly: true })).record.chosen.verdict).toBe('valid');
  });
});
