/**
 * What a cut leaves, sentence by sentence of docs/crash-model.md, of traces written by hand; and of random ones against
 * the device that the other tests lose their power with.
 */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { cutPower, putBack } from '../../src/crash/power-cut.js';
import { PROFILES } from '../../src/crash/profiles.js';
import { Recorder } from '../../src/crash/recorder.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { readAt } from '../conformance/block-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../support/devices/volatile-device.js';
import { allLeft, BASE, baseOfTag, HandWrittenTrace, SECTOR, UNTOUCHED } from './hand-written-trace.js';

describe('durable', () => {
  it('is what completed before the submission of a flush that completed', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1);
    trace.flush();
    expect(await allLeft(trace)).toEqual(['1']);
  });

  it('is not what completed after the submission of the flush', async () => {
    const trace = new HandWrittenTrace();
    const write = trace.submit(1);
    const flush = trace.submitFlush();
    trace.complete(write);
    trace.complete(flush);
    expect(await allLeft(trace)).toEqual(['1', '9']);
  });

  it('is nothing by a flush that has not completed when the power goes', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1);
    const flush = trace.submitFlush();
    const completion = trace.now;
    trace.complete(flush);
    expect(await allLeft(trace, { atEvent: completion })).toEqual(['1', '9']);
    expect(await allLeft(trace, { atEvent: completion + 1 })).toEqual(['1']);
  });

  it('is what each of two flushes in flight covers, and no more', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1, { at: 0 });
    const first = trace.submitFlush();
    trace.write(2, { at: 1 });
    const second = trace.submitFlush();
    trace.complete(first);
    expect(await allLeft(trace, { sectors: 2 })).toEqual(['1,2', '1,9']);
    trace.complete(second);
    expect(await allLeft(trace, { sectors: 2 })).toEqual(['1,2']);
  });

  it('is nothing by the flush of another device', async () => {
    const trace = new HandWrittenTrace(2);
    trace.write(1, { device: 0 });
    trace.write(2, { device: 1 });
    trace.flush(0);
    expect(await allLeft(trace)).toEqual(['1 | 2', '1 | 9']);
  });

  it('is a write with fua once it has completed, and that write alone', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1, { at: 0 });
    const fua = trace.submit(2, { at: 1, fua: true });
    expect(await allLeft(trace, { sectors: 2 })).toEqual(['1,2', '1,9', '9,2', '9,9']);
    trace.complete(fua);
    expect(await allLeft(trace, { sectors: 2 })).toEqual(['1,2', '9,2']);
  });

  it('is never a write that failed', async () => {
    const trace = new HandWrittenTrace();
    trace.submit(1);
    trace.flush();
    expect(await allLeft(trace)).toEqual(['1', '9']);
  });
});

describe('a sector', () => {
  it('holds the newest durable version or any later one, and never an older', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1);
    trace.write(2);
    trace.flush();
    trace.write(3);
    trace.write(4);
    expect(await allLeft(trace)).toEqual(['2', '3', '4']);
  });

  it('does not go back to what was volatile and is older than what is durable', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1, { sectors: 2 });
    trace.write(2, { fua: true });
    expect(await allLeft(trace, { sectors: 2 })).toEqual(['2,1', '2,9']);
  });

  it('has its version whatever its neighbours have', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1, { sectors: 2 });
    trace.write(2, { sectors: 2 });
    const wanted = [1, 2, BASE].flatMap((a) => [1, 2, BASE].map((b) => `${a},${b}`));
    expect(await allLeft(trace, { sectors: 2 })).toEqual(wanted.sort());
  });

  it('reads as zeroes after a trim or zeroes, which are writes like any other', async () => {
    for (const kind of ['trim', 'write-zeroes'] as const) {
      const trace = new HandWrittenTrace();
      trace.write(1);
      trace.flush();
      trace.complete(trace.submitZeroes(kind));
      expect(await allLeft(trace), kind).toEqual(['0', '1']);
      trace.flush();
      expect(await allLeft(trace), kind).toEqual(['0']);
    }
  });

  it('holds nothing of what was submitted after the cut', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1);
    trace.flush();
    const cut = trace.now;
    trace.write(2, { sectors: 2, fua: true });
    expect(await allLeft(trace, { atEvent: cut, sectors: 2 })).toEqual(['1,9']);
    expect(await allLeft(trace, { atEvent: 0, sectors: 2 })).toEqual(['9,9']);
  });
});

