/**
 * Arrays of the real kernel, opened, read, recovered and rebuilt; the kernel's own results are the measure.
 */
import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { judgeDevices } from '../../src/lab/self/raid/arrays.js';
import { readBitmapCopy } from '../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { joinMember } from '../../src/raid/membership.js';
import { mismatches, openDevices, readAll } from '../support/arrays.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { factsOf, loadArray, WHOLE_ARRAYS } from '../support/md-fixtures.js';

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex');
}

async function contentOf(devices: readonly BlockDevice[]): Promise<string> {
  const { array } = await openDevices(devices, true);
  return sha256(await readAll(array));
}

/** The data area of a member, as far as md uses it. */
async function dataArea(device: BlockDevice): Promise<string> {
  const { dataOffset, memberSizeBytes } = (await examineImage(device)).superblocks[0]!;
  const bytes = new Uint8Array(memberSizeBytes);
  await device.read(dataOffset, bytes);
  return sha256(bytes);
}

describe.each(WHOLE_ARRAYS)('%s', (name) => {
  it('reads as the kernel reads it, in any order of members, without a write', async () => {
    await withSeed(async (random) => {
      const { devices, expect: wanted } = await loadArray(name);
      const members = devices.map((device) => new FaultyDevice(device));
      const shuffled = [...members].sort(() => random.next() - 0.5);
      expect(await contentOf(shuffled)).toBe(wanted.content_sha256);
      for (const member of members)
        expect(member.counts).toMatchObject({ writes: 0, zeroings: 0, trims: 0, flushes: 0 });
    });
  });

  it('finds the rows that the kernel finds', async () => {
    const { devices, expect: wanted } = await loadArray(name);
    if (wanted.bad_rows === undefined || wanted.bad_rows === null) {
      const { array } = await openDevices(devices, true);
      await expect(array.scrub({ repair: false })).rejects.toMatchObject({ code: 'REFUSED' });
      return;
    }
    expect(await mismatches(devices)).toEqual(wanted.bad_rows);
  });
});

describe('dirty-bitmap', () => {
  it('is resynced where its bits say, to what the kernel made of it', async () => {
    const { devices, expect: wanted } = await loadArray('dirty-bitmap');
    const members = devices.map((device) => new FaultyDevice(device));
    const { array } = await openDevices(members);
    const suspectBytes = array.core.suspect.totalBytes;
    expect(suspectBytes).toBe(28 * 65536);
    for (const member of members) member.resetCounts();
    const result = await array.resync();
    await array.close();
    expect(result.resyncedStripes).toBe(28);
    expect(result.correctedStripes).toBe(wanted.bad_rows!.length);
    for (const member of members) expect(member.counts.readBytes).toBe(suspectBytes);
    const verdict = await judgeDevices(devices);
    expect(verdict.set!.resyncOffset).toBeNull();
    for (const device of devices) {
      expect(await dataArea(device)).toBe(
        factsOf('dirty-bitmap').power_cut!.data_area_sha256_after_kernel_resync[device.name],
      );
      const copy = await readBitmapCopy(
        device,
        verdict.members.find((member) => member.image === device.name)!.superblock!,
      );
      expect(copy).toMatchObject({ events: verdict.set!.events, markedStale: false });
    }
    expect(await contentOf(devices)).toBe(wanted.content_sha256);
  });

  it('has the bit of a chunk on every member before data of it is written, and none after a clean stop', async () => {
    await withSeed(async (random) => {
      const { devices } = await loadArray('dirty-bitmap');
      const first = await openDevices(devices);
      await first.array.resync();
      await first.array.close();
      const bits = async () => {
        const verdict = await judgeDevices(devices);
        return Promise.all(
          verdict.slots.map(async (member) => {
            const copy = await readBitmapCopy(member.device!, member.superblock!);
            if (copy === null || 'reason' in copy) throw new Error('no bitmap');
            return [...copy.raw.subarray(256)]
              .flatMap((byte, at) =>
                [0, 1, 2, 3, 4, 5, 6, 7].filter((bit) => byte & (1 << bit)).map((bit) => at * 8 + bit),
              )
              .filter((bit) => bit < copy.bits);
          }),
        );
      };
      expect(await bits()).toEqual([[], [], [], []]);
      const members = devices.map(
        (device) => new FaultyDevice(device, { seed: random.below(1000), maxDelayTurns: 4 }),
      );
      const { array } = await openDevices(members);
      const dataOffset = array.core.slots[0]!.member!.superblock.dataOffset;
      const chunk = random.below(100);
      let dataWrites = 0;
      for (const member of members) {
        const write = member.write.bind(member);
        member.write = async (offset, from, options) => {
          if (offset >= dataOffset) {
            dataWrites++;
            expect(await bits()).toEqual([[chunk], [chunk], [chunk], [chunk]]);
          }
          return write(offset, from, options);
        };
      }
      const at = chunk * 3 * 65536;
      await Promise.all([array.write(at, random.bytes(4096)), array.write(at + 65536, random.bytes(512))]);
      expect(dataWrites).toBeGreaterThan(2);
      await array.close();
      expect(await bits()).toEqual([[], [], [], []]);
    });
  });
});

describe('a member that is to be made anew', () => {
  it('missing-one: gets the data that the kernel had on it', async () => {
    const { devices, expect: wanted } = await loadArray('missing-one');
    const { array } = await openDevices(devices);
    const fresh = new MemoryDevice(devices[0]!.size, { name: 'member-b.img' });
    const slot = array.core.slots[1]!;
    await array.rebuild(slot, await joinMember(array, fresh, slot));
    await array.close();
    expect(await dataArea(fresh)).toBe(factsOf('missing-one').missing_member_data_sha256);
    expect(await mismatches([...devices, fresh])).toEqual([]);
    expect(await contentOf([devices[0]!, fresh, devices[1]!])).toBe(wanted.content_sha256);
  });

  it('stale-member: is never trusted, and rebuilt to what the kernel makes of it', async () => {
    const { devices, expect: wanted } = await loadArray('stale-member');
    const stale = devices.find((device) => device.name === 'member-b.img')!;
    const others = devices.filter((device) => device !== stale);
    for (const left of others) {
      // With one more away there is nothing to read: least of all the old content.
      const verdict = await judgeDevices([stale, ...others.filter((device) => device !== left)]);
      expect(verdict.refusals.map((refusal) => refusal.forbids)).toContain('all');
    }
    const { array } = await openDevices(devices);
    const slot = array.core.slots[1]!;
    await array.rebuild(slot, await joinMember(array, stale, slot));
    await array.close();
    expect(await dataArea(stale)).toBe(factsOf('stale-member').rebuilt_data_sha256);
    expect(await contentOf(devices)).toBe(wanted.content_sha256);
    expect(await mismatches(devices)).toEqual([]);
  });

  it('bitrot-parity: is repaired from the data, and its content stays', async () => {
    const { devices, expect: wanted } = await loadArray('bitrot-parity');
    const { array } = await openDevices(devices);
    const result = await array.scrub({ repair: true });
    await array.close();
    expect(result).toMatchObject({
      mismatchedRows: wanted.bad_rows,
      mismatchCount: 32,
      mismatchedStripes: 4,
      repairedStripes: 4,
    });
    expect(await mismatches(devices)).toEqual([]);
    expect(await contentOf(devices)).toBe(wanted.content_sha256);
  });
});
