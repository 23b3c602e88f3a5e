/** Making and changing superblocks: what is written is what was meant, and nothing else moves. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import { FEATURE, SUPERBLOCK_V1 } from '../../../src/raid/md/fields-superblock.js';
import { SUPERBLOCK_V090 } from '../../../src/raid/md/fields-superblock-v090.js';
import type { DeviceRole, Superblock } from '../../../src/raid/md/model.js';
import { superblockPlaces } from '../../../src/raid/md/places.js';
import { changeSuperblock, formatSuperblock, joinSuperblock } from '../../../src/raid/md/superblock.js';
import { formatUuid, parseUuid, reverseGroups, setUuidBytes } from '../../../src/raid/md/uuid.js';
import { loadMetadata } from '../../support/md-fixtures.js';
import {
  DATA_OFFSET,
  formatOptions,
  formatted,
  MEMBER_BYTES,
  roles,
  superblockOf,
  uuid,
} from './support/sets.js';

async function anySuperblock(): Promise<Superblock> {
  return superblockOf(await formatted(formatOptions(1)));
}

async function kernelSuperblock(
  name: string,
  index = 0,
): Promise<{ superblock: Superblock; device: MemoryDevice }> {
  const device = (await loadMetadata(name)).devices[index]!;
  return { superblock: (await examineImage(device)).superblocks[0]!, device };
}

/** Which fields differ in two versions of the bytes. */
function changedFields(before: Superblock, after: Superblock): string[] {
  const structure = before.version === '0.90' ? SUPERBLOCK_V090 : SUPERBLOCK_V1;
  return structure.fields.flatMap((field) => {
    const end =
      field.offset +
      ('length' in field && field.length !== undefined ? field.length : Number(field.type.slice(1)) / 8);
    const same =
      Buffer.compare(before.raw.subarray(field.offset, end), after.raw.subarray(field.offset, end)) === 0;
    return same || ('instead' in field && field.instead !== undefined) ? [] : [field.name];
  });
}

describe('a new superblock', () => {
  it('says what it was told, and has what mdadm reserves', async () => {
    const superblock = await superblockOf(await formatted(formatOptions(1, { setName: 'é'.repeat(40) })));
    expect(superblock).toMatchObject({
      version: '1.2',
      setUuid: uuid(0xa),
      setName: 'é'.repeat(15),
      level: 5,
      layout: 2,
      chunkBytes: 65536,
      raidDisks: 4,
      memberSizeBytes: MEMBER_BYTES - DATA_OFFSET,
      dataOffset: DATA_OFFSET,
      deviceNumber: 1,
      events: 20n,
      resyncOffset: null,
      recoveryOffset: null,
      stamp: 0n,
      badBlockLog: { offset: 4096 + 8192, lengthBytes: 4096, shift: 0 },
      bitmapOffset: null,
      ppl: null,
    });
    expect(superblock.raw.byteLength).toBe(512);
    expect(superblock.roles).toHaveLength(128);
    expect(superblock.roles.slice(0, 5)).toEqual([0, 1, 2, 3, 'spare']);
  });

  it('has room for 64 members and refuses a data offset without room', () => {
    const many: DeviceRole[] = Array.from({ length: 64 }, (_, slot) => slot);
    expect(formatSuperblock(formatOptions(63, { raidDisks: 64, roles: many }))).toHaveLength(512);
    expect(() => formatSuperblock(formatOptions(0, { dataOffset: 8192 }))).toThrow(RangeError);
  });
});

