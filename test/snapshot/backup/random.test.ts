/** Backups of a volume that many write to: each is the volume at its moment, whatever the container, the policy and the order. */
import { setImmediate } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import { cached } from '../../../src/volume/stack.js';
import { FaultyBatchDevice } from '../../support/devices/faulty-device.js';
import { PromptMemory } from '../../support/devices/prompt-memory.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { BackupBench, contentFor, firstDifference } from '../../support/snapshot/backup-bench.js';

const ROUNDS = 12;
const BLOCKS = 1500;
const WRITERS = 8;

/** Each has blocks of its own: writes in flight do not overlap. */
async function writes(
  bench: BackupBench,
  writer: number,
  random: SeededRandom,
  isOver: () => boolean,
): Promise<void> {
  const share = Math.floor(BLOCKS / WRITERS);
  for (let version = 2; !isOver(); version++) {
    const count = random.between(1, 6);
    const block = writer * share + random.below(share - count);
    const [offset, length] = [block * BLOCK_BYTES, count * BLOCK_BYTES];
    const kind = random.below(10);
    if (kind === 0) await bench.device.trim(offset, length);
    else if (kind === 1) await bench.device.writeZeroes(offset, length);
    // Sectors: what lies beside them in the block is of the moment too.
    else if (kind === 2) await bench.device.write(offset + 512, new Uint8Array(512).fill(version % 255));
    // As a server does: at once where that can be.
    else if (!bench.device.writeNow(offset, contentsFor(block, version, count), length))
      await bench.write(block, version, count);
    await setImmediate();
  }
}

function contentsFor(block: number, version: number, count: number): Uint8Array[] {
  return Array.from({ length: count }, (_, at) => contentFor(block + at, version));
}

function someOf(random: SeededRandom): (blocks: number) => Promise<BlockMap> {
  return async (blocks) => {
    for (let turn = random.below(20); turn > 0; turn--) await setImmediate();
    const used = new BlockMap(blocks);
    for (let at = 0; at < blocks; at += random.between(1, 200))
      used.set({ from: at, count: Math.min(random.between(1, 100), blocks - at) });
    return used;
  };
}

it('is the volume at the moment, in what is in use', { timeout: 60_000 }, async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < ROUNDS; round++) {
      const seed = random.below(2 ** 31);
      const list = someOf(random);
      let used: BlockMap | null = null;
      const isCached = random.chance(0.3);
      const isPrompt = !isCached && random.chance(0.4);
      let lower: FaultyBatchDevice | null = null;
      const bench = new BackupBench({
        blocks: BLOCKS,
        slots: [null, 1, 4, 40, BLOCKS][random.below(5)]!,
        onOverflow: random.pick(['drain', 'throttle', 'grow'] as const),
        ...(isPrompt
          ? { memory: (bytes, name) => new PromptMemory(bytes, random, name) }
          : {
              lower: (base) => {
                lower = new FaultyBatchDevice(base, { seed, maxDelayTurns: random.below(4) });
                return lower;
              },
            }),
        ...(isCached ? { over: (gate) => cached(gate, 64 * 1024, { capacityBytes: 512 * 1024 }) } : {}),
        used: async (blocks) => {
          used = await list(blocks);
          return used;
        },
      });
      await bench.fill();
      let isOver = false;
      const writing = Array.from({ length: WRITERS }, (_, at) => writes(bench, at, random, () => isOver));
      const clock = setInterval(() => bench.clock.advance(5), 1);
      for (let turn = random.below(30); turn > 0; turn--) await setImmediate();
      const result = await bench.run();
      isOver = true;
      await Promise.all(writing);
      clearInterval(clock);
      expect(firstDifference(bench.target.content, bench.moment!, used)).toBe(null);
      expect(bench.target.end).toBe('good');
      expect(bench.target.covered.equals(used!)).toBe(true);
      // What is in use no more is told, to who has a backup from before.
      expect(bench.target.zeroed.count).toBe(BLOCKS - used!.count);
      expect(result.copiedBytes).toBe(used!.count * BLOCK_BYTES);
      expect(bench.container?.usedBytes ?? 0).toBe(0);
      expect((lower as FaultyBatchDevice | null)?.overlaps ?? []).toEqual([]);
      await bench.device.flush();
      await bench.device.close();
    }
  });
});
