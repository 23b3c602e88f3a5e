/**
 * What the source document says, paragraph by paragraph, of our own implementation (Corrado, US patent application
 * "Method, system, and program for managing data updates", paragraphs 37 to 42: how entries leave, and what is made
 * of them after a crash). Where we do something else on purpose, the test's name says so.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { judgeDevices, makeMembers, SMALL, type TestShape } from '../../../src/lab/self/raid/arrays.js';
import { IDLE_MS } from '../../../src/raid/activity.js';
import { openArray } from '../../../src/raid/open.js';
import { RECORD_COPIES } from '../../../src/raid/record/index.js';
import { StripeJournal } from '../../../src/raid/record/stripe-journal.js';
import { mismatches, openDevices } from '../../support/arrays.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';
import { spoilParity } from './support/crashed-array.js';
import {
  MANY,
  newestOn,
  openFor,
  recordsOn,
  stripesOf,
  WIDE,
  watchedArray,
  watchMembers,
} from './support/watched-array.js';

afterEach(() => {
  vi.useRealTimers();
});

/** Members that lose what was not flushed. */
async function volatileMembers(shape: TestShape): Promise<VolatileDevice[]> {
  const power = new PowerSupply();
  return makeMembers(shape, (size, slot) => new VolatileDevice(size, { name: `member-${slot}`, power }));
}

describe('how entries leave', () => {
  it('paragraph 37: a write is complete when its data and its parity are written', async () => {
    const watched = await watchedArray(WIDE);
    await watched.touch(0);
    const ended = watched.seen().filter(({ at }) => at === 'ended');
    expect(ended.filter(({ what }) => what === 'data' || what === 'parity')).toHaveLength(2);
  });

  it('paragraph 37: its stripe is not clean yet, as in the document: members have volatile caches, so only a flush makes it so', async () => {
    const devices = await volatileMembers(SMALL);
    const array = await openFor(devices);
    await array.write(0, new Uint8Array(512));
    const left = devices.map((device) => device.cutPower(1, 'none'));
    expect(stripesOf(await newestOn(left))).toEqual([0]);
  });

  it('paragraph 37: nor does a flush that began before the write had ended', () => {
    const none = { ranges: 0, units: 0 };
    const journal = new StripeJournal({ stripes: 12, recent: none, expected: none, aheadStripes: 1 });
    const ticket = journal.begin([{ start: 5, end: 6 }]);
    const early = journal.flushing();
    journal.end(ticket);
    early(true);
    expect(journal.dirty().list()).toEqual([{ start: 5, end: 6 }]);
    journal.flushing()(true);
    expect(journal.dirty().isEmpty).toBe(true);
  });

  it('paragraph 37: but one whose data and parity were written with fua is clean at once, as in the document', async () => {
    const watched = await watchedArray(MANY);
    for (let stripe = 0; stripe < 300; stripe += 2)
      await watched.array.write(watched.offsetOf(stripe), new Uint8Array(512), { fua: true });
    await watched.touch(301);
    const listed = await watched.listed();
    expect(listed).not.toContain(0);
    expect(listed.length).toBeLessThan(150);
  });

  it('paragraph 38: entries that are clean are not taken off the disk by themselves, but with the next record', async () => {
    const watched = await watchedArray(MANY);
    await Promise.all(Array.from({ length: 150 }, (_, index) => watched.touch(2 * index)));
    await watched.array.flush();
    await watched.array.flush();
    expect(watched.generations).toBe(1);
    expect(await watched.listed()).toHaveLength(150);
    await watched.touch(301);
    expect((await watched.listed()).length).toBeLessThan(150);
  });

  it('paragraph 38: but while a member is missing a flush takes them off at once: each would cost what that member held', async () => {
    const bases = await makeMembers(SMALL);
    const array = await openFor(bases.slice(1));
    const { stripeDataBytes } = array.core.geometry;
    for (const stripe of [2, 6]) await array.write(stripe * stripeDataBytes, new Uint8Array(512));
    expect(stripesOf(await newestOn(bases.slice(1)))).toEqual([2, 6]);
    await array.flush();
    expect(stripesOf(await newestOn(bases.slice(1)))).toEqual([]);
    await array.write(9 * stripeDataBytes, new Uint8Array(512));
    expect(stripesOf(await newestOn(bases.slice(1)))).toEqual([9]);
  });

  it('paragraph 39: a stripe that has left is not made right after a power failure, as its writes were complete', async () => {
    const watched = await watchedArray(MANY);
    await Promise.all(Array.from({ length: 150 }, (_, index) => watched.touch(2 * index)));
    await watched.array.flush();
    await watched.touch(301);
    const listed = await watched.listed();
    expect(listed).not.toContain(0);
    const { array } = await openDevices(watched.bases);
    expect(await array.resync()).toMatchObject({ resyncedStripes: listed.length, correctedStripes: 0 });
    await array.close();
    expect(await mismatches(watched.bases)).toEqual([]);
  });

  it('paragraph 40: a shut down in the normal fashion marks the record as clean, after all members were flushed', async () => {
    const watched = await watchedArray();
    await watched.touch(3);
    await watched.array.close();
    expect(await watched.newest()).toMatchObject({ isClean: true, dirty: [] });
    const order = watched.seen();
    const clean = order.findIndex(({ record }) => record?.isClean === true);
    const flushed = order.slice(0, clean).filter(({ what, at }) => what === 'flush' && at === 'ended');
    expect(new Set(flushed.map(({ member }) => member)).size).toBe(SMALL.members);
    const superblock = order.findLastIndex(({ what, at }) => what === 'superblock' && at === 'begun');
    const durable = order.findLastIndex(({ record, at }) => record?.isClean === true && at === 'ended');
    expect(durable).toBeLessThan(superblock);
  });

  it('paragraph 40: and so does a time without writes, of 3 seconds', async () => {
    expect(IDLE_MS).toBe(3000);
    const bases = await makeMembers(SMALL);
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const array = await openArray(await judgeDevices(bases), {
      name: 'test',
      readOnly: false,
      warn: () => undefined,
    });
    await array.write(0, new Uint8Array(512));
    vi.advanceTimersByTime(IDLE_MS - 1);
    await array.flush();
    expect((await newestOn(bases)).isClean).toBe(false);
    vi.advanceTimersByTime(1);
    // It rests by itself; this waits for the same.
    await array.activity.rest();
    vi.useRealTimers();
    expect(await newestOn(bases)).toMatchObject({ isClean: true, dirty: [] });
    // If the power is lost now, nothing has to be cleaned up.
    expect((await judgeDevices(bases)).set!.resyncOffset).toBeNull();
    const again = await openFor(bases, { readOnly: true });
    expect(again.core.suspect.isEmpty).toBe(true);
    await array.close();
  });

  it('paragraph 40: not while a write is under way', async () => {
    const watched = await watchedArray(WIDE);
    for (const device of watched.held) device.hold('read');
    const write = watched.touch(1);
    await watched.array.activity.rest();
    expect(watched.generations).toBe(0);
    for (const device of watched.held) device.release('read');
    await write;
  });

  it('paragraph 41: the clean record has a generation of its own, lists nothing, and is told to nobody', async () => {
    const watched = await watchedArray();
    await watched.touch(3);
    const { generation } = await watched.newest();
    await watched.array.activity.rest();
    const clean = (await recordsOn(watched.bases)).filter(({ record }) => record.isClean);
    expect(clean.map(({ record }) => record.generation)).toEqual([generation + 1n, generation + 1n]);
    expect(new Set(clean.map(({ member }) => member)).size).toBe(RECORD_COPIES);
    for (const { record } of clean) expect(record.dirty).toEqual([]);
    const after = watched.seen().slice(watched.seen().findIndex(({ record }) => record?.isClean === true));
    expect(after.some(({ what }) => what === 'data' || what === 'parity')).toBe(false);
  });
});

