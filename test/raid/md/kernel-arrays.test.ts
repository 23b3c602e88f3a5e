/** What the real kernel wrote: every field is read as it is, every array judged as it must be. */
import { describe, expect, it } from 'vitest';
import { readBadBlocks } from '../../../src/raid/md/bad-blocks.js';
import { WriteIntentBitmap } from '../../../src/raid/md/bitmap.js';
import { readBitmapCopy } from '../../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../../src/raid/md/examine.js';
import { arrayState, judge } from '../../../src/raid/md/judge.js';
import {
  type DeviceRole,
  type Judgement,
  SECTOR_BYTES,
  type Superblock,
} from '../../../src/raid/md/model.js';
import { changeSuperblock } from '../../../src/raid/md/superblock.js';
import {
  type Fixture,
  type FixtureSuperblock,
  loadArray,
  loadMetadata,
  metadataCases,
  WHOLE_ARRAYS,
} from '../../support/md-fixtures.js';

const ALL_ONES = 2 ** 64;

/** Copies of a member that cannot be told apart are refused here; the kernel takes the first that it meets. */
const REFUSED_HERE = new Set(['exact-copy-of-a-member']);

async function judged(fixture: Fixture, reversed = false): Promise<Judgement> {
  const images = await Promise.all(fixture.devices.map((device) => examineImage(device)));
  return judge(reversed ? images.reverse() : images);
}

function filledSlots(judgement: Judgement): Record<string, string> {
  return Object.fromEntries(
    judgement.slots.flatMap((slot) => (slot.image === null ? [] : [[String(slot.slot), slot.image]])),
  );
}

function expectFields(superblock: Superblock, fields: FixtureSuperblock): void {
  expect({
    version: superblock.version,
    uuid: superblock.setUuid,
    name: superblock.setName,
    level: superblock.level,
    layout: superblock.layout,
    size: superblock.memberSizeBytes / SECTOR_BYTES,
    chunk: superblock.chunkBytes / SECTOR_BYTES,
    raid_disks: superblock.raidDisks,
    ctime: superblock.ctime,
    utime: superblock.utime,
    events: Number(superblock.events),
  }).toEqual({
    version: fields.version,
    uuid: fields.uuid,
    name: fields.name ?? '',
    level: fields.level,
    layout: fields.layout,
    size: fields.size,
    chunk: fields.chunk,
    raid_disks: fields.raid_disks,
    ctime: fields.ctime,
    utime: fields.utime,
    events: fields.events,
  });
  if (superblock.version === '0.90') return;
  const log = superblock.badBlockLog;
  const resync = fields.resync_offset >= ALL_ONES ? null : fields.resync_offset * SECTOR_BYTES;
  expect({
    feature_map: superblock.features.raw,
    data_offset: superblock.dataOffset / SECTOR_BYTES,
    data_size: superblock.dataSizeBytes / SECTOR_BYTES,
    super_offset: superblock.superOffset / SECTOR_BYTES,
    recovery_offset: superblock.recoveryOffset === null ? null : superblock.recoveryOffset / SECTOR_BYTES,
    resync_offset: superblock.resyncOffset,
    dev_number: superblock.deviceNumber,
    device_uuid: superblock.deviceUuid,
    max_dev: superblock.roles.length,
    dev_roles: superblock.roles.slice(0, fields.dev_roles.length),
    bblog_offset: log === null ? 0 : (log.offset - superblock.superOffset) / SECTOR_BYTES,
    bblog_size: log === null ? 0 : log.lengthBytes / SECTOR_BYTES,
    bblog_shift: log?.shift ?? 0,
  }).toEqual({
    feature_map: fields.feature_map,
    data_offset: fields.data_offset,
    data_size: fields.data_size,
    super_offset: fields.super_offset,
    recovery_offset: fields.recovery_offset,
    resync_offset: resync,
    dev_number: fields.dev_number,
    device_uuid: fields.device_uuid,
    max_dev: fields.max_dev,
    dev_roles: fields.dev_roles.map(toRole),
    bblog_offset: fields.bblog_offset,
    bblog_size: fields.bblog_size,
    bblog_shift: fields.bblog_shift,
  });
}

function toRole(stored: number): DeviceRole {
  const special: Record<number, DeviceRole> = { 65535: 'spare', 65534: 'faulty', 65533: 'journal' };
  return special[stored] ?? stored;
}

/** Writing what is there anew, by name or not at all, gives mdadm's own bytes. */
function expectRoundTrip(superblock: Superblock): void {
  expect(changeSuperblock(superblock, {}).raw).toEqual(superblock.raw);
  const { events, utime, resyncOffset, recoveryOffset, roles, features, stamp } = superblock;
  const version1 = superblock.version !== '0.90';
  const again = changeSuperblock(superblock, {
    events,
    utime,
    resyncOffset,
    roles,
    ...(version1 ? { recoveryOffset, replacement: features.replacement, badBlocks: features.badBlocks } : {}),
    ...(recoveryOffset === null ? { stamp } : {}),
  });
  // A rebuild that the bitmap guides loses its guide when its offset is set anew.
  if (!features.recoveryBitmap) expect(again.raw).toEqual(superblock.raw);
}

