/**
 * Rows that a failure left in doubt, and failures that leave none: what may be made from parity and what may not.
 */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL } from '../../src/lab/self/raid/arrays.js';
import { failMember, joinMember } from '../../src/raid/membership.js';
import { mismatches, openDevices, readAll } from '../support/arrays.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { DATA, faultyMembers, fill } from '../support/faulty-arrays.js';
import { addPpl } from '../support/md-features.js';

describe('a row whose parity a full disk left in doubt', () => {
  /** Chunk 1 of stripe 0 was being written when slot 1's disk, or that of the parity, was full. */
  async function inDoubt(random: SeededRandom) {
    const { bases, members } = await faultyMembers();
    const content = await fill(members, random);
    const { array } = await openDevices(members);
    const [rows] = [...array.core.geometry.pieces(65536, 4096)];
    const parity = array.core.geometry.parityMember(rows!.stripe);
    const clear = members[parity]!.addRule({ operations: ['write'], range: DATA, code: 'NO_SPACE' });
    const bytes = random.bytes(4096);
    await expect(array.write(65536, bytes)).rejects.toMatchObject({ code: 'NO_SPACE' });
    clear();
    expect(array.core.suspect.list()).toEqual([{ start: 0, end: 4096 }]);
    const missing = [0, 1, 2, 3].find((slot) => slot !== parity && slot !== rows!.slot)!;
    return { bases, members, content, array, missing, bytes };
  }

  it('is not used to make up what a member held that fails then; all else reads', async () => {
    await withSeed(async (random) => {
      const { array, content, missing, bytes } = await inDoubt(random);
      content.set(bytes, 65536);
      await failMember(array, missing);
      const index = array.core.geometry.dataIndexOf(0, missing)!;
      const at = index * 65536;
      await expect(array.read(at, new Uint8Array(65536))).rejects.toMatchObject({
        code: 'DATA_UNAVAILABLE',
        details: { offsetBytes: at, lengthBytes: 4096 },
      });
      const rest = new Uint8Array(array.size - at - 4096);
      await array.read(at + 4096, rest);
      expect(Buffer.compare(rest, content.subarray(at + 4096))).toBe(0);
      // Written anew, it is in doubt no more.
      await array.write(at, content.subarray(at, at + 4096));
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
    });
  });

  it('is bad on a member that is rebuilt beside it, and never made up', async () => {
    await withSeed(async (random) => {
      const { array, members, missing } = await inDoubt(random);
      await failMember(array, missing);
      const fresh = new MemoryDevice(members[0]!.size, { name: 'new' });
      const slot = array.core.slots[missing]!;
      const result = await array.rebuild(slot, await joinMember(array, fresh, slot));
      expect(result.lostBytes).toBe(4096);
      expect(slot.member!.badBlocks.list()).toEqual([{ start: 0, end: 4096 }]);
      await array.close();
    });
  });

  it('is trusted again when the same write comes again and fits', async () => {
    await withSeed(async (random) => {
      const { array, bases, bytes } = await inDoubt(random);
      await array.write(65536, bytes);
      expect(array.core.suspect.isEmpty).toBe(true);
      await array.close();
      expect((await judgeDevices(bases)).set!.resyncOffset).toBeNull();
      expect(await mismatches(bases)).toEqual([]);
    });
  });
});

describe('a member that fails to zero stripes', () => {
  it('is out; the rows are right without it, and written as any others', async () => {
    await withSeed(async (random) => {
      const { bases, members } = await faultyMembers();
      const content = await fill(members, random);
      const { array } = await openDevices(members);
      members[2]!.addRule({ operations: ['write-zeroes'] });
      await array.writeZeroes(0, 4 * 3 * 65536);
      content.fill(0, 0, 4 * 3 * 65536);
      expect((await judgeDevices(bases)).slots[2]!.state).toBe('missing');
      for (let at = 0; at < 4 * 3 * 65536; at += 65536) {
        const bytes = random.bytes(512);
        await array.write(at, bytes);
        content.set(bytes, at);
      }
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      await array.close();
      expect((await judgeDevices(bases)).set!.resyncOffset).toBeNull();
    });
  });
});

describe('an array with partial parity logs', () => {
  it('is not written any more when a member has failed: the kernel would trust the logs', async () => {
    await withSeed(async (random) => {
      const bases = await makeMembers(SMALL);
      await addPpl(bases);
      const members = bases.map((base) => new FaultyDevice(base));
      const content = await fill(members, random);
      const { array } = await openDevices(members);
      members[1]!.addRule({ operations: ['write'], range: DATA });
      const bytes = random.bytes(65536 * 3);
      await array.write(0, bytes);
      content.set(bytes);
      await expect(array.write(0, random.bytes(512))).rejects.toMatchObject({ code: 'REFUSED' });
      await expect(array.writeZeroes(0, 65536 * 3)).rejects.toMatchObject({ code: 'REFUSED' });
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      await array.close();
      expect((await judgeDevices(bases)).set!.resyncOffset).toBeNull();
    });
  });
});

it('a long write of an array with partial parity logs stops where a member fails', async () => {
  const bases = await makeMembers({ ...SMALL, stripes: 200 });
  await addPpl(bases);
  const members = bases.map((base) => new FaultyDevice(base));
  const { array } = await openDevices(members);
  members[1]!.addRule({ operations: ['write'], range: DATA });
  await expect(array.write(0, new Uint8Array(array.size).fill(1))).rejects.toMatchObject({ code: 'REFUSED' });
  const end = new Uint8Array(512);
  await array.read(array.size - 512, end);
  expect(end[0]).toBe(0);
});

describe('a fault of ours', () => {
  const bug = () => Promise.reject(new TypeError('a bug'));

  it('amid a write costs no member, and leaves an array that is made right', async () => {
    await withSeed(async (random) => {
      const { bases, members } = await faultyMembers();
      await fill(members, random);
      const { array } = await openDevices(members);
      const { write } = members[1]!;
      members[1]!.write = (offset, from, options) =>
        offset < DATA.offset ? write.call(members[1]!, offset, from, options) : bug();
      await expect(array.write(0, random.bytes(65536 * 3))).rejects.toThrow('a bug');
      await array.close();
      const verdict = await judgeDevices(bases);
      expect(verdict.slots.map((judged) => judged.state)).toEqual(Array(4).fill('in-sync'));
      expect(verdict.set!.resyncOffset).toBe(0);
      const again = await openDevices(bases);
      await again.array.resync();
      await again.array.close();
      expect(await mismatches(bases)).toEqual([]);
    });
  });

  it('amid a read is no bad sector', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      await fill(members, random);
      const { array } = await openDevices(members);
      members[1]!.read = bug;
      await expect(readAll(array)).rejects.toThrow('a bug');
      expect(array.core.slots[1]!.member!.unreadable.isEmpty).toBe(true);
    });
  });
});

it('a bad sector beside a missing member costs just its bytes', async () => {
  await withSeed(async (random) => {
    const { members } = await faultyMembers();
    await fill(members, random);
    const { array } = await openDevices(members.slice(1), true);
    members[1]!.addRule({ operations: ['read'], range: { offset: DATA.offset + 512, length: 512 } });
    const at = array.core.geometry.dataIndexOf(0, 0)! * 65536;
    await expect(array.read(at, new Uint8Array(65536))).rejects.toMatchObject({
      code: 'DATA_UNAVAILABLE',
      details: { offsetBytes: at + 512, lengthBytes: 512 },
    });
  });
});
