/** The rules by which sets of images are judged, one by one, and what holds for any set. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { FEATURE } from '../../../src/raid/md/fields-superblock.js';
import { arrayState, type JudgeOptions, judge } from '../../../src/raid/md/judge.js';
import type { DeviceRole, Judgement } from '../../../src/raid/md/model.js';
import { changeSuperblock, joinSuperblock } from '../../../src/raid/md/superblock.js';
import { loadMetadata } from '../../support/md-fixtures.js';
import { seeded } from '../../support/seed.js';
import {
  change,
  DATA_OFFSET,
  examineAll,
  forge,
  formatOptions,
  formatted,
  MEMBER_BYTES,
  makeSet,
  roles,
  SUPER_OFFSET,
  superblockOf,
  uuid,
} from './support/sets.js';

async function judgeAll(devices: readonly MemoryDevice[], options?: JudgeOptions): Promise<Judgement> {
  return judge(await examineAll(devices), options);
}

function states(judgement: Judgement): string[] {
  return judgement.members.map((member) => `${member.image ?? '-'} ${member.state} ${member.slot ?? '-'}`);
}

function codes(judgement: Judgement): string[] {
  return judgement.refusals.map((refusal) => `${refusal.code} ${refusal.forbids}`);
}

async function copyOf(device: MemoryDevice, name: string, size = device.size): Promise<MemoryDevice> {
  const copy = new MemoryDevice(size, { name });
  const bytes = new Uint8Array(Math.min(size, device.size));
  await device.read(0, bytes);
  await copy.write(0, bytes);
  return copy;
}

describe('members', () => {
  it('in sync: all four, and the array is clean', async () => {
    const judgement = await judgeAll(await makeSet());
    expect(states(judgement)).toEqual([
      'member-0 in-sync 0',
      'member-1 in-sync 1',
      'member-2 in-sync 2',
      'member-3 in-sync 3',
    ]);
    expect(arrayState(judgement)).toBe('clean');
    expect(judgement.set).toMatchObject({
      raidDisks: 4,
      memberSizeBytes: MEMBER_BYTES - DATA_OFFSET,
      events: 20n,
    });
  });

  it('one event behind is current: a cut amid the writes of superblocks, and the freshest says dirty', async () => {
    const judgement = await judgeAll(
      await makeSet((slot) => (slot === 2 ? { events: 19n, resyncOffset: 0 } : { events: 18n })),
    );
    expect(states(judgement).every((state) => state.includes('in-sync'))).toBe(true);
    expect(judgement.set?.resyncOffset).toBe(0);
    expect(arrayState(judgement)).toBe('dirty');
  });

  it('two events behind is stale, whatever its own superblock claims', async () => {
    const judgement = await judgeAll(await makeSet((slot) => (slot === 1 ? { events: 18n } : {})));
    expect(states(judgement)).toContain('member-1 stale 1');
    expect(judgement.slots[1]).toMatchObject({ state: 'missing', reason: 'member-1 is stale' });
    expect(arrayState(judgement)).toBe('degraded');
  });

  it.each<[DeviceRole, string]>([
    ['faulty', 'faulty'],
    ['spare', 'stale'],
  ])('one event behind and %s in the freshest is %s', async (role, state) => {
    const judgement = await judgeAll(
      await makeSet((slot) => (slot === 1 ? { events: 19n } : { roles: roles(0, role, 2, 3) })),
    );
    expect(states(judgement)).toContain(`member-1 ${state} 1`);
    expect(arrayState(judgement)).toBe('degraded');
  });

  it('with as many events, and out by the word of another, is out: md takes event counts back', async () => {
    const excluding = { roles: roles(0, 'faulty', 2, 3) };
    for (const excludes of [[0], [0, 2, 3]]) {
      const judgement = await judgeAll(await makeSet((slot) => (excludes.includes(slot) ? excluding : {})));
      expect(judgement.slots[1]?.state).toBe('missing');
      expect(judgement.slots[3]?.state).toBe('in-sync');
      expect(judgement.refusals).toEqual([]);
    }
  });

  it('at the freshest event count the most to resync wins', async () => {
    const judgement = await judgeAll(await makeSet((slot) => (slot === 3 ? { resyncOffset: 65536 } : {})));
    expect(judgement.set?.resyncOffset).toBe(65536);
  });

  it('a rebuilding one is right below its recovery offset', async () => {
    const devices = await makeSet();
    await change(devices[3]!, { recoveryOffset: 1024 * 1024 });
    const judgement = await judgeAll(devices);
    expect(judgement.slots[3]).toMatchObject({
      state: 'rebuilding',
      superblock: { recoveryOffset: 1024 * 1024 },
    });
    expect(arrayState(judgement)).toBe('rebuilding');
    await change(devices[0]!, { events: 21n, resyncOffset: 0 });
    expect(arrayState(await judgeAll(devices))).toBe('dirty-degraded');
  });

  it('spares do not judge, and their events do not matter', async () => {
    const spare = formatted(formatOptions(4, { roles: roles(0, 1, 2, 3), events: 99n }), 'spare');
    const old = formatted(formatOptions(5, { roles: roles(0, 1, 2, 3), events: 1n }), 'old-spare');
    const judgement = await judgeAll([...(await makeSet()), await spare, await old]);
    expect(states(judgement)).toEqual(
      expect.arrayContaining(['spare spare -', 'old-spare spare -', 'member-0 in-sync 0']),
    );
    expect(judgement.set?.events).toBe(20n);
  });

  it('a spare is not in sync by the word of the freshest alone', async () => {
    const devices = await makeSet((slot) =>
      slot === 1 ? { roles: roles(0, 'spare', 2, 3), events: 19n } : {},
    );
    expect(states(await judgeAll(devices))).toContain('member-1 spare -');
  });

  it('a replacement serves beside its original, and takes the place of one that is gone', async () => {
    const all = roles(0, 1, 2, 3, 1);
    const devices = await makeSet(() => ({ roles: all }));
    const successor = await formatted(formatOptions(4, { roles: all }), 'successor');
    await change(successor, { replacement: true, recoveryOffset: 65536 });
    const both = await judgeAll([...devices, successor]);
    expect(both.slots[1]).toMatchObject({ image: 'member-1', replacement: false });
    expect(both.replacements[1]).toMatchObject({
      image: 'successor',
      state: 'rebuilding',
      replacement: true,
    });
    expect(both.refusals).toEqual([]);
    // The original still serves: nothing is taken away.
    expect(arrayState(both)).toBe('clean');
    const alone = await judgeAll([devices[0]!, devices[2]!, devices[3]!, successor]);
    expect(alone.slots[1]).toMatchObject({ image: 'successor', state: 'rebuilding', replacement: false });
    expect(alone.replacements[1]).toBeNull();
  });

  it('of 0.90 whose number and slot another took over is stale, though but one event behind', async () => {
    const { devices } = await loadMetadata('clean-090');
    const like = await superblockOf(devices[0]!);
    const events = like.events + 1n;
    const heir = new MemoryDevice(devices[0]!.size, { name: 'heir' });
    const joined = joinSuperblock(like, { imageSizeBytes: heir.size, deviceUuid: '', deviceNumber: 1 });
    await heir.write(joined.superOffset, changeSuperblock(joined, { events }).raw);
    for (const slot of [0, 2, 3]) await change(devices[slot]!, { events });
    const judgement = await judgeAll([...devices, heir]);
    expect(judgement.slots[1]?.image).toBe('heir');
    expect(states(judgement)).toContain('member-b.img stale 1');
    expect(judgement.refusals).toEqual([]);
  });

  it('cut short is faulty, with both sizes', async () => {
    const devices = await makeSet();
    devices[2] = await copyOf(devices[2]!, 'member-2', 2 * 1024 * 1024);
    const judgement = await judgeAll(devices);
    const cut = judgement.members.find((member) => member.image === 'member-2');
    expect(cut).toMatchObject({ state: 'faulty', slot: 2 });
    expect(cut?.reason).toContain(String(MEMBER_BYTES));
    expect(cut?.reason).toContain(String(2 * 1024 * 1024));
    expect(arrayState(judgement)).toBe('degraded');
  });

  it('with a damaged superblock is faulty, with a blank one no member', async () => {
    const devices = await makeSet();
    await devices[0]!.write(
      SUPER_OFFSET + 512 - 512,
      new Uint8Array([0xfc, 0x4e, 0x2b, 0xa9, 1, ...new Array(507).fill(0)]),
    );
    expect(states(await judgeAll(devices))).toContain('member-0 faulty -');
    await devices[0]!.writeZeroes(SUPER_OFFSET, 4096);
    const blank = await judgeAll(devices);
    expect(states(blank)).toContain('member-0 foreign -');
    expect(blank.refusals).toEqual([]);
    expect(arrayState(blank)).toBe('degraded');
  });
});

describe('what is refused', () => {
  it('two members missing, stale or in rebuild', async () => {
    const devices = await makeSet();
    expect(codes(await judgeAll(devices.slice(0, 2)))).toEqual(['TWO_MEMBERS_MISSING all']);
    expect(codes(await judgeAll(await makeSet((slot) => (slot < 2 ? { events: 3n } : {}))))).toEqual([
      'TWO_MEMBERS_MISSING all',
    ]);
    await change(devices[3]!, { recoveryOffset: 0 });
    const judgement = await judgeAll(devices.slice(1));
    expect(codes(judgement)).toEqual(['TWO_MEMBERS_MISSING all']);
    expect(arrayState(judgement)).toBe('failed');
  });

  it('images of two arrays, with who belongs where; but not if one is meant', async () => {
    const other = await formatted(formatOptions(0, { setUuid: uuid(0xb), setName: 'other' }), 'stranger');
    const devices = [...(await makeSet()), other];
    const mixed = await judgeAll(devices);
    expect(codes(mixed)).toEqual(['MIXED_ARRAYS all']);
    expect(mixed.refusals[0]?.message).toContain(`${uuid(0xb)} (other): stranger`);
    expect(mixed.set).toBeNull();
    const meant = await judgeAll(devices, { setUuid: uuid(0xa).replaceAll(':', '-').toUpperCase() });
    expect(meant.refusals).toEqual([]);
    expect(states(meant)).toContain('stranger foreign -');
    expect(codes(await judgeAll(devices, { setUuid: uuid(0xc) }))).toEqual(['SET_NOT_FOUND all']);
  });

  it('nothing to judge', async () => {
    expect(codes(judge([]))).toEqual(['NO_SUPERBLOCK all']);
    expect(codes(await judgeAll([new MemoryDevice(65536)]))).toEqual(['NO_SUPERBLOCK all']);
  });

  it('two copies of one member, unless one is plainly old', async () => {
    const devices = await makeSet();
    const copy = await copyOf(devices[1]!, 'copy');
    const judgement = await judgeAll([...devices, copy]);
    expect(codes(judgement)).toEqual(['DUPLICATE_MEMBER all']);
    expect(judgement.refusals[0]?.message).toContain('slot 1: copy, member-1');
    await change(copy, { events: 7n });
    const old = await judgeAll([...devices, copy]);
    expect(old.refusals).toEqual([]);
    expect(states(old)).toContain('copy stale 1');
  });

  it('two histories of one array', async () => {
    const devices = await makeSet((slot) => ({
      roles: slot === 0 ? roles(0, 'faulty', 2, 3) : roles('faulty', 1, 2, 3),
    }));
    expect(codes(await judgeAll(devices))).toContain('SPLIT_BRAIN all');
    const behind = await makeSet((slot) =>
      slot === 0 ? { roles: roles(0, 'faulty', 2, 3), events: 19n } : { roles: roles('faulty', 1, 2, 3) },
    );
    expect(codes(await judgeAll(behind.slice(0, 3)))).toContain('TWO_MEMBERS_MISSING all');
    expect(codes(await judgeAll(behind))).toContain('SPLIT_BRAIN all');
  });

  it.each<[string, Parameters<typeof formatOptions>[1]]>([
    ['creation time', { ctime: 1_600_000_000 }],
    ['chunk', { chunkBytes: 131072 }],
    ['layout', { layout: 3 }],
    ['number of members', { raidDisks: 3 }],
    ['used size', { memberSizeBytes: 1024 * 1024 }],
  ])('a member of the same UUID with another %s', async (what, options) => {
    const judgement = await judgeAll(await makeSet((slot) => (slot === 3 ? options! : {})));
    expect(codes(judgement)).toEqual(['FOREIGN_MEMBER all']);
    expect(judgement.refusals[0]?.message).toContain(what);
    expect(judgement.refusals[0]?.message).toContain('member-3');
    expect(states(judgement)).toContain('member-3 foreign -');
  });

  it('but not one that was left behind when the array changed its shape', async () => {
    const judgement = await judgeAll(
      await makeSet((slot) => (slot === 3 ? { memberSizeBytes: 1024 * 1024, events: 5n } : {})),
    );
    expect(judgement.refusals).toEqual([]);
    expect(states(judgement)).toContain('member-3 stale 3');
  });

  it.each([['LEVEL all', (level: 4 | 6) => ({ level })]])('%s', async (code, options) => {
    for (const level of [4, 6] as const)
      expect(codes(await judgeAll(await makeSet(() => options(level))))).toEqual([code]);
  });

  it.each([
    ['RESHAPE all', FEATURE.reshape, 'failed'],
    ['CLUSTERED all', FEATURE.clustered, 'failed'],
    ['UNKNOWN_FEATURE all', 0x8000, 'failed'],
    ['JOURNAL write', FEATURE.journal, 'clean'],
  ])('%s', async (code, bit, state) => {
    const devices = await makeSet();
    for (const device of devices) await forge(device, (view) => view.setNumber('feature_map', bit));
    const judgement = await judgeAll(devices);
    expect(codes(judgement)).toContain(code);
    expect(arrayState(judgement)).toBe(state);
  });

  it('a single member with a feature that is not known, by name', async () => {
    const devices = await makeSet();
    await forge(devices[2]!, (view) => view.setNumber('feature_map', 0x4000));
    const judgement = await judgeAll(devices);
    expect(codes(judgement)).toEqual(['UNKNOWN_FEATURE all']);
    expect(judgement.refusals[0]?.message).toContain('member-2');
    expect(judgement.refusals[0]?.message).toContain('0x4000');
  });
});

describe('any set', () => {
  const role = fc.oneof(fc.integer({ min: 0, max: 4 }), fc.constantFrom<DeviceRole>('spare', 'faulty'));
  const member = fc.record({
    number: fc.integer({ min: 0, max: 4 }),
    roles: fc.array(role, { minLength: 3, maxLength: 5 }),
    events: fc.bigInt(17n, 20n),
    resyncOffset: fc.constantFrom(null, 0, 65536),
    recoveryOffset: fc.constantFrom(null, null, 65536),
    replacement: fc.constantFrom(false, false, true),
    ctime: fc.constantFrom(1_700_000_000, 1_700_000_000, 1_600_000_000),
  });

  it('is judged alike in any order, and fills a slot with one good member or none', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(member, { minLength: 1, maxLength: 6 }),
        fc.infiniteStream(fc.double({ min: 0, max: 1, noNaN: true })),
        async (members, keys) => {
          const devices: MemoryDevice[] = [];
          for (const [index, { number, replacement, recoveryOffset, ...options }] of members.entries()) {
            const device = await formatted(
              formatOptions(number, { ...options, deviceUuid: uuid(0x200 + index) }),
              `image-${index}`,
            );
            await change(device, { replacement, recoveryOffset });
            devices.push(device);
          }
          const images = await examineAll(devices);
          const judgement = judge(images);
          const shuffled = images
            .map((image) => [keys.next().value, image] as const)
            .sort((a, b) => a[0] - b[0]);
          const again = judge(shuffled.map(([, image]) => image));
          expect([...states(again)].sort()).toEqual([...states(judgement)].sort());
          expect(codes(again)).toEqual(codes(judgement));
          expect(again.set).toEqual(judgement.set);
          expectConsistent(judgement);
        },
      ),
      seeded({ numRuns: 300 }),
    );
  });
});

function expectConsistent(judgement: Judgement): void {
  const { set, slots, replacements, freshest, members } = judgement;
  if (set === null || freshest === null) throw new Error('a set was given');
  expect(slots).toHaveLength(set.raidDisks);
  slots.forEach((slot, index) => {
    expect(slot.slot).toBe(index);
    expect(['in-sync', 'rebuilding', 'missing']).toContain(slot.state);
    expect(members).toContain(slot);
    if (slot.superblock === null) return;
    expect(set.events - slot.superblock.events <= 1n).toBe(true);
    expect(slot.superblock.ctime).toBe(set.ctime);
    expect(slot.superblock.roles[slot.superblock.deviceNumber]).toBe(index);
    if (slot.superblock.events < set.events) expect(freshest.roles[slot.superblock.deviceNumber]).toBe(index);
  });
  for (const replacement of replacements) if (replacement !== null) expect(members).toContain(replacement);
  const lacking = slots.filter((slot) => slot.state !== 'in-sync').length;
  if (lacking > 1) expect(judgement.refusals.some((refusal) => refusal.forbids === 'all')).toBe(true);
  expect(new Set(members).size).toBe(members.length);
}