describe('a change of version 1', () => {
  it('moves its own fields and the checksum, nothing else', async () => {
    const before = await anySuperblock();
    const cases: [Parameters<typeof changeSuperblock>[1], string[]][] = [
      [{ events: 21n }, ['events']],
      [{ utime: 5 }, ['utime']],
      [{ resyncOffset: 65536 }, ['resync_offset']],
      [{ recoveryOffset: 4096 }, ['feature_map', 'recovery_offset']],
      [{ stamp: 77n }, ['recovery_offset']],
      [{ replacement: true }, ['feature_map']],
      [{ badBlocks: true }, ['feature_map']],
      [{ deviceNumber: 5 }, ['dev_number']],
      [{ roles: roles(0, 'faulty', 2, 3) }, []],
    ];
    for (const [change, fields] of cases) {
      const after = changeSuperblock(before, change);
      expect(changedFields(before, after)).toEqual(
        [...fields, 'sb_csum'].sort(
          (a, b) => SUPERBLOCK_V1.offsetOf(a as 'magic') - SUPERBLOCK_V1.offsetOf(b as 'magic'),
        ),
      );
    }
    expect(changedFields(before, changeSuperblock(before, {}))).toEqual([]);
  });

  it('takes the stamp with the rebuild, and has no room for it during one', async () => {
    const stamped = changeSuperblock(await anySuperblock(), { stamp: 99n });
    expect(stamped.stamp).toBe(99n);
    const rebuilding = changeSuperblock(stamped, { recoveryOffset: 65536 });
    expect([rebuilding.stamp, rebuilding.recoveryOffset]).toEqual([0n, 65536]);
    expect(() => changeSuperblock(rebuilding, { stamp: 1n })).toThrow(RangeError);
    const whole = changeSuperblock(rebuilding, { recoveryOffset: null, stamp: 7n });
    expect([whole.stamp, whole.recoveryOffset]).toEqual([7n, null]);
  });

  it('rounds progress down to sectors', async () => {
    const superblock = changeSuperblock(await anySuperblock(), { resyncOffset: 1023, recoveryOffset: 1535 });
    expect([superblock.resyncOffset, superblock.recoveryOffset]).toEqual([512, 1024]);
  });

  it('refuses what the bytes cannot hold', async () => {
    const superblock = await anySuperblock();
    const far: DeviceRole[] = [...Array.from({ length: 128 }, () => 'spare' as const), 1];
    expect(() => changeSuperblock(superblock, { roles: far })).toThrow(RangeError);
    expect(() => changeSuperblock(superblock, { events: 1n << 64n })).toThrow(RangeError);
  });
});

describe('a change of version 0.90', () => {
  it('keeps counters and the checkpoint in step', async () => {
    const { superblock } = await kernelSuperblock('clean-090');
    const next = changeSuperblock(superblock, {
      events: 0x1_0000_0005n,
      resyncOffset: 65536,
      roles: roles(0, 'faulty', 2, 3),
    });
    expect(next).toMatchObject({ events: 0x1_0000_0005n, resyncOffset: 65536 });
    expect(next.roles.slice(0, 4)).toEqual([0, 'faulty', 2, 3]);
    const view = SUPERBLOCK_V090.at(next.raw);
    expect([
      view.number('active_disks'),
      view.number('working_disks'),
      view.number('failed_disks'),
      view.number('nr_disks'),
    ]).toEqual([3, 3, 1, 3]);
    expect(changeSuperblock(next, { events: 0x1_0000_0006n }).resyncOffset).toBe(65536);
    expect(changeSuperblock(next, { resyncOffset: null }).resyncOffset).toBeNull();
    expect(changeSuperblock(next, { resyncOffset: 0 }).resyncOffset).toBe(0);
  });

  it('writes a member that is being rebuilt as a spare, and drops a stamp', async () => {
    const { superblock } = await kernelSuperblock('clean-090', 1);
    const stamped = changeSuperblock(superblock, { stamp: 0xfedc_0000_0000_0007n });
    expect(stamped.stamp).toBe(0xfedc_0000_0000_0007n);
    const next = changeSuperblock(stamped, { recoveryOffset: 4096, stamp: 5n });
    expect([next.roles[1], next.recoveryOffset, next.stamp]).toEqual(['spare', null, 0n]);
    expect(() => changeSuperblock(superblock, { badBlocks: true })).toThrow(RangeError);
  });

  it('of a big-endian machine is refused as such', async () => {
    const { superblock, device } = await kernelSuperblock('clean-090');
    const reversed = superblock.raw.slice();
    for (let at = 0; at < reversed.byteLength; at += 4) reversed.subarray(at, at + 4).reverse();
    await device.write(superblock.superOffset, reversed);
    const found = await examineImage(device);
    expect(found.superblocks).toEqual([]);
    expect(found.damaged[0]?.reason).toContain('big-endian');
  });
});

