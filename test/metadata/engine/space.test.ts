/** The room in the range, what fails, and how much an opening reads. */
import { describe, expect, it } from 'vitest';
import { bytesOf, EngineModel, list, put, take } from '../../../src/lab/self/metadata/model.js';
import { checkEngine } from '../../../src/metadata/engine/check-engine.js';
import type { Change } from '../../../src/metadata/engine/contract.js';
import type { EmbeddedEngine } from '../../../src/metadata/engine/embedded-engine.js';
import { makeEngine } from '../../../src/metadata/engine/make-engine.js';
import { openEngine } from '../../../src/metadata/engine/open-engine.js';
import { withSeed } from '../../support/devices/seeded-random.js';
import { fill, KIB, keyOf, MIB, stage } from './support.js';

const SMALL = 2 * (16 * KIB * (3 + 128) + 64 * KIB);

/** Commits until there is no room; the keys that are there. */
async function fillUp(engine: EmbeddedEngine, valueLength: number): Promise<number> {
  for (let keys = 0; ; keys++) {
    try {
      await engine.commit([put(keyOf(keys), 'v'.repeat(valueLength))]);
    } catch (error) {
      expect(error).toMatchObject({
        code: 'NO_SPACE',
        message: expect.stringMatching(/meta\.img: the metadata is full: \d+ of 128 pages/),
      });
      return keys;
    }
  }
}

describe('a range that is full', () => {
  it('refuses what makes more of it, keeps what is there, and lets it be taken out', async () => {
    const { open, range } = await stage(SMALL);
    const engine = await open();
    const keys = await fillUp(engine, 3000);
    expect(keys).toBeGreaterThan(200);
    expect(await list(engine)).toHaveLength(keys);
    // All of a refused transaction is refused.
    await expect(
      engine.commit([take(keyOf(0)), put('x', 'v'.repeat(3000)), put('y', 'v'.repeat(3000))]),
    ).rejects.toMatchObject({
      code: 'NO_SPACE',
    });
    expect(await engine.get(bytesOf(keyOf(0)))).not.toBeNull();
    // What makes it no longer goes on.
    await engine.commit([take(keyOf(0)), put('x', 'short')]);
    await engine.commit([put(keyOf(1), 'w'.repeat(3000))]);
    for (let at = 2; at < keys; at++) await engine.commit([take(keyOf(at))]);
    await engine.checkpoint();
    expect(await list(engine)).toHaveLength(2);
    expect(engine.usage.pagesUsed).toBeLessThan(3);
    await engine.close();
    const reopened = await open();
    expect(await list(reopened)).toHaveLength(2);
    await fillUp(reopened, 3000);
    await reopened.close();
    expect(await checkEngine(range)).toEqual([]);
  });

  it('takes out much at once', async () => {
    const { open, range } = await stage(SMALL);
    const engine = await open();
    const keys = await fillUp(engine, 100);
    const before = engine.generation;
    for (let from = 0; from < keys; from += 300)
      await engine.commit(Array.from({ length: 300 }, (_, at) => take(keyOf(from + at))));
    await engine.checkpoint();
    expect(engine.generation).toBeGreaterThan(before + 1);
    expect(await list(engine)).toEqual([]);
    expect(engine.usage.pagesUsed).toBe(0);
    await engine.close();
    expect(await checkEngine(range)).toEqual([]);
  });

  it('refuses with one that has no room those that came behind it', async () => {
    const { open } = await stage(SMALL);
    const engine = await open();
    await fillUp(engine, 3000);
    const large = engine.commit([put('large', 'v'.repeat(3000))]);
    const behind = engine.commit([put('made of large', '1')]);
    expect(await engine.get(bytesOf('large'))).not.toBeNull();
    for (const each of [large, behind]) await expect(each).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(await engine.get(bytesOf('large'))).toBeNull();
    expect(await engine.get(bytesOf('made of large'))).toBeNull();
    await engine.commit([take(keyOf(0))]);
  });

  it('does what a map does at the edge of its room', () =>
    withSeed(async (random) => {
      const { open, range } = await stage(SMALL);
      const engine = await open({ cacheBytes: 64 * KIB });
      const model = new EngineModel();
      let refused = 0;
      for (let step = 0; step < 700; step++) {
        const changes: Change[] = Array.from({ length: random.between(1, 4) }, () => {
          const key = keyOf(random.below(900));
          return random.chance(0.2)
            ? take(key)
            : { ...put(key, ''), value: random.bytes(random.between(2000, 3000)) };
        });
        const outcome = await engine.commit(changes).catch((error: { code?: string }) => error);
        if (outcome === undefined) model.apply(changes);
        else if (outcome.code === 'NO_SPACE') refused += 1;
        else throw outcome;
      }
      expect(refused).toBeGreaterThan(0);
      expect(await list(engine)).toEqual(model.list());
      await engine.checkpoint();
      await engine.close();
      expect(await checkEngine(range)).toEqual([]);
    }));

  it('is not made where there is too little', async () => {
    const { device } = await stage(SMALL);
    const range = { device, offset: 0, length: MIB };
    await expect(makeEngine(range)).rejects.toMatchObject({
      code: 'NO_SPACE',
      details: { lengthBytes: MIB },
    });
  });
});

