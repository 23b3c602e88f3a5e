/** What a secondary does beyond the contract: epochs, their order and their limit, and what they cost. */
import { describe, expect, it } from 'vitest';
import {
  contentOf,
  create,
  FIRST,
  lent,
  memoryParts,
  type Sizes,
} from '../../../src/lab/self/replication/secondary-parts.js';
import { epochCost, openSecondary, type SecondaryDevice } from '../../../src/replication/secondary/index.js';
import { errorOf, expectSame, pattern, readAt } from '../../conformance/block-device.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';

const SECTOR = 512;
const SIZES: Sizes = { imageBytes: 256 * 1024, logBytes: 8192 + 128 * 1024 };

async function counted(sizes = SIZES) {
  const memory = memoryParts(sizes);
  const image = new FaultyDevice(memory.image);
  const epochs = new FaultyDevice(memory.epochs);
  const parts = { ...memory, image, epochs };
  await create(parts, sizes.imageBytes);
  const device = await openSecondary(lent(parts), { nowMs: () => 5000 });
  image.resetCounts();
  epochs.resetCounts();
  return { device, image, epochs, parts };
}

describe('an epoch', () => {
  it('is answered when it is durable in the log, and applied behind that', async () => {
    const memory = memoryParts(SIZES);
    await create(memory, SIZES.imageBytes);
    const image = new HeldDevice(memory.image);
    const device = await openSecondary({ ...memory, image });
    image.hold('write');
    await device.write(4096, pattern(4096, 1));
    await device.flush();
    expect(device.point.epoch).toBe(1);
    await image.arrived(1);
    expectSame(await readAt(memory.image, 4096, 4096), new Uint8Array(4096));
    expectSame(await readAt(device, 4096, 4096), pattern(4096, 1));
    // The next one becomes durable while this one waits.
    await device.write(8192, pattern(4096, 2), { fua: true });
    expect(device.point.epoch).toBe(2);
    image.release('write');
    await device.settle();
    expectSame(await readAt(memory.image, 4096, 8192), Buffer.concat([pattern(4096, 1), pattern(4096, 2)]));
  });

  it('holds what was called before the flush, and nothing that was called behind it', async () => {
    const { device, parts } = await counted();
    const calls = [
      device.write(0, pattern(4096, 1)),
      device.write(1024, pattern(512, 2)),
      device.trim(2048, 1024),
      device.write(2560, pattern(512, 3)),
      device.flush(),
      device.write(0, pattern(4096, 4)),
    ];
    await Promise.all(calls);
    await device.close();
    const wanted = pattern(4096, 1);
    wanted.set(pattern(512, 2), 1024);
    wanted.fill(0, 2048, 2560);
    wanted.set(pattern(512, 3), 2560);
    const again = await openSecondary(lent(parts));
    expectSame(await readAt(again, 0, 4096), wanted);
    expect(again.point).toEqual({ epoch: 1, atMs: 5000 });
  });

  it('of nothing costs nothing', async () => {
    const { device, image, epochs } = await counted();
    await device.flush();
    expect([epochs.counts.flushes, epochs.counts.writes, image.counts.flushes]).toEqual([0, 0, 0]);
    expect(device.point.epoch).toBe(0);
  });

  it('that is longer than half of the log is refused, by name and size, and no epoch ends without it', async () => {
    const { device, parts } = await counted();
    await device.write(0, pattern(4096, 1));
    await device.flush();
    const room = device.epochBytes - epochCost(0);
    await device.write(0, pattern(room - epochCost(0), 2));
    const error = await errorOf(device.write(0, pattern(SECTOR, 3)));
    expect(error.code).toBe('REFUSED');
    expect(error.message).toContain(`epochs (${SIZES.logBytes} bytes)`);
    await errorOf(device.flush());
    await device.close();
    const again = await openSecondary(lent(parts));
    expectSame(await readAt(again, 0, 4096), pattern(4096, 1));
    expect(again.point.epoch).toBe(1);
  });

  it('as long as it may be, again and again, goes round the log', async () => {
    const { device, parts } = await counted();
    const length = device.epochBytes - 2 * epochCost(0);
    for (let round = 1; round <= 9; round++) {
      await device.write(round * SECTOR, pattern(length, round));
      await device.flush();
    }
    await device.close();
    const again = await openSecondary(lent(parts));
    expectSame(await readAt(again, 9 * SECTOR, length), pattern(length, 9));
    expectSame(await readAt(again, SECTOR, SECTOR), pattern(SECTOR, 1));
  });
});

