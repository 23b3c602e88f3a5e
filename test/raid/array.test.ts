import { describe, expect, it } from 'vitest';
import { makeMembers, SMALL, sizeOf, type TestShape } from '../../src/lab/self/raid/arrays.js';
import { mismatches, openDevices, readAll } from '../support/arrays.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';

const SHAPES: TestShape[] = [
  SMALL,
  { members: 3, chunkBytes: 4096, layout: 0, stripes: 40 },
  { members: 5, chunkBytes: 8192, layout: 1, stripes: 20 },
  { members: 6, chunkBytes: 65536, layout: 3, stripes: 6 },
  { members: 3, chunkBytes: 524288, layout: 4, stripes: 3 },
  { members: 8, chunkBytes: 4096, layout: 5, stripes: 30 },
];

/** Random writes that do not overlap, so that they may all be in flight at once. */
function disjointWrites(
  random: SeededRandom,
  size: number,
  count: number,
): { offset: number; bytes: Uint8Array }[] {
  const cuts = new Set<number>();
  while (cuts.size < count * 2) cuts.add(random.below(size / 512) * 512);
  const sorted = [...cuts].sort((a, b) => a - b);
  const writes = [];
  for (let i = 0; i + 1 < sorted.length; i += 2) {
    const offset = sorted[i]!;
    const length = Math.min(
      sorted[i + 1]! - offset,
      random.pick([512, 4096, 20480, 300000 - (300000 % 512)]),
    );
    writes.push({ offset, bytes: random.bytes(length) });
  }
  return writes;
}

/** Of any lengths, sectors or not. */
function oddBuffers(random: SeededRandom, size: number): Uint8Array[] {
  const parts: Uint8Array[] = [];
  for (let left = size; left > 0; left -= parts.at(-1)!.length)
    parts.push(new Uint8Array(Math.min(left, random.between(1, 50_000))));
  return parts;
}

describe.each(SHAPES)('an array of $members members, chunks of $chunkBytes, layout $layout', (shape) => {
  it('holds what was written, by any number of writers at once, with right parity', async () => {
    await withSeed(async (random) => {
      const devices = await makeMembers(shape);
      const model = new Uint8Array(sizeOf(shape));
      for (let round = 0; round < 4; round++) {
        const { array } = await openDevices(devices);
        const writes = disjointWrites(random, array.size, 60);
        await Promise.all(writes.map(({ offset, bytes }) => array.write(offset, bytes)));
        for (const { offset, bytes } of writes) model.set(bytes, offset);
        expect(Buffer.compare(await readAll(array), model)).toBe(0);
        await array.close();
        expect(await mismatches(devices)).toEqual([]);
      }
    });
  });

  it('reads and writes with any one member missing, and what was written stays when it comes back rebuilt', async () => {
    await withSeed(async (random) => {
      const devices = await makeMembers(shape);
      const model = new Uint8Array(sizeOf(shape));
      const write = async (members: typeof devices) => {
        const { array } = await openDevices(members);
        const writes = disjointWrites(random, array.size, 40);
        await Promise.all(writes.map(({ offset, bytes }) => array.write(offset, bytes)));
        for (const { offset, bytes } of writes) model.set(bytes, offset);
        expect(Buffer.compare(await readAll(array), model)).toBe(0);
        await array.close();
      };
      await write(devices);
      const missing = random.below(shape.members);
      const left = devices.filter((_, slot) => slot !== missing);
      const before = await openDevices(left, true);
      expect(Buffer.compare(await readAll(before.array), model)).toBe(0);
      const parts = oddBuffers(random, before.array.size);
      await before.array.read(0, parts);
      expect(Buffer.compare(Buffer.concat(parts), model)).toBe(0);
      await write(left);
      // The member that was away is stale now, whatever its own superblock says.
      const { array } = await openDevices(devices, true);
      expect(array.core.degradedSlots).toEqual([missing]);
      expect(Buffer.compare(await readAll(array), model)).toBe(0);
    });
  });
});
