import { describe, expect, it } from 'vitest';
import { judgeDevices } from '../../src/lab/self/raid/arrays.js';
import { mismatches, openDevices, readAll } from '../support/arrays.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { DATA, faultyMembers, fill } from '../support/faulty-arrays.js';

describe('a member that fails a write', () => {
  it('is faulty on all other members before the write is answered, and nothing is lost', async () => {
    await withSeed(async (random) => {
      const { bases, members } = await faultyMembers();
      const content = await fill(members, random);
      const { array, warnings } = await openDevices(members);
      const slot = random.below(4);
      members[slot]!.addRule({ operations: ['write'], range: DATA, code: 'IO_ERROR' });
      const bytes = random.bytes(400 * 1024);
      await array.write(64 * 1024, bytes);
      content.set(bytes, 64 * 1024);
      // The process dies here: what is on the disks has to say it.
      const verdict = await judgeDevices(bases);
      const [survivor] = verdict.slots.filter((judged) => judged.slot !== slot && judged.superblock !== null);
      expect(verdict.slots[slot]!.state).not.toBe('in-sync');
      expect(survivor!.superblock!.roles[slot]).toBe('faulty');
      expect(warnings.join('\n')).toContain(members[slot]!.name);
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      await array.close();
      const again = await openDevices(bases, true);
      expect(again.array.core.degradedSlots).toEqual([slot]);
      expect(Buffer.compare(await readAll(again.array), content)).toBe(0);
    });
  });

  it('that fails a flush, too', async () => {
    await withSeed(async (random) => {
      const { bases, members } = await faultyMembers();
      const { array } = await openDevices(members);
      await array.write(0, random.bytes(65536));
      members[1]!.addRule({ operations: ['flush'] });
      await array.flush();
      expect((await judgeDevices(bases)).slots[1]!.state).not.toBe('in-sync');
    });
  });

  it('a second one stops the array, and every write after it is refused', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      const { array } = await openDevices(members);
      members[0]!.addRule({ operations: ['write'], range: DATA });
      members[2]!.addRule({ operations: ['write'], range: DATA });
      await expect(array.write(0, random.bytes(array.size))).rejects.toMatchObject({ code: 'NOT_ASSEMBLED' });
      await expect(array.write(0, random.bytes(512))).rejects.toMatchObject({ code: 'NOT_ASSEMBLED' });
      await array.close();
      expect(content.length).toBe(array.size);
    });
  });
});

describe('a member that cannot read', () => {
  it('gets its sectors back from the others, and stays', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      const { array, warnings } = await openDevices(members);
      const heal = members[1]!.addRule({
        operations: ['read'],
        range: { offset: DATA.offset + 8192, length: 512 },
      });
      // It reads again once it was written: as disks do that remap a sector.
      const write = members[1]!.write.bind(members[1]!);
      members[1]!.write = (...args: Parameters<typeof write>) => {
        heal();
        return write(...args);
      };
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      expect(array.core.counters.correctedReads).toBe(1);
      expect(array.core.degradedSlots).toEqual([]);
      expect(warnings.join('\n')).toContain('made anew');
      await array.close();
      expect(await mismatches(members)).toEqual([]);
    });
  });

  it('and does not take them back is faulty', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      const { array } = await openDevices(members);
      members[1]!.addRule({
        operations: ['read', 'write'],
        range: { offset: DATA.offset + 8192, length: 512 },
      });
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      expect(array.core.degradedSlots).toEqual([1]);
    });
  });

  it('is read around without a write where the array is open for reading', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      const { array } = await openDevices(members, true);
      for (const member of members) member.resetCounts();
      members[1]!.addRule({ operations: ['read'], range: { offset: DATA.offset, length: 65536 } });
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      expect(members.map((member) => member.counts.writes)).toEqual([0, 0, 0, 0]);
    });
  });

  it('two bad sectors in different rows are no loss; in one row they fail reads of just these bytes', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      const { array } = await openDevices(members, true);
      members[0]!.addRule({ operations: ['read'], range: { offset: DATA.offset + 512, length: 512 } });
      members[1]!.addRule({ operations: ['read'], range: { offset: DATA.offset + 1024, length: 512 } });
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
      members[2]!.addRule({ operations: ['read'], range: { offset: DATA.offset + 512, length: 512 } });
      await expect(readAll(array)).rejects.toMatchObject({
        code: 'DATA_UNAVAILABLE',
        details: { lengthBytes: 512 },
      });
    });
  });

  it('amid a partial write is gone around', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      for (const slot of [0, 1, 2, 3]) {
        const { array } = await openDevices(members);
        const rule = { operations: ['read' as const], range: { offset: DATA.offset, length: 4096 } };
        const clear = members[slot]!.addRule(rule);
        const bytes = random.bytes(512);
        await array.write(1024, bytes);
        content.set(bytes, 1024);
        clear();
        expect(Buffer.compare(await readAll(array), content)).toBe(0);
        await array.close();
      }
      expect(await mismatches(members)).toEqual([]);
    });
  });
});