describe('what is written', () => {
  it('to the log are the bytes, a sector for each write that comes alone, and one for the end', async () => {
    const { device, image, epochs } = await counted();
    for (let count = 0; count < 4; count++) await device.write(count * 8192, pattern(4096, count));
    await device.flush();
    await device.settle();
    // And the header, whose tail has moved.
    expect(epochs.counts.writtenBytes).toBe(4 * (4096 + SECTOR) + SECTOR + SECTOR);
    expect(epochs.counts.flushes).toBe(1);
    expect(image.counts.writtenBytes).toBe(4 * 4096);
    expect(image.counts.flushes).toBe(1);
  });

  it('at once shares one write and its header, and goes to the image once', async () => {
    const { device, image, epochs } = await counted();
    const calls = Array.from({ length: 6 }, (_, at) => device.write((at % 4) * 4096, pattern(4096, at)));
    await Promise.all([...calls, device.flush()]);
    await device.settle();
    expect(epochs.counts.writes).toBe(2);
    expect(epochs.counts.writtenBytes).toBe(6 * 4096 + SECTOR + SECTOR);
    expect(image.counts.writes).toBe(1);
    expect(image.counts.writtenBytes).toBe(4 * 4096);
  });

  it('as zeroes and trims is no content anywhere', async () => {
    const { device, image, epochs } = await counted();
    await Promise.all([device.writeZeroes(0, 65_536), device.trim(131_072, 65_536), device.flush()]);
    await device.settle();
    expect(epochs.counts.writtenBytes).toBe(SECTOR + SECTOR);
    expect([image.counts.writtenBytes, image.counts.zeroings]).toEqual([0, 2]);
  });
});

describe('thousands of calls at once', () => {
  it('make what a plain buffer makes, in the order of the calls, whatever is applied meanwhile', () =>
    withSeed(async (random) => {
      const memory = memoryParts(SIZES);
      const image = new FaultyDevice(memory.image, { seed: random.below(1000), maxDelayTurns: 3 });
      const epochs = new FaultyDevice(memory.epochs, { seed: random.below(1000), maxDelayTurns: 3 });
      const parts = { ...memory, image, epochs };
      await create(parts, SIZES.imageBytes);
      const device = await openSecondary(lent(parts));
      const model = new Uint8Array(SIZES.imageBytes);
      for (let round = 0; round < 25; round++) {
        if (round === 10) await device.beginResync();
        if (round === 18) await device.endResync({ generation: FIRST });
        await randomRound(random, device, model);
        expectSame(await contentOf(device), model, `round ${round}`);
      }
      await device.flush();
      await device.close();
      expect(image.overlaps).toEqual([]);
      const again = await openSecondary(lent(parts));
      expectSame(await contentOf(again), model);
    }));
});

/** Calls that overlap as they like, with flushes among them so that no epoch is too long. */
async function randomRound(random: SeededRandom, device: SecondaryDevice, model: Uint8Array): Promise<void> {
  const calls: Promise<void>[] = [];
  let cost = device.epochBytes;
  for (let count = 0; count < 120; count++) {
    const sectors = random.between(1, 16);
    const [offset, length] = [random.below(model.length / SECTOR - sectors) * SECTOR, sectors * SECTOR];
    cost += epochCost(length);
    if (cost > device.epochBytes - epochCost(0)) {
      calls.push(device.flush());
      cost = epochCost(length);
    }
    const kind = random.below(5);
    const bytes = kind < 3 ? random.bytes(length) : new Uint8Array(length);
    model.set(bytes, offset);
    if (kind < 3) calls.push(device.write(offset, bytes));
    else calls.push(kind === 3 ? device.writeZeroes(offset, length) : device.trim(offset, length));
  }
  await Promise.all([...calls, device.flush()]);
}
