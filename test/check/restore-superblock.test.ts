/** Damaged superblocks: what can be proven is restored byte for byte, and nothing is ever made up. */
import { describe, expect, it } from 'vitest';
import { findRestorable } from '../../src/check/restorable.js';
import type { MemoryDevice } from '../../src/device/memory.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { SUPERBLOCK_V1 } from '../../src/raid/md/fields-superblock.js';
import { judge } from '../../src/raid/md/judge.js';
import type { Superblock } from '../../src/raid/md/model.js';
import { fieldBytes } from '../../src/structure.js';
import { makeSet, SUPER_OFFSET } from '../raid/md/support/sets.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { loadMetadata } from '../support/md-fixtures.js';

/** What no other member knows. */
const OWN = [
  'dev_number',
  'device_uuid',
  'sb_csum',
  'data_offset',
  'data_size',
  'recovery_offset',
  'bblog_shift',
  'bblog_size',
  'bblog_offset',
] as const;
/** Others that share their bytes, or that nobody needs to know. */
const LEFT_OUT = ['journal_tail', 'opening_stamp', 'cnt_corrected_read', 'devflags', 'new_offset'];

async function restorable(devices: readonly MemoryDevice[]): Promise<ReadonlyMap<string, Superblock>> {
  const images = await Promise.all(devices.map((device) => examineImage(device)));
  return findRestorable(images, judge(images));
}

async function superblockOf(device: MemoryDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(512);
  await device.read(SUPER_OFFSET, bytes);
  return bytes;
}

async function damage(device: MemoryDevice, start: number, bytes: Uint8Array): Promise<void> {
  const sector = await superblockOf(device);
  sector.set(bytes, start);
  await device.write(SUPER_OFFSET, sector);
}

/** Bytes that differ from those that are there in each place. */
function other(bytes: Uint8Array, random: SeededRandom): Uint8Array {
  return bytes.map((byte) => byte ^ random.between(1, 255));
}

describe('a superblock', () => {
  it('whose data lies elsewhere than that of the others is never given their place', async () => {
    // The sum of offset and size is the same on images of one size, and so is the checksum with either.
    const { devices } = await loadMetadata('data-offset-variable');
    const before = (await examineImage(devices[1]!)).superblocks[0]!;
    await damage(devices[1]!, SUPERBLOCK_V1.offsetOf('set_name'), new Uint8Array(8));
    expect((await restorable(devices)).get(devices[1]!.name)?.dataOffset).toBe(before.dataOffset);
    await damage(devices[1]!, SUPERBLOCK_V1.offsetOf('data_offset'), new Uint8Array(16));
    expect((await restorable(devices)).size).toBe(0);
  });

  it('of which fields are damaged that all members share is restored as it was', async () => {
    await withSeed(async (random) => {
      const devices = await makeSet();
      const victim = devices[random.below(4)]!;
      const before = await superblockOf(victim);
      const field = random.pick(
        SUPERBLOCK_V1.fields.filter(({ name }) => !([...OWN, ...LEFT_OUT] as string[]).includes(name)),
      );
      const end = random.chance(0.3) ? field.offset + 1 : field.offset + fieldBytes(field);
      await damage(victim, field.offset, other(before.subarray(field.offset, end), random));
      const found = await restorable(devices);
      expect([...found.keys()], field.name).toEqual([victim.name]);
      expect(Buffer.compare(found.get(victim.name)!.raw, before)).toBe(0);
    });
  });

  it('of which what is its own is damaged is left alone', async () => {
    await withSeed(async (random) => {
      const devices = await makeSet();
      const victim = devices[random.below(4)]!;
      const field = SUPERBLOCK_V1.field(random.pick(OWN));
      const end = field.offset + fieldBytes(field);
      const bytes = (await superblockOf(victim)).subarray(field.offset, end);
      await damage(victim, field.offset, other(bytes, random));
      expect((await restorable(devices)).size, field.name).toBe(0);
    });
  });

  it('that is noise, or zeroes, is left alone', async () => {
    await withSeed(async (random) => {
      const devices = await makeSet();
      await damage(devices[1]!, 0, random.chance(0.5) ? random.bytes(512) : new Uint8Array(512));
      expect((await restorable(devices)).size).toBe(0);
    });
  });

  it('whose magic is gone is found at its place', async () => {
    const devices = await makeSet();
    await damage(devices[2]!, 0, new Uint8Array(64));
    expect([...(await restorable(devices)).keys()]).toEqual([devices[2]!.name]);
  });

  it('of a member that missed writes is left alone: it had other events', async () => {
    const devices = await makeSet((slot) =>
      slot === 1 ? { events: 10n } : { events: 20n, roles: [0, 'spare', 2, 3] },
    );
    await damage(devices[1]!, SUPERBLOCK_V1.offsetOf('level'), new Uint8Array([9, 9]));
    expect((await restorable(devices)).size).toBe(0);
  });

  it('is restored beside a second one that is damaged too', async () => {
    const devices = await makeSet();
    for (const slot of [0, 2])
      await damage(devices[slot]!, SUPERBLOCK_V1.offsetOf('events'), new Uint8Array([1, 1]));
    expect([...(await restorable(devices)).keys()].sort()).toEqual(
      [devices[0]!.name, devices[2]!.name].sort(),
    );
  });
});

it.each([
  'clean-10',
  'clean-11',
  'bitmap-clean',
  'stale-ppl',
  'rebuild-stopped',
  'sizes-differ',
  'data-offset-variable',
])('every member of the array %s of the kernel is restored as it was', async (name) => {
  const { devices } = await loadMetadata(name);
  const judged = judge(await Promise.all(devices.map((device) => examineImage(device))));
  for (const { device, superblock, state } of judged.members) {
    if (device === null || superblock === null || (state !== 'in-sync' && state !== 'rebuilding')) continue;
    const at = superblock.superOffset;
    const sector = new Uint8Array(512);
    await device.read(at, sector);
    const damaged = sector.slice();
    // All but the features, which are the member's own, and where the bitmap or log lies.
    damaged.fill(0xa5, 0, 8).fill(0xa5, 12, 96).fill(0xa5, 192, 216);
    await device.write(at, damaged);
    const found = await restorable(devices);
    expect([...found.keys()]).toEqual([device.name]);
    expect(Buffer.compare(found.get(device.name)!.raw.subarray(0, 512), sector)).toBe(0);
    await device.write(at, sector);
  }
});
