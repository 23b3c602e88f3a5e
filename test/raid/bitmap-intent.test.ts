/**
 * The internal bitmap while we write: whatever happens beside a write, its bits are durable on every member that
 * the kernel could read them from, before its first byte and until all of it was flushed at a stop.
 */
import { describe, expect, it } from 'vitest';
import { type BlockDevice, DeviceError } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import type { Range } from '../../src/device/range-set.js';
import { makeMembers, type TestShape } from '../../src/lab/self/raid/arrays.js';
import { addBitmap } from '../../src/lab/self/raid/write-intent-bitmap.js';
import { countDirtyBits, readBitmapCopy } from '../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { joinMember } from '../../src/raid/membership.js';
import type { WriteIntent } from '../../src/raid/write-intent.js';
import { mismatches, openDevices } from '../support/arrays.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { HeldDevice } from '../support/devices/held-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';

/** Large enough that the bitmap has two pages. */
const TALL: TestShape = { members: 4, chunkBytes: 65536, layout: 2, stripes: 256 };
const BIT_BYTES = 512;
/** In data: its bit is in the second page. */
const FAR = 15 * 1024 * 1024;

/** As a write does that comes to nothing. */
async function name(intent: WriteIntent, rows: readonly Range[]): Promise<void> {
  const ticket = intent.begin(rows);
  try {
    await intent.durable(ticket);
  } finally {
    intent.end(ticket);
  }
}

async function cleanArray(): Promise<FaultyDevice[]> {
  const devices = await makeMembers(TALL);
  await addBitmap(devices, BIT_BYTES);
  return devices.map((device) => new FaultyDevice(device));
}

async function dirtyBits(device: BlockDevice): Promise<number> {
  const copy = await readBitmapCopy(device, (await examineImage(device)).superblocks[0]!);
  if (copy === null || 'reason' in copy) throw new Error(`${device.name} has no bitmap`);
  return countDirtyBits(copy);
}

const bitsOf = (devices: readonly BlockDevice[]) => Promise.all(devices.map(dirtyBits));

const blank = (like: BlockDevice) => new MemoryDevice(like.size, { name: 'new' });

/** Rows of one bit. */
const bitAt = (start: number) => [{ start, end: start + BIT_BYTES }];

const oneBit = (random: SeededRandom) => random.bytes(BIT_BYTES);

describe('bits', () => {
  it('stay while the array is active, though a replacement makes its progress durable', async () => {
    await withSeed(async (random) => {
      const devices = await cleanArray();
      const { array } = await openDevices(devices);
      const slot = array.core.slots[1]!;
      const member = await joinMember(array, blank(devices[0]!), slot);
      await array.write(0, oneBit(random));
      expect(await bitsOf(devices)).toEqual([128, 128, 128, 128]);
      await array.metadata.checkpoint();
      expect(await bitsOf(devices)).toEqual([128, 128, 128, 128]);
      await array.rebuild(slot, member);
      expect(await dirtyBits(member.device)).toBe(128);
      await array.close();
      const now = devices.map((device, index) => (index === 1 ? member.device : device));
      expect(await bitsOf(now)).toEqual([0, 0, 0, 0]);
      expect(await mismatches(now)).toEqual([]);
    });
  });

  it('that are set while a member joins are on all members, the new one too', async () => {
    const devices = await cleanArray();
    const { array } = await openDevices(devices);
    await array.metadata.activate();
    const { intent } = array.metadata;
    const fresh = new HeldDevice(blank(devices[0]!));
    fresh.hold('write');
    const joining = joinMember(array, fresh, array.core.slots[2]!);
    const begun: Promise<void>[] = [];
    for (let at = 0; array.core.slots[2]!.replacement === null; at += BIT_BYTES) {
      fresh.release('write');
      fresh.hold('write');
      begun.push(name(intent, bitAt(at)), name(intent, bitAt(FAR + at)));
      await new Promise((resolve) => setImmediate(resolve));
    }
    fresh.release('write');
    await Promise.all([joining, ...begun]);
    const bits = await bitsOf([...devices, fresh]);
    expect(bits[0]).toBeGreaterThan(1);
    expect(new Set(bits).size).toBe(1);
  });

  it('are durable on all members though a member joins in the moment between', async () => {
    const devices = await cleanArray();
    const { array } = await openDevices(devices);
    await array.metadata.activate();
    const joined = await joinMember(array, blank(devices[0]!), null);
    const begun = name(array.metadata.intent, bitAt(0));
    const prepared = array.metadata.prepareNewMember(joined);
    await begun;
    expect(await bitsOf(devices)).toEqual([1, 1, 1, 1]);
    await prepared;
  });

  it('that a full disk kept from a member are written before the next write that needs them', async () => {
    await withSeed(async (random) => {
      const devices = await cleanArray();
      const { array } = await openDevices(devices);
      await array.metadata.activate();
      const { bitmapOffset } = array.core.slots[0]!.member!.superblock;
      const write = devices[3]!.write.bind(devices[3]!);
      let isFull = true;
      devices[3]!.write = (offset, from, options) => {
        if (!isFull || offset !== bitmapOffset! + 4096) return write(offset, from, options);
        const fault = { device: devices[3]!.name, operation: 'write' as const };
        return Promise.reject(new DeviceError('NO_SPACE', 'the disk is full', fault));
      };
      const at = FAR * 3;
      await expect(array.write(at, oneBit(random))).rejects.toMatchObject({ code: 'NO_SPACE' });
      isFull = false;
      await array.write(at, oneBit(random));
      const bits = await bitsOf(devices);
      expect(bits[3]).toBeGreaterThan(0);
      expect(new Set(bits).size).toBe(1);
      expect(array.core.degradedSlots).toEqual([]);
    });
  });
});

describe('a spare', () => {
  it('that takes a slot gets all of the bitmap, whatever it had before', async () => {
    const devices = await cleanArray();
    const { array } = await openDevices(devices);
    const spare = await joinMember(array, blank(devices[0]!), null);
    await array.close();
    // The kernel does not keep a spare's copy: it may be anything.
    await spare.device.write(spare.superblock.bitmapOffset! + 4096, new Uint8Array(512).fill(0xaa));
    const now = [...devices.slice(1), spare.device];
    const again = await openDevices(now);
    await again.array.metadata.activate();
    await name(again.array.metadata.intent, bitAt(0));
    expect(await bitsOf(now)).toEqual([1, 1, 1, 1]);
  });
});
