/** The gate as a device: while nobody wants anything, and while somebody keeps all that is overwritten. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { BlockMap } from '../../src/replication/map/block-map.js';
import { SlotContainer } from '../../src/snapshot/container/slots.js';
import { GateDevice, type Keeper } from '../../src/snapshot/gate.js';
import { MomentView } from '../../src/snapshot/view.js';
import { describeBlockDevice, SMALLEST_SIZE } from '../conformance/block-device.js';
import { FaultyBatchDevice } from '../support/devices/faulty-device.js';
import { withSeed } from '../support/devices/seeded-random.js';

const SIZE = SMALLEST_SIZE + 512;
const BLOCKS = Math.ceil(SIZE / BLOCK_BYTES);

function keeperOf(container: SlotContainer): Keeper {
  const pending = new BlockMap(BLOCKS);
  pending.setAll();
  return {
    pending,
    reserve: (blocks) => container.reserve(blocks),
    unreserve: (blocks) => container.unreserve(blocks),
    keep: async (range, content) => {
      await container.keep(range, content);
      pending.clear(range);
    },
    unreadable: (range) => pending.clear(range),
    relief: async () => {
      throw new Error('there is room for all of it');
    },
  };
}

function containerForAll(): SlotContainer {
  const length = BLOCKS * BLOCK_BYTES;
  return new SlotContainer({ device: new MemoryDevice(length), offset: 0, length });
}

describeBlockDevice('GateDevice, open', {
  make: async () => {
    const device = new GateDevice(
      new FaultyBatchDevice(new MemoryDevice(SIZE), { seed: 1, maxDelayTurns: 3 }),
    );
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

describeBlockDevice('GateDevice, with keepers', {
  make: async () => {
    const device = new GateDevice(
      new FaultyBatchDevice(new MemoryDevice(SIZE), { seed: 2, maxDelayTurns: 3 }),
    );
    for (let count = 0; count < 2; count++) device.add(keeperOf(containerForAll()));
    return { device, cleanup: () => device.close() };
  },
  supports: { holes: true },
});

describe('a gate', () => {
  it('reads the old content once for all who want it', async () => {
    const lower = new FaultyBatchDevice(new MemoryDevice(SIZE));
    const gate = new GateDevice(lower);
    const containers = [containerForAll(), containerForAll(), containerForAll()];
    for (const container of containers) gate.add(keeperOf(container));
    await gate.write(0, new Uint8Array(3 * BLOCK_BYTES));
    await gate.write(512, new Uint8Array(512));
    expect(lower.counts).toMatchObject({ reads: 1, readBytes: 3 * BLOCK_BYTES });
    expect(containers.map(({ keptEver }) => keptEver)).toEqual([3, 3, 3]);
  });

  it('shows a moment to who reads it, while it is written', async () => {
    await withSeed(async (random) => {
      const base = new MemoryDevice(SIZE);
      await base.write(0, random.bytes(Math.floor(SIZE / 1024) * 512));
      const before = new Uint8Array(SIZE);
      await base.read(0, before);
      const gate = new GateDevice(
        new FaultyBatchDevice(base, { seed: random.below(1000), maxDelayTurns: 3 }),
      );
      const container = containerForAll();
      gate.add(keeperOf(container));
      const view = new MomentView(gate, container);
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let count = 0; count < 20; count++) {
          const sector = writer * 256 + random.below(250);
          await gate.write(sector * 512, random.bytes(512 * random.between(1, 4)));
        }
      });
      const readers = Array.from({ length: 4 }, async () => {
        for (let count = 0; count < 30; count++) {
          const from = random.below(SIZE / 512) * 512;
          const into = [
            new Uint8Array(512 * random.between(0, 3)),
            new Uint8Array(Math.min(512 * 40, SIZE - from)),
          ];
          const length = Math.min(SIZE - from, into[0]!.length + into[1]!.length);
          const parts = [into[0]!.subarray(0, Math.min(length, into[0]!.length))];
          parts.push(into[1]!.subarray(0, length - parts[0]!.length));
          await view.read(from, parts);
          expect(Buffer.compare(Buffer.concat(parts), before.subarray(from, from + length))).toBe(0);
        }
      });
      await Promise.all([...writers, ...readers]);
      const after = new Uint8Array(SIZE);
      await view.read(0, after);
      expect(Buffer.compare(after, before)).toBe(0);
      // What is no hole there was data at the moment, or may have been.
      const holes = (await view.extents(0, SIZE)).filter(({ kind }) => kind !== 'data');
      for (const { offset, length } of holes)
        expect(before.subarray(offset, offset + length).every((byte) => byte === 0)).toBe(true);
    });
  });

  it('settles what was noted and kept of a write that fails, and gives back what it had reserved', async () => {
    const lower = new MemoryDevice(SIZE);
    const gate = new GateDevice(lower);
    let [reserved, settled] = [0, 0];
    const failing = keeperOf(containerForAll());
    gate.add({
      ...failing,
      reserve(blocks) {
        reserved += blocks;
        return true;
      },
      unreserve(blocks) {
        reserved -= blocks;
      },
      async keep({ count }) {
        reserved -= count;
        throw new Error('it cannot be kept');
      },
    });
    const pending = new BlockMap(BLOCKS);
    pending.setAll();
    gate.add({
      ...keeperOf(containerForAll()),
      pending,
      note: (range) => pending.clear(range),
      async settle() {
        settled += 1;
        throw new Error('nor is the other durable');
      },
    });
    const block = new Uint8Array(BLOCK_BYTES);
    const batch = Array.from({ length: 40 }, (_, at) => ({ offset: 2 * at * BLOCK_BYTES, from: block }));
    await expect(gate.writeBatch(batch)).rejects.toThrow('it cannot be kept');
    // Somebody else writes there, and finds it noted: whoever noted it has waited for that.
    expect([pending.has(0), settled, reserved]).toEqual([false, 1, 0]);
  });
});
