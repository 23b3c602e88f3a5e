/** The superblock of the format extents: to bytes and back, every field of it damaged, and its two copies. */
import { crc32c } from '@node-rs/crc32';
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { EXTENTS_SUPERBLOCK, SUPERBLOCK_BYTES } from '../../../src/extents/format/fields.js';
import {
  decodeSuperblock,
  type ExtentsSuperblock,
  encodeSuperblock,
  secondCopyOffset,
} from '../../../src/extents/format/superblock.js';
import {
  findSuperblock,
  mendSuperblock,
  readCopies,
  writeSuperblock,
} from '../../../src/extents/format/superblock-copies.js';
import { fieldBytes, UncheckedBytes } from '../../../src/structure.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';

const MIB = 1024 * 1024;

const volume: ExtentsSuperblock = {
  volumeUuid: '0123456789abcdef0123456789abcdef',
  deviceUuid: 'ffffffffffffffffffffffffffffffff',
  role: 'volume',
  blockBytes: 4096,
  extentBytes: 65536,
  deviceBytes: 8 * MIB,
  generation: 1,
  metadata: { offset: 16384, length: 2 * MIB },
  pool: { offset: 3 * MIB, extents: 64, first: 0 },
  metadataImage: null,
  journalImage: { uuid: '11111111111111111111111111111111', extents: 16 },
  flags: 'data',
};

const metadataImage: ExtentsSuperblock = {
  ...volume,
  role: 'metadata',
  pool: null,
  journalImage: null,
};
const journalImage: ExtentsSuperblock = {
  ...volume,
  role: 'journal',
  metadata: null,
  pool: { offset: 65536, extents: 16, first: 64 },
  journalImage: null,
};

const decode = (bytes: Uint8Array) => decodeSuperblock(new UncheckedBytes(bytes, 0));

type View = ReturnType<typeof EXTENTS_SUPERBLOCK.at>;

/** With a checksum that is right again. */
function changed(superblock: ExtentsSuperblock, change: (view: View) => void): Uint8Array {
  const bytes = encodeSuperblock(superblock);
  const view = EXTENTS_SUPERBLOCK.at(bytes);
  change(view);
  view.setNumber('checksum', crc32c(bytes.subarray(0, EXTENTS_SUPERBLOCK.offsetOf('checksum'))));
  return bytes;
}

async function deviceWith(superblock: ExtentsSuperblock): Promise<MemoryDevice> {
  const device = new MemoryDevice(superblock.deviceBytes);
  await writeSuperblock(device, superblock);
  return device;
}

describe('a superblock', () => {
  it.each([
    ['of a volume', volume],
    ['of a metadata image', metadataImage],
    ['of a journal image', journalImage],
    [
      'of a volume with its metadata elsewhere',
      { ...volume, metadata: null, metadataImage: 'ab'.repeat(16) },
    ],
  ])('%s is read as it was written', (_, superblock) => {
    expect(decode(encodeSuperblock(superblock))).toEqual({ good: superblock, roCompat: 0 });
  });

  it('with any of its bytes changed is no good', () => {
    for (const field of EXTENTS_SUPERBLOCK.fields) {
      for (const at of [field.offset, field.offset + fieldBytes(field) - 1]) {
        const bytes = encodeSuperblock(volume);
        bytes[at]! ^= 0x41;
        expect(decode(bytes), `${field.name} at ${at}`).toHaveProperty('bad');
      }
    }
  });

  const wrongs: [string, ExtentsSuperblock, (view: View) => void, string][] = [
    ['a role', volume, (view) => view.setNumber('role', 4), 'no role 4'],
    ['blocks', volume, (view) => view.setNumber('block_bytes', 3000), 'a block of 3000 bytes'],
    ['extents', volume, (view) => view.setBig('extent_bytes', 65536n * 2048n), 'an extent of'],
    ['no extents', volume, (view) => view.setBig('extent_bytes', 0n), 'an extent of 0'],
    ['its size', volume, (view) => view.setBig('device_bytes', 0n), 'no room'],
    ['a number', volume, (view) => view.setBig('generation', 2n ** 60n), 'out of all bounds'],
    ['metadata', volume, (view) => view.setBig('metadata_offset', 7n * BigInt(MIB)), 'metadata lies outside'],
    ['metadata at', volume, (view) => view.setBig('metadata_offset', 16385n), 'metadata lies outside'],
    ['metadata over', volume, (view) => view.setBig('metadata_bytes', 4n * BigInt(MIB)), 'over its metadata'],
    ['no metadata', volume, (view) => view.setBig('metadata_bytes', 0n), 'in no place'],
    [
      'metadata twice',
      volume,
      (view) => view.setBytes('metadata_uuid', new Uint8Array(16).fill(1)),
      'in two',
    ],
    ['a pool', volume, (view) => view.setBig('pool_extents', 2n ** 40n), 'extents lie outside'],
    ['no pool', volume, (view) => view.setBig('pool_extents', 0n), 'extents from 0 on'],
    ['pool at', volume, (view) => view.setBig('pool_offset', 0n), 'extents lie outside'],
    ['pool from', volume, (view) => view.setBig('pool_first', 1n), 'extents from 0 on'],
    ['journal', volume, (view) => view.setBig('journal_extents', 0n), 'journal image has no extents'],
    [
      'images',
      journalImage,
      (view) => view.setBytes('journal_uuid', new Uint8Array(16).fill(1)),
      'names no images',
    ],
    ['a journal', journalImage, (view) => view.setBig('pool_extents', 0n), 'a journal image has extents'],
    [
      'a metadata',
      metadataImage,
      (view) => view.setBig('metadata_bytes', 0n),
      'a metadata image has metadata',
    ],
  ];

  it.each(wrongs)('that is wrong by %s is refused, whatever its checksum', (_, superblock, change, why) => {
    expect(decode(changed(superblock, change))).toMatchObject({ bad: expect.stringContaining(why) });
  });

  it('of a later holdfast is told from damage', () => {
    expect(decode(changed(volume, (view) => view.setNumber('version', 2)))).toEqual({ later: 'version 2' });
    expect(decode(changed(volume, (view) => view.setNumber('incompat', 16)))).toEqual({
      later: 'incompat 0x10',
    });
    expect(decode(changed(volume, (view) => view.setNumber('ro_compat', 4)))).toEqual({
      good: volume,
      roCompat: 4,
    });
    expect(decode(changed(volume, (view) => view.setNumber('compat', 4)))).toEqual({
      good: volume,
      roCompat: 0,
    });
  });
});

