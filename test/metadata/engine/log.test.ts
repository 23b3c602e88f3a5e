/** The log: who shares its writes, what of it counts at an opening, and what it does when it is full. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { bytesOf, list, put } from '../../../src/lab/self/metadata/model.js';
import { checkEngine } from '../../../src/metadata/engine/check-engine.js';
import { BLOCK_BYTES } from '../../../src/metadata/engine/layout.js';
import { makeEngine } from '../../../src/metadata/engine/make-engine.js';
import { openEngine } from '../../../src/metadata/engine/open-engine.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';
import { bytesAt, KIB, keyOf, MIB, rot, stage } from './support.js';

const QUIET = { warn: () => undefined };

describe('group commit', () => {
  it('writes one record, two copies, for all who come together', async () => {
    const { device, open } = await stage();
    const engine = await open();
    device.resetCounts();
    await Promise.all(Array.from({ length: 200 }, (_, at) => engine.commit([put(keyOf(at), 'v')])));
    expect(device.counts).toMatchObject({ fuaWrites: 2, writes: 0, flushes: 0 });
    expect(await list(engine)).toHaveLength(200);
  });

  it('gathers all who come while a record is on its way into the next', async () => {
    const held = new HeldDevice(new MemoryDevice(4 * MIB));
    const range = { device: held, offset: 0, length: 4 * MIB };
    await makeEngine(range);
    const engine = await openEngine(range, QUIET);
    held.hold('write');
    const first = engine.commit([put('first', '1')]);
    await held.arrived(2);
    const others = Array.from({ length: 100 }, (_, at) => engine.commit([put(keyOf(at), 'v')]));
    let isAnswered = false;
    void Promise.race([first, ...others]).then(() => {
      isAnswered = true;
    });
    expect(await engine.get(bytesOf(keyOf(99)))).toEqual(bytesOf('v'));
    expect(held.waiting).toBe(2);
    expect(isAnswered).toBe(false);
    held.release('write');
    await Promise.all([first, ...others]);
    // 101 transactions in two records, each of a block.
    expect(engine.usage.logUsedBytes).toBe(2 * BLOCK_BYTES);
  });
});

describe('at an opening', () => {
  /** Three records, each of one block, and where the log is. */
  async function three() {
    const own = await stage();
    const engine = await own.open();
    for (const key of ['a', 'b', 'c']) await engine.commit([put(key, '1')]);
    await engine.close();
    return {
      ...own,
      block: (half: number, record: number) => own.at(half, own.layout.logOffset + record * BLOCK_BYTES),
    };
  }

  it('what is damaged in both copies before a good record is refused, with its place', async () => {
    for (const record of [0, 1]) {
      const { memory, open, block, range } = await three();
      for (const half of [0, 1]) await rot(memory, block(half, record) + 66);
      const offset = block(0, record);
      await expect(open()).rejects.toMatchObject({
        code: 'METADATA_DAMAGED',
        message: expect.stringMatching(new RegExp(`meta\\.img.*log.*at offset ${offset}`)),
        details: { image: 'meta.img', offsetBytes: offset },
      });
      expect((await checkEngine(range)).map(({ code, offsetBytes }) => [code, offsetBytes])).toContainEqual([
        'LOG_DAMAGED',
        offset,
      ]);
    }
  });

  it('nor does it help that one of them is zeroes, or that two records after another are', async () => {
    const { memory, open, block } = await three();
    for (const half of [0, 1]) await memory.writeZeroes(block(half, 0), 2 * BLOCK_BYTES);
    await expect(open()).rejects.toMatchObject({ code: 'METADATA_DAMAGED' });
  });

  it('what is good in the other half counts, whichever it is for each record', async () => {
    const { memory, open, block, warnings, range } = await three();
    await rot(memory, block(0, 0) + 66);
    await rot(memory, block(1, 1) + 66);
    await rot(memory, block(0, 2) + 66);
    const engine = await open();
    expect(await list(engine)).toHaveLength(3);
    expect(warnings.map(({ code }) => code)).toEqual(['LOG_COPY_DAMAGED', 'LOG_COPY_DAMAGED']);
    await engine.close();
    expect(await checkEngine(range)).toEqual([]);
  });

  it('a last record that is torn in both halves is dropped, and does not come back', async () => {
    const { memory, open, block, range } = await three();
    const torn = await Promise.all([0, 1].map((half) => bytesAt(memory, block(half, 2), BLOCK_BYTES)));
    for (const half of [0, 1]) await rot(memory, block(half, 2) + 66);
    const engine = await open();
    expect((await list(engine)).map((entry) => entry.slice(0, 2))).toEqual(['61', '62']);
    await engine.commit([put('d', '1')]);
    await engine.commit([put('e', '1')]);
    await engine.close();
    // What was dropped is put back over what came instead: it is no predecessor of the last one.
    for (const half of [0, 1]) await memory.write(block(half, 2), torn[half]!);
    const next = async () => (await list(await open())).map((entry) => entry.slice(0, 2));
    const found = await next();
    expect(found).toEqual(['61', '62', '63', '65']);
    expect((await checkEngine(range)).length).toBe(0);
  });

  it('leftovers of a torn tail are no successors: their epoch is lower', async () => {
    const { memory, open, block } = await three();
    const third = await Promise.all([0, 1].map((half) => bytesAt(memory, block(half, 2), BLOCK_BYTES)));
    // As if the second record had been torn when the third one was there already.
    for (const half of [0, 1]) await memory.writeZeroes(block(half, 1), 2 * BLOCK_BYTES);
    const engine = await open();
    await engine.commit([put('new', '1')]);
    await engine.close();
    for (const half of [0, 1]) await memory.write(block(half, 2), third[half]!);
    const keys = (await list(await open())).map((entry) =>
      Buffer.from(entry.split('=')[0]!, 'hex').toString(),
    );
    expect(keys).toEqual(['a', 'new']);
  });
});

