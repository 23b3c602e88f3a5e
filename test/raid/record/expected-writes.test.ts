/** Writes that an array was told of: their stripes are listed by records for others, and wait for none of their own. */
import { describe, expect, it } from 'vitest';
import { judgeDevices, makeMembers, SMALL } from '../../../src/lab/self/raid/arrays.js';
import { RECORD_COPIES } from '../../../src/raid/record/index.js';
import {
  MANY,
  newestOn,
  openFor,
  SECTOR,
  settle,
  stripesOf,
  type WatchedArray,
  watchedArray,
} from './support/watched-array.js';

/** Told of whole stripes. */
function tell({ array, offsetOf }: WatchedArray, start: number, end = start + 1): void {
  array.willWrite(offsetOf(start), offsetOf(end) - offsetOf(start));
}

describe('a stripe that is expected', () => {
  it('is listed by the next record, and its first write writes none', async () => {
    const watched = await watchedArray(MANY);
    tell(watched, 50, 53);
    await watched.touch(10);
    expect(watched.generations).toBe(1);
    expect(await watched.listed()).toEqual([10, 50, 51, 52]);
    watched.gate.shut();
    // No record could be written now.
    for (const stripe of [52, 50, 51]) await watched.touch(stripe);
    expect(watched.begun('record')).toHaveLength(RECORD_COPIES);
    watched.gate.release();
    await settle();
    expect(watched.generations).toBe(1);
  });

  it('is listed ahead while others are written that need no record, once', async () => {
    const watched = await watchedArray(MANY);
    await watched.touch(10);
    tell(watched, 50);
    tell(watched, 60);
    await settle();
    expect(watched.generations).toBe(1);
    for (let times = 0; times < 3; times++) {
      await watched.touch(10);
      await settle();
      expect(watched.generations).toBe(2);
    }
    expect(await watched.listed()).toEqual([10, 50, 60]);
    await watched.touch(60);
    await watched.touch(50);
    await settle();
    expect(watched.generations).toBe(2);
  });

  it('costs a write that needs no record no wait for the one ahead', async () => {
    const watched = await watchedArray(MANY);
    await watched.touch(10);
    tell(watched, 50);
    watched.gate.shut();
    await watched.touch(10);
    watched.gate.release();
    await settle();
    expect(watched.generations).toBe(2);
  });

  it('that is told again, and listed, is worth no record', async () => {
    const watched = await watchedArray(MANY);
    tell(watched, 50, 60);
    await watched.touch(10);
    tell(watched, 50, 60);
    tell(watched, 52, 54);
    await watched.touch(10);
    await settle();
    expect(watched.generations).toBe(1);
  });

  it('is one that any byte of it was told of', async () => {
    const watched = await watchedArray(MANY);
    watched.array.willWrite(watched.offsetOf(51) - 1, 2);
    watched.array.willWrite(watched.array.size - 1, 10_000);
    watched.array.willWrite(watched.array.size + 512, 512);
    watched.array.willWrite(-4096, 4096);
    watched.array.willWrite(0, 0);
    await watched.touch(10);
    expect(await watched.listed()).toEqual([10, 50, 51, MANY.stripes - 1]);
  });

  it('is dirty when it was written: a crash has it listed, until it is flushed and for a while after', async () => {
    const watched = await watchedArray(MANY);
    tell(watched, 50);
    await watched.touch(10);
    await watched.touch(50);
    await watched.array.flush();
    await watched.touch(90);
    expect(await watched.listed()).toEqual([10, 50, 90]);
  });
});

describe('while the array is clean', () => {
  it('nothing is written for what is expected, and it stays clean', async () => {
    const bases = await makeMembers(MANY);
    const array = await openFor(bases);
    const before = (await judgeDevices(bases)).freshest!.events;
    array.willWrite(0, 100_000);
    await settle();
    expect(array.recordWrites).toBe(0);
    const { freshest } = await judgeDevices(bases);
    expect([freshest!.events, freshest!.resyncOffset]).toEqual([before, null]);
    await array.close();
    expect(array.recordWrites).toBe(0);
  });

  it('nothing is written after it has come to rest either; the first write lists it', async () => {
    const watched = await watchedArray(MANY);
    tell(watched, 50);
    await watched.touch(10);
    await watched.array.activity.rest();
    const { generations } = watched;
    expect(await watched.newest()).toMatchObject({ isClean: true, dirty: [] });
    tell(watched, 60);
    await settle();
    expect(watched.generations).toBe(generations);
    expect(await watched.newest()).toMatchObject({ isClean: true });
    await watched.touch(10);
    // What was told before it rested was forgotten then.
    expect(await watched.listed()).toEqual([10, 60]);
  });
});

describe('nothing is listed ahead', () => {
  it('with a member missing, where it would be in doubt after a crash, and no record is written for it', async () => {
    const bases = await makeMembers(MANY);
    const array = await openFor(bases.slice(1));
    array.core.isRecovered = true;
    await array.write(0, SECTOR);
    const before = array.recordWrites;
    array.willWrite(50 * array.core.geometry.stripeDataBytes, 4096);
    for (let times = 0; times < 3; times++) await array.write(512, SECTOR);
    await settle();
    expect(array.recordWrites).toBe(before);
    expect(stripesOf(await newestOn(bases.slice(1)))).toEqual([0]);
  });

  it('where no record is kept', async () => {
    const array = await openFor(await makeMembers(SMALL), { readOnly: true });
    array.willWrite(0, 4096);
    expect(array.recordWrites).toBeNull();
  });
});