describe('a full disk below a member', () => {
  it('fails the write, not the member, and leaves the array to be made right', async () => {
    await withSeed(async (random) => {
      const { bases, members } = await faultyMembers();
      const content = await fill(members, random);
      const { array } = await openDevices(members);
      members[1]!.addRule({ operations: ['write'], range: DATA, code: 'NO_SPACE', bytesBefore: 1024 });
      const bytes = random.bytes(4096);
      await expect(array.write(65536, bytes)).rejects.toMatchObject({ code: 'NO_SPACE' });
      await array.close();
      const verdict = await judgeDevices(bases);
      expect(verdict.slots.map((judged) => judged.state)).toEqual(Array(4).fill('in-sync'));
      expect(verdict.set!.resyncOffset).not.toBeNull();
      const again = await openDevices(bases);
      await again.array.resync();
      const left = await readAll(again.array);
      // Outside of what was being written not a byte has changed.
      content.set(left.subarray(65536, 65536 + 4096), 65536);
      expect(Buffer.compare(left, content)).toBe(0);
      await again.array.close();
      expect(await mismatches(bases)).toEqual([]);
    });
  });

  it('with a member missing, what that member held stays readable', async () => {
    await withSeed(async (random) => {
      for (const full of [0, 1, 2, 3]) {
        for (const missing of [0, 1, 2, 3].filter((slot) => slot !== full)) {
          const { members } = await faultyMembers();
          const content = await fill(members, random);
          const { array } = await openDevices(members.filter((_, slot) => slot !== missing));
          const clear = members[full]!.addRule({
            operations: ['write'],
            range: DATA,
            code: 'NO_SPACE',
            nth: 1,
          });
          const written = await array.write(65536 + 4096, random.bytes(4096)).then(
            () => true,
            () => false,
          );
          clear();
          const left = await readAll(array);
          content.set(left.subarray(65536 + 4096, 65536 + 8192), 65536 + 4096);
          expect(Buffer.compare(left, content), `full ${full} missing ${missing} written ${written}`).toBe(0);
        }
      }
    });
  });
});

describe('a member whose superblock cannot be read', () => {
  it('is faulty, and the array goes on without it', async () => {
    await withSeed(async (random) => {
      const { members } = await faultyMembers();
      const content = await fill(members, random);
      members[3]!.addRule({ operations: ['read'], range: { offset: 4096, length: 4096 } });
      const verdict = await judgeDevices(members);
      const broken = verdict.members.find((member) => member.image === 'member-3')!;
      expect(broken.state).toBe('faulty');
      expect(broken.reason).toContain('cannot be read');
      const { array } = await openDevices(members, true);
      expect(Buffer.compare(await readAll(array), content)).toBe(0);
    });
  });
});
