import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL } from '../../src/lab/self/raid/arrays.js';
import { failMember, joinMember } from '../../src/raid/membership.js';
import { mismatches, openDevices, readAll } from '../support/arrays.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';

/** Tall enough for several groups of rows, so that a stop comes in the middle. */
const TALL = { ...SMALL, stripes: 100 };

async function filled(random: SeededRandom): Promise<{ devices: MemoryDevice[]; content: Uint8Array }> {
  const devices = await makeMembers(TALL);
  const { array } = await openDevices(devices);
  const content = random.bytes(array.size);
  await array.write(0, content);
  await array.close();
  return { devices, content };
}

const blank = (like: MemoryDevice, name = 'new') => new MemoryDevice(like.size, { name });

describe('rebuild', () => {
  it('makes a missing member anew, while the array is written', async () => {
    await withSeed(async (random) => {
      const { devices, content } = await filled(random);
      const slot = random.below(4);
      const fresh = blank(devices[0]!);
      const members = devices.map((device, index) => (index === slot ? fresh : device));
      const { array } = await openDevices(devices.filter((_, index) => index !== slot));
      const member = await joinMember(array, fresh, array.core.slots[slot]!);
      const rebuild = array.rebuild(array.core.slots[slot]!, member);
      const writes = Array.from({ length: 50 }, (_, i) => ({
        offset: i * 96 * 1024,
        bytes: random.bytes(random.pick([512, 4096, 70144])),
      }));
      await Promise.all([rebuild, ...writes.map(({ offset, bytes }) => array.write(offset, bytes))]);
      for (const { offset, bytes } of writes) content.set(bytes, offset);
      expect(array.core.degradedSlots).toEqual([]);
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      await array.close();
      const verdict = await judgeDevices(members);
      expect(verdict.slots.map((judged) => judged.state)).toEqual(Array(4).fill('in-sync'));
      expect(verdict.set!.resyncOffset).toBeNull();
      expect(await mismatches(members)).toEqual([]);
    });
  });

  it('is stopped and goes on from where it was, not from the start', async () => {
    await withSeed(async (random) => {
      const { devices, content } = await filled(random);
      const fresh = new FaultyDevice(blank(devices[0]!));
      const left = devices.slice(1);
      const { array } = await openDevices(left);
      const member = await joinMember(array, fresh, array.core.slots[0]!);
      const stop = new AbortController();
      const onProgress = (done: number) => {
        if (done > 2 * 1024 * 1024) stop.abort();
      };
      const run = array.rebuild(array.core.slots[0]!, member, { signal: stop.signal, onProgress });
      await expect(run).rejects.toMatchObject({ code: 'INTERRUPTED' });
      await array.close();
      const verdict = await judgeDevices([fresh, ...left]);
      expect(verdict.slots[0]!.state).toBe('rebuilding');
      const from = verdict.slots[0]!.superblock!.recoveryOffset!;
      expect(from).toBeGreaterThanOrEqual(2 * 1024 * 1024);
      fresh.resetCounts();
      const again = await openDevices([fresh, ...left]);
      const { slots } = again.array.core;
      const result = await again.array.rebuild(slots[0]!, slots[0]!.member!);
      expect(result.fromBytes).toBe(from);
      expect(Buffer.compare(await readAll(again.array), content)).toBe(0);
      await again.array.close();
      // What was made is not made again.
      expect(fresh.counts.writtenBytes).toBeLessThan(TALL.stripes * TALL.chunkBytes - from + 65536);
      expect(await mismatches([fresh, ...left])).toEqual([]);
    });
  });

  it('never says more on disk than was flushed', async () => {
    await withSeed(async (random) => {
      const { devices } = await filled(random);
      const fresh = new FaultyDevice(blank(devices[0]!));
      const { array } = await openDevices(devices.slice(1));
      const member = await joinMember(array, fresh, array.core.slots[0]!);
      const offsets: number[] = [];
      const write = fresh.write.bind(fresh);
      let flushed = 0;
      fresh.write = (offset, from, options) => {
        if (options?.fua === true) {
          offsets.push(offset);
          expect(fresh.counts.flushes).toBeGreaterThan(flushed - 1);
        }
        return write(offset, from, options);
      };
      await array.rebuild(array.core.slots[0]!, member);
      flushed = fresh.counts.flushes;
      expect(flushed).toBeGreaterThan(0);
      expect(offsets.length).toBeGreaterThan(0);
    });
  });

  it('replaces a member that serves: it is read from that member, and the old one is out at the end', async () => {
    await withSeed(async (random) => {
      const { devices, content } = await filled(random);
      const members = devices.map((device) => new FaultyDevice(device));
      const fresh = blank(devices[0]!);
      const { array } = await openDevices(members);
      const slot = array.core.slots[2]!;
      const member = await joinMember(array, fresh, slot);
      expect(array.core.degradedSlots).toEqual([]);
      for (const each of members) each.resetCounts();
      const bytes = random.bytes(300 * 1024);
      await Promise.all([array.rebuild(slot, member), array.write(1024 * 1024, bytes)]);
      content.set(bytes, 1024 * 1024);
      expect(slot.member).toBe(member);
      await array.close();
      const now = [devices[0]!, devices[1]!, fresh, devices[3]!];
      const again = await openDevices(now, true);
      expect(again.array.core.degradedSlots).toEqual([]);
      expect(Buffer.compare(await readAll(again.array), content)).toBe(0);
      expect(await mismatches(now)).toEqual([]);
      // Beside the new one, the old one is not taken for current.
      const both = await judgeDevices([...devices, fresh]);
      expect(both.slots[2]!.image).toBe('new');
      expect(both.members.find((judged) => judged.image === 'member-2')!.state).not.toBe('in-sync');
    });
  });

  it('notes what nobody has as bad blocks, and writing anew takes them away', async () => {
    await withSeed(async (random) => {
      const { devices, content } = await filled(random);
      const broken = new FaultyDevice(devices[1]!);
      const dataOffset = (await judgeDevices(devices)).freshest!.dataOffset;
      const clear = broken.addRule({
        operations: ['read'],
        range: { offset: dataOffset + 65536 * 5, length: 1024 },
      });
      const fresh = blank(devices[0]!);
      const { array } = await openDevices([broken, devices[2]!, devices[3]!]);
      const member = await joinMember(array, fresh, array.core.slots[0]!);
      const result = await array.rebuild(array.core.slots[0]!, member);
      expect(result.lostBytes).toBe(1024);
      await array.close();
      clear();
      const members = [fresh, devices[1]!, devices[2]!, devices[3]!];
      const again = await openDevices(members);
      const target = again.array.core.slots[0]!.member!;
      expect(target.badBlocks.list()).toEqual([{ start: 65536 * 5, end: 65536 * 5 + 1024 }]);
      // The member that could not be read then can be read now: the bytes come from the others.
      expect(Buffer.compare(await readAll(again.array), content)).toBe(0);
      await again.array.write(5 * 3 * 65536, random.bytes(3 * 65536));
      await again.array.flush();
      await again.array.close();
      const after = await judgeDevices(members);
      expect(after.slots[0]!.superblock!.features.badBlocks).toBe(false);
      expect(await mismatches(members)).toEqual([]);
    });
  });
});

describe('fail', () => {
  it('is refused where the array needs the member', async () => {
    const devices = await makeMembers(SMALL);
    const { array } = await openDevices(devices.slice(1));
    await expect(failMember(array, 2)).rejects.toMatchObject({ code: 'REFUSED' });
  });

  it('is durable at once', async () => {
    const devices = await makeMembers(SMALL);
    const { array } = await openDevices(devices);
    await failMember(array, 2);
    const verdict = await judgeDevices(devices);
    expect(verdict.slots[2]!.state).toBe('missing');
    expect(verdict.members.find((judged) => judged.image === 'member-2')!.state).toBe('stale');
  });
});