describe('a profile', () => {
  /** A write of three and a half blocks of 4096 bytes, that starts amid one. */
  function longWrite(): HandWrittenTrace {
    const trace = new HandWrittenTrace();
    trace.write(1, { at: 4, sectors: 28 });
    return trace;
  }
  const blocksOf = (left: string): string[] => {
    const tags = left.split(',');
    return [0, 8, 16, 24].map((at) => tags.slice(Math.max(at, 4), at + 8).join(','));
  };
  const isUniform = (block: string): boolean => new Set(block.split(',')).size === 1;

  it('sector-512 tears a write at any sector', async () => {
    const left = await allLeft(longWrite(), { sectors: 32 });
    expect(left.some((each) => !blocksOf(each).every(isUniform))).toBe(true);
  });

  it('sector-4096 tears at multiples of 4096 bytes of the device alone, and there in every way', async () => {
    const left = await allLeft(longWrite(), { sectors: 32, profile: 'sector-4096' });
    expect(left.every((each) => blocksOf(each).every(isUniform))).toBe(true);
    expect(left).toHaveLength(16);
  });

  it('atomic-write keeps a write whole or not at all', async () => {
    const trace = longWrite();
    trace.write(2, { at: 0, sectors: 2 });
    const left = await allLeft(trace, { sectors: 32, profile: 'atomic-write' });
    const some = (first: number, rest: number): string =>
      [first, first, UNTOUCHED, UNTOUCHED, ...new Array<number>(28).fill(rest)].join(',');
    expect(left).toEqual([some(2, 1), some(2, BASE), some(BASE, 1), some(BASE, BASE)].sort());
  });

  it('garbage-torn leaves noise in one sector of a torn write, and in nothing else', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1, { sectors: 4 });
    const noisy = (await allLeft(trace, { sectors: 4, profile: 'garbage-torn' })).filter((each) =>
      each.includes('NaN'),
    );
    expect(noisy.length).toBeGreaterThan(4);
    expect(noisy.every((each) => each.split(',').filter((tag) => tag === 'NaN').length === 1)).toBe(true);
    for (const at of [0, 1, 2, 3]) {
      expect(
        noisy.some((each) => each.split(',')[at] === 'NaN'),
        `noise in sector ${at}`,
      ).toBe(true);
    }
    const single = new HandWrittenTrace();
    single.write(1);
    expect(await allLeft(single, { profile: 'garbage-torn' })).toEqual(['1', '9', 'NaN']);
    single.flush();
    expect(await allLeft(single, { profile: 'garbage-torn' })).toEqual(['1']);
  });

  it('garbage-torn leaves no noise where a later write is durable', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1);
    trace.write(2, { fua: true });
    expect(await allLeft(trace, { profile: 'garbage-torn' })).toEqual(['2']);
  });

  it('kill-9 keeps what completed, flushed or not, and any of what was in flight', async () => {
    const trace = new HandWrittenTrace();
    trace.write(1, { at: 0 });
    trace.submit(2, { at: 1 });
    expect(await allLeft(trace, { sectors: 2, profile: 'kill-9' })).toEqual(['1,2', '1,9']);
    const torn = longWrite();
    const inFlight = torn.events.length - 1;
    const left = await allLeft(torn, { atEvent: inFlight, sectors: 32, profile: 'kill-9' });
    expect(left).toHaveLength(16);
    expect(left.every((each) => blocksOf(each).every(isUniform))).toBe(true);
  });
});