describe('a member that joins', () => {
  it.each(['spare-one', 'clean-10', 'clean-11', 'clean-090', 'bitmap-dirty', 'ppl-dirty'])(
    '%s has its own place and identity',
    async (name) => {
      const { superblock: like, device } = await kernelSuperblock(name);
      const imageSizeBytes = device.size + 3 * 65536;
      const joined = joinSuperblock(like, { imageSizeBytes, deviceUuid: uuid(0x77), deviceNumber: 9 });
      const image = new MemoryDevice(imageSizeBytes);
      await image.write(joined.superOffset, joined.raw);
      expect((await examineImage(image)).superblocks[0]).toEqual(joined);
      expect(joined).toMatchObject({
        setUuid: like.setUuid,
        deviceNumber: 9,
        memberSizeBytes: like.memberSizeBytes,
        events: like.events,
        roles: expect.anything(),
        recoveryOffset: null,
        superOffset: superblockPlaces(imageSizeBytes).find((place) => place.version === like.version)
          ?.superOffset,
      });
      expect(joined.dataSizeBytes).toBeGreaterThanOrEqual(like.memberSizeBytes);
      const short = like.dataOffset + like.memberSizeBytes - 65536;
      expect(() =>
        joinSuperblock(like, { imageSizeBytes: short, deviceUuid: uuid(1), deviceNumber: 9 }),
      ).toThrow(RangeError);
    },
  );
});

describe('places', () => {
  it('are those of md', () => {
    expect(superblockPlaces(8 * 1024 * 1024 + 512 * 7)).toEqual([
      { version: '0.90', superOffset: 8 * 1024 * 1024 - 65536 },
      { version: '1.0', superOffset: 8 * 1024 * 1024 - 8192 },
      { version: '1.1', superOffset: 0 },
      { version: '1.2', superOffset: 4096 },
    ]);
    expect(superblockPlaces(8192)).toEqual([]);
  });

  it('are told apart: a superblock in the place of another version is damaged', async () => {
    const device = await formatted(formatOptions(0));
    const raw = new Uint8Array(512);
    await device.read(4096, raw);
    await device.write(0, raw);
    const found = await examineImage(device);
    expect(found.superblocks.map((superblock) => superblock.version)).toEqual(['1.2']);
    expect(found.damaged).toMatchObject([
      { version: '1.1', reason: expect.stringContaining('super_offset') },
    ]);
  });

  it('the newest made counts first', async () => {
    const { superblock: old, device } = await kernelSuperblock('clean-11');
    await device.write(4096, formatSuperblock(formatOptions(0, { ctime: old.ctime + 1 })));
    const found = await examineImage(device);
    expect(found.superblocks.map((superblock) => superblock.version)).toEqual(['1.2', '1.1']);
  });
});

describe('UUIDs', () => {
  it('are read in any usual form and shown as md shows them', () => {
    const text = '4a869379:1fcd9f6b:344045f9:24675b97';
    expect(formatUuid(parseUuid(text)!)).toBe(text);
    expect(formatUuid(parseUuid('4A869379-1FCD-9F6B-3440-45F924675B97')!)).toBe(text);
    expect(parseUuid('no')).toBeNull();
  });

  it('of 0.90 lie the other way round in a bitmap', () => {
    const bytes = parseUuid('01020304:05060708:090a0b0c:0d0e0f10')!;
    expect([...reverseGroups(bytes)]).toEqual([4, 3, 2, 1, 8, 7, 6, 5, 12, 11, 10, 9, 16, 15, 14, 13]);
    expect(setUuidBytes({ version: '0.90', setUuid: formatUuid(bytes) })).toEqual(reverseGroups(bytes));
  });
});

it('features are read as bits', async () => {
  const superblock = changeSuperblock(await anySuperblock(), { badBlocks: true, replacement: true });
  expect(superblock.features).toMatchObject({
    raw: FEATURE.badBlocks | FEATURE.replacement,
    badBlocks: true,
    replacement: true,
    unknown: 0,
  });
});
