/** What superblocks and bad-block logs say, and when: no update may be ahead of what is durable. */
import { describe, expect, it, vi } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL, type TestShape } from '../../src/lab/self/raid/arrays.js';
import { changeSuperblock, superblockBytes } from '../../src/raid/md/superblock.js';
import { failMember, joinMember } from '../../src/raid/membership.js';
import { openDevices, readAll } from '../support/arrays.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../support/devices/volatile-device.js';
import { loadMetadata } from '../support/md-fixtures.js';

const SHAPE: TestShape = { members: 4, chunkBytes: 8192, layout: 2, stripes: 8 };

async function volatileMembers(): Promise<VolatileDevice[]> {
  const power = new PowerSupply();
  return makeMembers(SHAPE, (size, slot) => new VolatileDevice(size, { name: `member-${slot}`, power }));
}

const blank = (like: BlockDevice) => new MemoryDevice(like.size, { name: 'new' });

describe('a member that is away', () => {
  it('is not current when it comes back after the others were started dirty without it', async () => {
    await withSeed(async (random) => {
      const devices = await makeMembers(SHAPE);
      const first = await openDevices(devices);
      await first.array.write(0, random.bytes(4096));
      // Not closed. Now it is forced: what the missing member held is believed, and nothing is written.
      const { array } = await openDevices(devices.slice(1));
      array.core.suspect.remove(0, array.core.geometry.memberSizeBytes);
      await array.metadata.checkpoint();
      await array.close();
      const verdict = await judgeDevices(devices);
      expect(verdict.set!.resyncOffset).toBeNull();
      expect(verdict.slots[0]!.state).toBe('missing');
    });
  });

  it('has no role any more beside who is rebuilt in its place', async () => {
    const devices = await makeMembers(SHAPE);
    const { array } = await openDevices(devices.slice(1));
    const member = await joinMember(array, blank(devices[0]!), array.core.slots[0]!);
    const { roles } = (await judgeDevices([...devices.slice(1), member.device])).freshest!;
    expect(roles.filter((role) => typeof role === 'number').sort()).toEqual([0, 1, 2, 3]);
    expect(roles[member.superblock.deviceNumber]).toBe(0);
  });
});

/** Looks at the disk after each write of a superblock, as a cut there would leave it. */
function afterSuperblocks(devices: readonly BlockDevice[], look: () => Promise<void>): void {
  for (const device of devices) {
    const write = device.write.bind(device);
    vi.spyOn(device, 'write').mockImplementation(async (offset, bytes, options) => {
      await write(offset, bytes, options);
      if (options?.fua === true && offset < 8192) await look();
    });
  }
}

describe('after a cut amid superblocks', () => {
  it.each([1, 2, 3])('that %d members got, a second one leaves no member out', async (ahead) => {
    const devices = await makeMembers(SHAPE);
    for (const { superblock, device } of (await judgeDevices(devices)).slots.slice(0, ahead)) {
      const raised = changeSuperblock(superblock!, { events: superblock!.events + 1n, resyncOffset: 0 });
      await device!.write(raised.superOffset, superblockBytes(raised));
    }
    const { array } = await openDevices(devices);
    const found: string[] = [];
    afterSuperblocks(devices, async () => {
      const { slots } = await judgeDevices(devices);
      found.push(slots.map(({ state }) => state).join(' '));
    });
    await array.write(0, new Uint8Array(512));
    await array.close();
    // One level, one active, one clean.
    expect(found).toHaveLength(4 - ahead + 4 + 4);
    expect(new Set(found)).toEqual(new Set(['in-sync in-sync in-sync in-sync']));
  });

  it.each([1n, 10n])('what a spare says counts for nothing, though it is %d events ahead', async (ahead) => {
    const devices = await makeMembers(SHAPE);
    const { array } = await openDevices(devices);
    const spare = await joinMember(array, blank(devices[0]!), null);
    await array.write(0, new Uint8Array(512));
    await array.close();
    const wrong = changeSuperblock(spare.superblock, {
      events: spare.superblock.events + ahead,
      roles: ['faulty', 'faulty', 2, 3, 'spare'],
    });
    await spare.device.write(wrong.superOffset, superblockBytes(wrong));
    const all = [...devices, spare.device];
    const again = await openDevices(all);
    const found = new Set<string>();
    afterSuperblocks(all, async () => {
      const { slots } = await judgeDevices(devices);
      found.add(slots.map(({ state, superblock }) => `${state} ${superblock!.roles.slice(0, 4)}`).join('; '));
    });
    await again.array.write(0, new Uint8Array(512));
    await again.array.close();
    const well = 'in-sync 0,1,2,3';
    expect([...found]).toEqual([[well, well, well, well].join('; ')]);
  });

  it('a member that is ahead and fails is left two events behind all the same', async () => {
    const bases = await makeMembers(SHAPE);
    const { superblock, device } = (await judgeDevices(bases)).slots[0]!;
    const raised = changeSuperblock(superblock!, { events: superblock!.events + 1n, resyncOffset: 0 });
    await device!.write(raised.superOffset, superblockBytes(raised));
    const { array } = await openDevices(bases);
    await failMember(array, 0);
    await array.close();
    const { slots, members } = await judgeDevices(bases);
    const own = members.find(({ image }) => image === 'member-0')!.superblock!.events;
    expect(slots[1]!.superblock!.events).toBeGreaterThanOrEqual(own + 2n);
  });

  it('nothing is raised that a full disk kept from all', async () => {
    const bases = await makeMembers(SHAPE);
    const devices = bases.map((base) => new FaultyDevice(base));
    const { array } = await openDevices(devices);
    const before = (await judgeDevices(bases)).freshest!.events;
    const { superOffset } = array.core.slots[0]!.member!.superblock;
    const range = { offset: superOffset, length: 4096 };
    for (const device of devices) {
      for (const nth of [1, 2, 3]) device.addRule({ operations: ['write'], range, code: 'NO_SPACE', nth });
    }
    for (let attempt = 0; attempt < 3; attempt++) {
      await expect(array.write(0, new Uint8Array(512))).rejects.toMatchObject({ code: 'NO_SPACE' });
    }
    await array.write(0, new Uint8Array(512));
    expect((await judgeDevices(bases)).freshest!.events).toBe(before + 1n);
  });
});