it('what an opening has shown outlasts a power cut, whoever wrote it', async () => {
  const size = 4 * MIB;
  const device = new VolatileDevice(size);
  const range = { device, offset: 0, length: size };
  await makeEngine(range);
  const engine = await openEngine(range, QUIET);
  await engine.commit([put('a', '1')]);
  await engine.close();
  // The same record as a process leaves it that was killed before it was durable.
  const record = new Uint8Array(BLOCK_BYTES);
  const { planLayout } = await import('../../../src/metadata/engine/layout.js');
  const { logOffset, halfBytes } = planLayout(range);
  await device.read(logOffset, record);
  for (const half of [0, halfBytes]) await device.writeZeroes(half + logOffset, BLOCK_BYTES, { fua: true });
  await device.flush();
  for (const half of [0, halfBytes]) await device.write(half + logOffset, record);
  const shown = await openEngine(range, QUIET);
  expect(await shown.get(bytesOf('a'))).toEqual(bytesOf('1'));
  const left = device.cutPower(1, 'none');
  const after = await openEngine({ ...range, device: left }, QUIET);
  expect(await after.get(bytesOf('a'))).toEqual(bytesOf('1'));
});

describe('a log that is full', () => {
  it('makes commits wait for a checkpoint, which begins by itself, and none fails', async () => {
    const { open, range, layout } = await stage();
    const engine = await open();
    const value = 'v'.repeat(2000);
    const before = engine.generation;
    const all = Array.from({ length: 300 }, (_, at) =>
      engine.commit([put(keyOf(at % 50), value), put('last', String(at))]),
    );
    expect(await engine.get(bytesOf('last'))).toEqual(bytesOf('299'));
    await Promise.all(all);
    expect(engine.usage.logUsedBytes).toBeLessThanOrEqual(layout.logBytes);
    expect(engine.generation).toBeGreaterThan(before + 5);
    await engine.close();
    const reopened = await open();
    expect(await list(reopened)).toHaveLength(51);
    expect(await reopened.get(bytesOf('last'))).toEqual(bytesOf('299'));
    await reopened.close();
    expect(await checkEngine(range)).toEqual([]);
  });

  it('begins a checkpoint in the background at three quarters', async () => {
    const { open, layout } = await stage();
    const engine = await open();
    const before = engine.generation;
    let count = 0;
    while (engine.generation === before && count < 100) {
      await engine.commit([put('a', 'v'.repeat(3000))]);
      count += 1;
    }
    expect(count * BLOCK_BYTES).toBeGreaterThanOrEqual((3 * layout.logBytes) / 4);
    expect(count * BLOCK_BYTES).toBeLessThanOrEqual(layout.logBytes);
  });

  it('has a transaction of a quarter of it at most', async () => {
    const { open } = await stage(4 * MIB, 64 * KIB);
    const engine = await open();
    const fits = Array.from({ length: 4 }, (_, at) => put(keyOf(at), 'v'.repeat(3000)));
    await engine.commit(fits);
    await expect(engine.commit([...fits, put('x', 'v'.repeat(3000))])).rejects.toThrow(RangeError);
  });
});