describe('cutPower', () => {
  it('leaves the same for the same seed, and counts what was volatile and what is kept', () => {
    const trace = new HandWrittenTrace(2);
    trace.write(1, { device: 0 });
    trace.flush(0);
    for (const device of [0, 1]) trace.write(2, { device, at: 1, sectors: 8 });
    const request = { atEvent: trace.now, profile: PROFILES['sector-512'] };
    const cuts = Array.from({ length: 100 }, (_, seed) => cutPower(trace, { ...request, seed }));
    for (const [seed, cut] of cuts.entries()) {
      expect(cutPower(trace, { ...request, seed })).toEqual(cut);
      expect(cut.devices.map(({ volatileWrites }) => volatileWrites)).toEqual([1, 1]);
      const kept = cut.devices.map(({ keptWrites }) => keptWrites);
      if (cut.kind === 'none') expect(kept).toEqual([0, 0]);
      if (cut.kind === 'all') expect(kept).toEqual([1, 1]);
      if (cut.kind === 'prefix') expect(kept).toEqual([1, 0]);
      if (cut.kind === 'torn') expect(kept).not.toEqual([0, 0]);
    }
    const kinds = new Set(cuts.map(({ kind }) => kind));
    expect([...kinds].sort()).toEqual(['all', 'none', 'prefix', 'sectors', 'torn', 'writes']);
  });

  it('takes zeroes over a terabyte in few pieces', () => {
    const length = 2 ** 40;
    const zeroing = {
      number: 0,
      device: 0,
      kind: 'write-zeroes',
      offset: 0,
      length,
      bytes: null,
      fua: false,
    } as const;
    const trace = {
      devices: [{ name: 'disk', size: length }],
      events: [{ kind: 'submit', operation: zeroing }] as const,
    };
    for (let seed = 0; seed < 20; seed++) {
      const cut = cutPower(trace, { atEvent: 1, profile: PROFILES['sector-512'], seed });
      const { pieces } = cut.devices[0]!;
      expect(pieces.length).toBeLessThanOrEqual(65_536);
      expect(pieces.reduce((sum, piece) => sum + piece.length, 0)).toBe(length);
    }
  });
});

const SECTORS = 8;
/** The tag of what is there before the work. */
const BEFORE = 200;

/** The tags that each sector was ever seen with. */
class SeenTags {
  readonly #seen = Array.from({ length: SECTORS }, () => new Set<number>());

  async look(device: BlockDevice): Promise<void> {
    const bytes = await readAt(device, 0, SECTORS * SECTOR);
    for (let i = 0; i < SECTORS; i++) this.#seen[i]!.add(bytes[i * SECTOR]!);
  }

  get tags(): number[][] {
    return this.#seen.map((tags) => [...tags].sort((a, b) => a - b));
  }
}

/** Writes, zeroes and flushes at once and late; those in flight never overlap. Returns when the power is to go. */
async function work(device: BlockDevice, random: SeededRandom): Promise<void> {
  const busy = new Set<number>();
  let tag = 0;
  const change = async (at: number, sectors: number): Promise<void> => {
    const places = Array.from({ length: sectors }, (_, i) => at + i);
    if (places.some((place) => busy.has(place))) return;
    for (const place of places) busy.add(place);
    const options = { fua: random.chance(0.1) };
    if (random.chance(0.2)) await device.writeZeroes(at * SECTOR, sectors * SECTOR, options);
    else await device.write(at * SECTOR, new Uint8Array(sectors * SECTOR).fill(++tag), options);
    for (const place of places) busy.delete(place);
  };
  for (let step = random.between(1, 30); step > 0; step--) {
    const at = random.below(SECTORS);
    if (random.chance(0.25)) void device.flush();
    else void change(at, random.between(1, Math.min(3, SECTORS - at)));
    if (random.chance(0.6)) await setImmediate();
  }
  await setImmediate();
}

it('leaves in each sector what the volatile device may leave, no more and no less', async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < 12; round++) {
      const power = new PowerSupply();
      const below = new VolatileDevice(64 * SECTOR, { seed: random.below(2 ** 32), maxDelayTurns: 4, power });
      await below.write(0, new Uint8Array(64 * SECTOR).fill(BEFORE), { fua: true });
      const recorder = new Recorder();
      await work(recorder.record(below), random);
      // Nothing is awaited from here to the cut: both sides see the same calls in flight.
      const events = recorder.trace.events.slice();
      const trace = { ...recorder.trace, events };
      const [theirs, ours] = [new SeenTags(), new SeenTags()];
      const lefts = Array.from({ length: 400 }, (_, seed) => below.cutPower(seed, 'sectors'));
      // What was in flight fails below, and halted nobody hears of it.
      await recorder.halt();
      for (const left of lefts) await theirs.look(left);
      for (let seed = 0; seed < 1200; seed++) {
        const device = new MemoryDevice(64 * SECTOR);
        await device.write(0, new Uint8Array(64 * SECTOR).fill(BEFORE));
        const request = { atEvent: events.length, profile: PROFILES['sector-512'], seed };
        const [left] = cutPower(trace, request).devices;
        await putBack(device, left!, baseOfTag(BEFORE));
        await ours.look(device);
      }
      expect(ours.tags).toEqual(theirs.tags);
    }
  });
});