describe('what is made of it on restart', () => {
  it('paragraph 42: the latest is clean: no parity is made, whatever older records list', async () => {
    const watched = await watchedArray();
    for (const stripe of [1, 5, 11]) await watched.touch(stripe);
    await watched.array.close();
    expect((await recordsOn(watched.bases)).some(({ record }) => record.dirty.length > 0)).toBe(true);
    const { array } = await openDevices(watched.bases);
    expect(array.core.suspect.isEmpty).toBe(true);
    expect(await array.resync()).toMatchObject({ resyncedStripes: 0, resyncedBytes: 0 });
    await array.close();
  });

  it('paragraph 42: else its entries are, whatever older clean records say', async () => {
    await withSeed(async (random) => {
      const first = await watchedArray();
      await first.touch(0);
      await first.array.close();
      const watched = await watchMembers(first.bases);
      await watched.touch(4);
      await watched.touch(6);
      await spoilParity(watched.bases, [4, 6], random);
      expect((await recordsOn(watched.bases)).some(({ record }) => record.isClean)).toBe(true);
      const { array } = await openDevices(watched.bases);
      expect(await array.resync()).toMatchObject({ resyncedStripes: 2, correctedStripes: 2 });
      await array.close();
      expect(await mismatches(watched.bases)).toEqual([]);
      expect(await watched.newest()).toMatchObject({ isClean: true, dirty: [] });
    });
  });
});