async function expectLogs(fixture: Fixture, superblock: Superblock, index: number): Promise<void> {
  const device = fixture.devices[index]!;
  const member = fixture.members[index]!;
  const badBlocks = await readBadBlocks(device, superblock);
  if ('reason' in badBlocks) throw new Error(badBlocks.reason);
  const listed = (member.superblock?.bad_blocks ?? []).map(({ sector, sectors }) => [
    sector * SECTOR_BYTES - superblock.dataOffset,
    (sector + sectors) * SECTOR_BYTES - superblock.dataOffset,
  ]);
  for (const [start, end] of listed)
    expect(badBlocks.list().some((range) => range.start <= start! && range.end >= end!)).toBe(true);
  const total = (ranges: readonly (readonly number[])[]) =>
    ranges.reduce((sum, range) => sum + range[1]! - range[0]!, 0);
  expect(total(badBlocks.list().map(({ start, end }) => [start, end]))).toBe(total(listed));
  const copy = await readBitmapCopy(device, superblock);
  if (member.bitmap === undefined || copy === null) return;
  if ('reason' in copy) throw new Error(copy.reason);
  const { chunkBytes } = copy;
  expect({ events: Number(copy.events), chunk: chunkBytes, bits: copy.bits }).toEqual({
    events: member.bitmap.events,
    chunk: member.bitmap.chunk_bytes,
    bits: member.bitmap.bits,
  });
  const bitmap = new WriteIntentBitmap([copy], {
    events: copy.events,
    memberSizeBytes: superblock.memberSizeBytes,
  });
  const bits = bitmap
    .dirtyRanges()
    .flatMap(({ start, end }) =>
      Array.from({ length: Math.ceil((end - start) / chunkBytes) }, (_, at) => start / chunkBytes + at),
    );
  if (!copy.markedStale) expect(bits).toEqual(member.bitmap.dirty_bits);
}

async function expectMembers(fixture: Fixture): Promise<void> {
  for (const [index, device] of fixture.devices.entries()) {
    const fields = fixture.members[index]!.superblock;
    const found = await examineImage(device);
    expect(found.damaged).toEqual([]);
    if (fields === null) continue;
    const superblock = found.superblocks[0]!;
    expectFields(superblock, fields);
    expectRoundTrip(superblock);
    await expectLogs(fixture, superblock, index);
  }
}

describe.each(WHOLE_ARRAYS)('%s', (name) => {
  it('has the superblocks that mdadm shows, and their bytes are written as they were', async () => {
    await expectMembers(await loadArray(name));
  });

  it('is judged right, in any order', async () => {
    const fixture = await loadArray(name);
    const images = await Promise.all(fixture.devices.map((device) => examineImage(device)));
    for (const order of orders(images)) {
      const judgement = judge(order);
      expect(filledSlots(judgement)).toEqual(fixture.expect.slots);
      expect(judgement.refusals).toEqual([]);
      const aside = judgement.members.filter((member) => member.image !== null && member.state !== 'in-sync');
      expect(Object.fromEntries(aside.map((member) => [member.image, member.state]))).toEqual(
        fixture.expect.set_aside,
      );
    }
  });
});

function orders<T>(items: readonly T[]): T[][] {
  if (items.length < 2) return [[...items]];
  return items.flatMap((item, at) =>
    orders([...items.slice(0, at), ...items.slice(at + 1)]).map((rest) => [item, ...rest]),
  );
}

it('tells the states of the five arrays', async () => {
  const states = await Promise.all(
    WHOLE_ARRAYS.map(async (name) => [name, arrayState(await judged(await loadArray(name)))]),
  );
  expect(Object.fromEntries(states)).toEqual({
    'bitrot-parity': 'clean',
    'clean-left-symmetric': 'clean',
    'dirty-bitmap': 'dirty',
    'missing-one': 'degraded',
    'stale-member': 'degraded',
  });
});

/** The state that an expected verdict allows. `torn-clean`: the freshest says clean, and the kernel agrees. */
const STATES: Record<string, readonly string[]> = {
  clean: ['clean'],
  degraded: ['degraded'],
  rebuild: ['rebuilding', 'degraded'],
  resync: ['dirty', 'clean'],
  'dirty-degraded': ['dirty-degraded'],
  'check-finds': ['clean'],
  'read-only': ['clean'],
  refused: ['failed'],
};

describe.each(metadataCases())('metadata of %s', (name) => {
  it('is read and judged as it must be', async () => {
    const fixture = await loadMetadata(name);
    await expectMembers(fixture);
    const judgement = await judged(fixture);
    const refused = judgement.refusals.some((refusal) => refusal.forbids === 'all');
    expect(filledSlots(await judged(fixture, true))).toEqual(filledSlots(judgement));
    if (REFUSED_HERE.has(name)) {
      expect(judgement.refusals.map((refusal) => refusal.code)).toEqual(['DUPLICATE_MEMBER']);
      return;
    }
    expect(STATES[fixture.expect.verdict], fixture.expect.verdict).toContain(arrayState(judgement));
    expect(refused).toBe(fixture.expect.verdict === 'refused');
    if (refused) return;
    expect(filledSlots(judgement)).toEqual(fixture.expect.slots);
    for (const image of Object.keys(fixture.expect.set_aside)) {
      const member = judgement.members.find((each) => each.image === image);
      expect(['stale', 'faulty', 'spare', 'foreign']).toContain(member?.state);
    }
    for (const [image, sectors] of Object.entries(fixture.expect.partly_rebuilt)) {
      const member = judgement.members.find((each) => each.image === image);
      expect(member?.state).toBe('rebuilding');
      expect(member?.superblock?.recoveryOffset).toBe(sectors * SECTOR_BYTES);
    }
  });
});