describe('a bad block', () => {
  /** Slot 0 was rebuilt beside a member that had a bad sector, which therefore is bad on it too. */
  async function withBadBlock(devices: readonly VolatileDevice[]): Promise<void> {
    const { array } = await openDevices(devices);
    const member = array.core.slots[0]!.member!;
    member.badBlocks.add(0, 512);
    array.metadata.noteBadBlocks(member);
    await array.flush();
    await array.close();
    expect((await judgeDevices(devices)).slots[0]!.superblock!.features.badBlocks).toBe(true);
  }

  it('is bad after a power cut as long as what was written there is not durable', async () => {
    await withSeed(async (random) => {
      const devices = await volatileMembers();
      await withBadBlock(devices);
      const { array } = await openDevices(devices);
      await array.write(0, random.bytes(8192 * 3));
      expect(array.core.slots[0]!.member!.badBlocks.isEmpty).toBe(true);
      // An update of the superblocks that has nothing to do with it.
      await failMember(array, 3);
      const left = devices.map((device) => device.cutPower(1, 'none'));
      const again = await openDevices(left.slice(0, 3), true);
      expect(again.array.core.slots[0]!.member!.badBlocks.list()).toEqual([{ start: 0, end: 512 }]);
    });
  });

  it('that is written while a flush runs is forgotten only by what flushed it', async () => {
    await withSeed(async (random) => {
      const devices = await volatileMembers();
      await withBadBlock(devices);
      const { array } = await openDevices(devices);
      const member = array.core.slots[0]!.member!;
      member.badBlocks.add(1024, 1536);
      array.metadata.noteBadBlocks(member);
      // The flush of slot 3 is on its way when the sector is written anew on slot 0, which has flushed already.
      const flush = devices[3]!.flush.bind(devices[3]!);
      devices[3]!.flush = async () => {
        await devices[0]!.flush();
        await array.write(0, random.bytes(8192 * 3));
        await flush();
      };
      await array.flush();
      const left = devices.map((device) => device.cutPower(1, 'none'));
      const content = new Uint8Array(512);
      await left[0]!.read(member.superblock.dataOffset, content);
      const again = await openDevices(left, true);
      const isWritten = content.some((byte) => byte !== 0);
      expect(again.array.core.slots[0]!.member!.badBlocks.overlaps(0, 512)).toBe(!isWritten);
    });
  });
});

describe('the table of members', () => {
  it('does not run full, however many have failed and were replaced', async () => {
    const devices = await makeMembers(SHAPE);
    const { array } = await openDevices(devices);
    const slot = array.core.slots[0]!;
    for (let count = 0; count < 130; count++) {
      await failMember(array, 0);
      await joinMember(array, blank(devices[0]!), slot);
    }
    await array.rebuild(slot, slot.member!);
    await array.close();
    const now = [slot.member!.device, ...devices.slice(1)];
    expect((await judgeDevices(now)).slots.map(({ state }) => state)).toEqual(Array(4).fill('in-sync'));
    expect((await judgeDevices([...now, devices[0]!])).slots[0]!.image).toBe('new');
  });
});

describe('version 0.90', () => {
  it('has no replacement: it is refused before anything is written', async () => {
    const { devices } = await loadMetadata('clean-090');
    const members = devices.map((device) => new FaultyDevice(device));
    const { array } = await openDevices(members);
    const fresh = new FaultyDevice(blank(devices[0]!));
    for (const member of members) member.resetCounts();
    await expect(joinMember(array, fresh, array.core.slots[1]!)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
    });
    for (const { counts } of [...members, fresh]) expect(counts).toMatchObject({ writes: 0, fuaWrites: 0 });
  });
});

describe('a spare', () => {
  it('that cannot take its superblock does not stop the array', async () => {
    const devices = await makeMembers(SMALL);
    const { array } = await openDevices(devices);
    const spare = new FaultyDevice(blank(devices[0]!));
    await joinMember(array, spare, null);
    spare.addRule({ operations: ['write'] });
    await array.write(0, new Uint8Array(4096).fill(1));
    expect(array.core.degradedSlots).toEqual([]);
    expect((await readAll(array))[0]).toBe(1);
    await array.close();
    expect((await judgeDevices(devices)).set!.resyncOffset).toBeNull();
  });
});
