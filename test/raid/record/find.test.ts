/** Which of the records that lie on the members counts, and what is suspect where none does. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL } from '../../../src/lab/self/raid/arrays.js';
import { changeSuperblock, superblockBytes } from '../../../src/raid/md/superblock.js';
import type { RecordContent } from '../../../src/raid/record/codec.js';
import { RECORD_HEADER } from '../../../src/raid/record/fields.js';
import { readPlace } from '../../../src/raid/record/find.js';
import { mismatches, openDevices } from '../../support/arrays.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { type CrashedArray, crashedArray, eraseRecords, putRecord, rowsOf } from './support/crashed-array.js';
import { newestOn, openFor, placesOf, recordsOn } from './support/watched-array.js';

const ALL = [{ start: 0, end: SMALL.stripes * SMALL.chunkBytes }];
const stripe = (number: number) => ({ start: number, end: number + 1 });

/** As an opening finds it. */
async function found(devices: Parameters<typeof openFor>[0]) {
  const { record, core } = await openFor(devices, { readOnly: true });
  return { ...record.chosen, suspect: core.suspect.list() };
}

/** A crashed array, and the record that counts for it. */
async function crashed(random: SeededRandom): Promise<CrashedArray & { record: RecordContent }> {
  const array = await crashedArray(random);
  return { ...array, record: await newestOn(array.bases) };
}

describe('of two copies', () => {
  it.each([
    ['cut short', 512, 4096],
    ['without a header', 0, 512],
    ['all noise', 0, 8192],
  ])('one that is %s leaves the other', async (_, from, to) => {
    await withSeed(async (random) => {
      const { bases, record } = await crashed(random);
      const places = await placesOf(bases);
      const copies = (await recordsOn(bases)).filter((copy) => copy.record.generation === record.generation);
      expect(copies).toHaveLength(2);
      const [{ member, slot }] = copies as [(typeof copies)[0]];
      const { device, offset, slotBytes } = places[member]!;
      const bytes = random.bytes(Math.min(to, slotBytes) - from);
      await device.write(offset + slot * slotBytes + from, bytes);
      expect(await found(bases)).toMatchObject({ verdict: 'valid', suspect: rowsOf([2, 5]) });
    });
  });

  it('one that cannot be read leaves the other', async () => {
    await withSeed(async (random) => {
      const { bases, record } = await crashed(random);
      const places = await placesOf(bases);
      const [copy] = (await recordsOn(bases)).filter((each) => each.record.generation === record.generation);
      const { offset, slotBytes } = places[copy!.member]!;
      const range = { offset: offset + copy!.slot * slotBytes, length: 512 };
      const devices = bases.map((base) => new FaultyDevice(base));
      devices[copy!.member]!.addRule({ operations: ['read'], range });
      expect(await found(devices)).toMatchObject({ verdict: 'valid', suspect: rowsOf([2, 5]) });
    });
  });

  it('a fault of ours when they are read is no damage', async () => {
    const device = new MemoryDevice(65536);
    device.read = () => Promise.reject(new TypeError('a bug'));
    await expect(readPlace({ device, offset: 0, slotBytes: 4096 }, new Uint8Array(16))).rejects.toThrow(
      'a bug',
    );
  });
});