describe('a failure is final for writing, and reads go on:', () => {
  it.each([
    ['a write of the log', { operations: ['write'], fua: true }, 'commit'],
    ['a flush', { operations: ['flush'] }, 'checkpoint'],
    ['a write of a page', { operations: ['write'], fua: false }, 'checkpoint'],
    ['a write of a root', { operations: ['write'], fua: true }, 'checkpoint'],
  ] as const)('%s', async (_, rule, call) => {
    const { device, open, memory, range } = await stage();
    const engine = await open();
    await fill(engine, 300);
    await engine.commit([put('before', '1')]);
    const stop = device.addRule({ ...rule, operations: [...rule.operations] });
    const failing = call === 'commit' ? engine.commit([put('failing', '1')]) : engine.checkpoint();
    await expect(failing).rejects.toMatchObject({ code: 'IO_ERROR' });
    stop();
    await expect(engine.commit([put('after', '1')])).rejects.toMatchObject({ code: 'IO_ERROR' });
    await expect(engine.checkpoint()).rejects.toMatchObject({ code: 'IO_ERROR' });
    expect(await engine.get(bytesOf('before'))).toEqual(bytesOf('1'));
    expect(await engine.get(bytesOf(keyOf(7)))).toEqual(bytesOf('v'.repeat(40)));
    await engine.close();
    // The device remembers as well that it failed.
    const reopened = await openEngine({ ...range, device: memory }, { warn: () => undefined });
    expect(await reopened.get(bytesOf('before'))).toEqual(bytesOf('1'));
    await reopened.commit([put('after', '2')]);
    await reopened.checkpoint();
    await reopened.close();
  });

  it('one opened for reading refuses to write, and writes nothing', async () => {
    const { device, open } = await stage();
    const engine = await open();
    await engine.commit([put('a', '1')]);
    await engine.close();
    device.resetCounts();
    const reader = await open({ readOnly: true });
    expect(await reader.get(bytesOf('a'))).toEqual(bytesOf('1'));
    await expect(reader.commit([put('b', '1')])).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    await expect(reader.checkpoint()).rejects.toMatchObject({ code: 'PERMISSION_DENIED' });
    await reader.close();
    expect(device.counts).toMatchObject({ writes: 0, fuaWrites: 0, flushes: 0, zeroings: 0, trims: 0 });
  });
});

describe('how much is read', () => {
  it('at an opening does not depend on how much there is', { timeout: 60_000 }, async () => {
    const reads: number[] = [];
    for (const keys of [10, 60_000]) {
      const { device, open } = await stage(32 * MIB, MIB);
      const engine = await open();
      await fill(engine, keys, 60);
      await engine.close();
      device.resetCounts();
      const reopened = await open();
      reads.push(device.counts.reads);
      expect(device.counts.readBytes).toBeLessThan(2 * (MIB + 128 * KIB));
      await reopened.close();
    }
    expect(reads[0]).toBe(reads[1]);
    expect(reads[0]).toBeLessThan(20);
  });

  it('for a key is one page a level, and none when it is known', async () => {
    const { device, open } = await stage(32 * MIB, MIB);
    const engine = await open();
    await fill(engine, 20_000, 60);
    await engine.close();
    const reopened = await open();
    device.resetCounts();
    expect(await reopened.get(bytesOf(keyOf(12_345)))).not.toBeNull();
    const first = device.counts.reads;
    expect(first).toBeLessThanOrEqual(3);
    expect(first).toBeGreaterThanOrEqual(2);
    expect(await reopened.get(bytesOf(keyOf(12_345)))).not.toBeNull();
    expect(device.counts.reads).toBe(first);
    expect(await reopened.get(bytesOf(keyOf(3)))).not.toBeNull();
    // Another leaf, below the same branch.
    expect(device.counts.reads).toBe(first + 1);
  });
});