describe('its copies', () => {
  const places = [0, secondCopyOffset(volume.deviceBytes)];

  it.each(places)('at %i may be damaged: the other one counts, and mends it', async (offsetBytes) => {
    const device = await deviceWith(volume);
    await device.write(offsetBytes, new Uint8Array(SUPERBLOCK_BYTES).fill(7));
    const found = await findSuperblock(device);
    expect(found).toMatchObject({ superblock: volume, damaged: [{ offsetBytes }] });
    await mendSuperblock(device, found!);
    expect(await findSuperblock(device)).toMatchObject({ superblock: volume, damaged: [] });
  });

  it.each(places)('at %i may be unreadable', async (offsetBytes) => {
    const rule = { operations: ['read'], range: { offset: offsetBytes, length: SUPERBLOCK_BYTES } } as const;
    const device = new FaultyDevice(await deviceWith(volume), { rules: [rule] });
    expect(await findSuperblock(device)).toMatchObject({ superblock: volume, damaged: [{ offsetBytes }] });
  });

  it('that are both damaged are told, and where there are none there is no volume', async () => {
    const device = await deviceWith(volume);
    for (const offset of places) await device.write(offset + 512, new Uint8Array(512).fill(7));
    await expect(findSuperblock(device)).rejects.toMatchObject({
      code: 'METADATA_DAMAGED',
      message: expect.stringContaining(`at offset ${places[1]}: its checksum is wrong`),
    });
    expect(await findSuperblock(new MemoryDevice(MIB))).toBeNull();
    expect(await findSuperblock(new MemoryDevice(4096))).toBeNull();
  });

  it('of two generations: the newer one counts', async () => {
    const device = await deviceWith(volume);
    await device.write(places[1]!, encodeSuperblock({ ...volume, generation: 2 }));
    expect(await findSuperblock(device)).toMatchObject({
      superblock: { generation: 2 },
      damaged: [{ offsetBytes: 0, why: expect.stringContaining('older') }],
    });
  });

  it('of two volumes are believed neither', async () => {
    const device = await deviceWith(volume);
    await device.write(places[1]!, encodeSuperblock({ ...volume, volumeUuid: 'aa'.repeat(16) }));
    await expect(findSuperblock(device)).rejects.toMatchObject({ code: 'METADATA_DAMAGED' });
  });

  it('are found on a device that has grown, and missed on one that was cut short', async () => {
    for (const bytes of [2 * volume.deviceBytes, volume.deviceBytes - 512]) {
      const device = new MemoryDevice(bytes);
      await device.write(0, encodeSuperblock(volume));
      if (bytes > volume.deviceBytes) await device.write(places[1]!, encodeSuperblock(volume));
      const found = findSuperblock(device);
      if (bytes > volume.deviceBytes) expect(await found).toMatchObject({ damaged: [] });
      else await expect(found).rejects.toMatchObject({ code: 'DATA_UNAVAILABLE' });
    }
  });

  it('of a later holdfast are refused, and what is not known of a good one is mended with it', async () => {
    const device = await deviceWith(volume);
    const bytes = changed(volume, (view) => view.setNumber('compat', 4));
    await device.write(0, bytes);
    await device.write(places[1]!, new Uint8Array(SUPERBLOCK_BYTES));
    await mendSuperblock(device, (await findSuperblock(device))!);
    const copies = await readCopies(device);
    for (const copy of copies) expect(Buffer.compare(copy.bytes, bytes)).toBe(0);
    await device.write(
      0,
      changed(volume, (view) => view.setNumber('incompat', 1)),
    );
    await expect(findSuperblock(device)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('incompat 0x1'),
    });
  });
});