describe('a newer record that was cut short', () => {
  it('leaves the one before it: what that does not name had not begun', async () => {
    await withSeed(async (random) => {
      const { bases, record } = await crashed(random);
      const { generation } = record;
      const next = { ...record, generation: generation + 1n, follows: generation, dirty: [stripe(9)] };
      const [free] = [0, 1, 2, 3].filter((member) => member !== Number(generation % 4n));
      await putRecord(bases, [free!, 1], next, 512);
      expect(await found(bases)).toMatchObject({ record, verdict: 'valid', highest: generation + 1n });
    });
  });

  it('and follows one that is not there leaves none: an older one would omit stripes', async () => {
    await withSeed(async (random) => {
      const { bases, record } = await crashed(random);
      await eraseRecords(bases);
      await putRecord(bases, [0, 0], { ...record, generation: 10n, follows: 9n });
      await putRecord(bases, [1, 0], { ...record, generation: 12n, follows: 11n }, 512);
      expect(await found(bases)).toMatchObject({ record: null, verdict: 'lost', highest: 12n, suspect: ALL });
    });
  });

  it('so it stays until a newer one is whole: whoever is cut next does not bring the older one back', async () => {
    await withSeed(async (random) => {
      const { bases, record, content } = await crashed(random);
      await eraseRecords(bases);
      const old = { ...record, generation: 10n, follows: 9n, dirty: [stripe(0)] };
      await putRecord(bases, [0, 0], old);
      await putRecord(bases, [1, 0], { ...record, generation: 12n, follows: 11n }, 512);
      const devices = bases.map((base) => new FaultyDevice(base));
      const array = await openFor(devices);
      // It comes to where the one lay that told of the loss, and no further than its header.
      for (const device of devices) {
        device.addRule({ operations: ['write'], fua: true, code: 'NO_SPACE', bytesBefore: 512 });
      }
      await expect(array.resync()).rejects.toMatchObject({ code: 'NO_SPACE' });
      await (await placesOf(bases))[1]!.device.writeZeroes((await placesOf(bases))[1]!.offset, 4096);
      expect(await found(bases)).toMatchObject({ verdict: 'lost', suspect: ALL });
      const again = await openFor(bases);
      await again.resync();
      await again.close();
      expect(await mismatches(bases)).toEqual([]);
      expect(await found(bases)).toMatchObject({ verdict: 'valid', suspect: [] });
      const bytes = new Uint8Array(content.length);
      await (await openFor(bases, { readOnly: true })).read(0, bytes);
      expect(Buffer.compare(bytes, content)).toBe(0);
    });
  });
});

describe('a record is void', () => {
  it('when any one superblock was written by somebody else', async () => {
    await withSeed(async (random) => {
      const { bases } = await crashed(random);
      const { slots } = await judgeDevices(bases);
      for (const [index, { superblock }] of slots.entries()) {
        const other = changeSuperblock(superblock!, { utime: superblock!.utime + 1 });
        await bases[index]!.write(other.superOffset, superblockBytes(other));
        expect(await found(bases)).toMatchObject({
          record: null,
          verdict: 'void',
          reason: expect.stringContaining(`member-${index}`),
          suspect: ALL,
        });
        await bases[index]!.write(superblock!.superOffset, superblockBytes(superblock!));
        expect(await found(bases)).toMatchObject({ verdict: 'valid', suspect: rowsOf([2, 5]) });
      }
    });
  });

  it('when the kernel cleared the stamp and put the event count back', async () => {
    await withSeed(async (random) => {
      const { bases } = await crashed(random);
      for (const { superblock, device } of (await judgeDevices(bases)).slots) {
        const cleared = changeSuperblock(superblock!, { stamp: 0n });
        expect(cleared.events).toBe(superblock!.events);
        await device!.write(cleared.superOffset, superblockBytes(cleared));
      }
      expect(await found(bases)).toMatchObject({ verdict: 'void', suspect: ALL });
    });
  });

  it('when a member is put back from a copy that is one event older', async () => {
    await withSeed(async (random) => {
      const { bases, record } = await crashedArray(random).then(async (array) => {
        const again = await openFor(array.bases);
        await again.resync();
        await again.close();
        return { ...array, record: await newestOn(array.bases) };
      });
      expect(record.isClean).toBe(true);
      const { superOffset } = (await judgeDevices(bases)).slots[3]!.superblock!;
      const copy = new Uint8Array(4096);
      await bases[3]!.read(superOffset, copy);
      const array = await openFor(bases);
      await array.write(0, random.bytes(512));
      await array.write(8 * array.core.geometry.stripeDataBytes, random.bytes(512));
      await bases[3]!.write(superOffset, copy);
      expect((await judgeDevices(bases)).slots[3]!.state).toBe('in-sync');
      expect(await found(bases)).toMatchObject({ verdict: 'void', suspect: ALL });
    });
  });

  it('and then a clean array is clean: there is nothing to resync', async () => {
    await withSeed(async (random) => {
      const { bases } = await crashed(random);
      for (const { superblock, device } of (await judgeDevices(bases)).slots) {
        const clean = changeSuperblock(superblock!, { stamp: 0n, resyncOffset: null });
        await device!.write(clean.superOffset, superblockBytes(clean));
      }
      expect(await found(bases)).toMatchObject({ verdict: 'void', suspect: [] });
    });
  });
});

it('what it lists beside clean superblocks had not begun; what it has in doubt is in doubt', async () => {
  await withSeed(async (random) => {
    const bases = await makeMembers(SMALL);
    const { array } = await openDevices(bases);
    await array.write(0, random.bytes(512));
    await array.close();
    const record = await newestOn(bases);
    const inDoubt = [{ start: 4096, end: 4608 }];
    const generation = record.generation + 1n;
    await putRecord(bases, [0, 0], { ...record, generation, isClean: false, dirty: [stripe(3)], inDoubt });
    expect(await found(bases)).toMatchObject({ verdict: 'valid', suspect: inDoubt });
  });
});

it('two good records of one generation are both believed', async () => {
  await withSeed(async (random) => {
    const { bases, record } = await crashed(random);
    const generation = record.generation + 1n;
    await putRecord(bases, [0, 0], { ...record, generation, dirty: [stripe(1)] });
    await putRecord(bases, [3, 1], {
      ...record,
      generation,
      dirty: [],
      isClean: true,
      inDoubt: [{ start: 0, end: 512 }],
    });
    expect((await found(bases)).record).toMatchObject({
      isClean: false,
      dirty: [stripe(1)],
      inDoubt: [{ start: 0, end: 512 }],
    });
  });
});

describe('a record of a later version', () => {
  async function withLater(random: SeededRandom, generation: bigint) {
    const { bases, record } = await crashed(random);
    await putRecord(bases, [1, 1], { ...record, generation: record.generation + generation });
    const { device, offset, slotBytes } = (await placesOf(bases))[1]!;
    const header = new Uint8Array(4096);
    await device.read(offset + slotBytes, header);
    RECORD_HEADER.at(header).setNumber('version', 2);
    const { crc32c } = await import('@node-rs/crc32');
    RECORD_HEADER.at(header).setNumber('checksum', 0);
    RECORD_HEADER.at(header).setNumber('header_checksum', 0);
    RECORD_HEADER.at(header).setNumber('header_checksum', crc32c(header.subarray(0, 512)));
    await device.write(offset + slotBytes, header);
    return bases;
  }

  it('that is the newest forbids use of the array, and says why', async () => {
    await withSeed(async (random) => {
      const bases = await withLater(random, 1n);
      for (const readOnly of [true, false]) {
        await expect(openFor(bases, { readOnly })).rejects.toMatchObject({
          code: 'NOT_ASSEMBLED',
          message: expect.stringContaining('version 2'),
        });
      }
    });
  });

  it('that is older than one of ours says nothing', async () => {
    await withSeed(async (random) => {
      const bases = await withLater(random, -1n);
      expect(await found(bases)).toMatchObject({ verdict: 'valid', suspect: rowsOf([2, 5]) });
    });
  });
});

it('what lies in the gap and is of another set, or of nobody, is none', async () => {
  await withSeed(async (random) => {
    const { bases } = await crashed(random);
    const other = await crashedArray(random, [7]);
    await eraseRecords(bases);
    for (const [index, { offset, slotBytes }] of (await placesOf(bases)).entries()) {
      const foreign = new Uint8Array(slotBytes);
      await other.bases[index]!.read(offset, foreign);
      await bases[index]!.write(offset, foreign);
      await bases[index]!.write(offset + slotBytes, random.bytes(slotBytes));
    }
    expect(await found(bases)).toMatchObject({ record: null, verdict: 'none', suspect: ALL });
  });
});

it('a record that is longer than what is read first is read whole', async () => {
  await withSeed(async (random) => {
    const shape = { members: 3, chunkBytes: 4096, layout: 2, stripes: 700 };
    const stripes = Array.from({ length: 300 }, (_, index) => 2 * index);
    const { bases } = await crashedArray(random, stripes, shape);
    expect((await found(bases)).suspect).toEqual(rowsOf(stripes, shape));
  });
});
