/**
 * What recovery asks of the members of a volume of 1 TiB with 100 dirty stripes: those stripes, the superblocks and the
 * records, each counted to the byte. How long it takes is a bench's.
 */
import { join } from 'node:path';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { CountingDevice, DeviceTally } from '../../../src/bench/counting-device.js';
import { bufferList, byteLength } from '../../../src/device/buffers.js';
import type { BlockDevice, Buffers, WriteOptions } from '../../../src/device/contract.js';
import { interpose } from '../../../src/device/open-image.js';
import { SLOTS } from '../../../src/raid/record/places.js';
import { createVolume, openVolume, volumeStatus } from '../../../src/volume/index.js';
import { chosenSeed, SeededRandom } from '../../support/devices/seeded-random.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { cutAmidWrites } from './support/crashed-volume.js';

const folder = await temporaryFolder();
const random = new SeededRandom(chosenSeed());
const directory = join(folder, 'volume');
const MEMBERS = 4;
const CHUNK = 64 * 1024;
const SLOT_BYTES = 64 * 1024;
const DIRTY = 100;
const TAIL_BYTES = 128 * 1024;
/** Where the superblock, its bad-block log and the record begin. */
const RECORD_AT = 40 * 1024;
let stripes: number[] = [];
let dataOffset = 0;

/** What was asked of the images, in all, by where it lies. */
const asked = { data: 0, record: 0, metadata: 0, written: 0 };
const parts = new Map<string, number>();

class WatchedImage extends CountingDevice {
  override read(offset: number, into: Buffers): Promise<void> {
    for (const { length } of bufferList(into)) {
      // A superblock of another version would lie at the end.
      if (offset >= dataOffset && offset < this.size - TAIL_BYTES) {
        asked.data += length;
        const key = `${this.name} ${Math.floor((offset - dataOffset) / CHUNK)}`;
        parts.set(key, (parts.get(key) ?? 0) + length);
      } else if (offset >= RECORD_AT && offset < dataOffset) asked.record += length;
      else asked.metadata += length;
    }
    return super.read(offset, into);
  }

  override write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    if (offset >= dataOffset) asked.written += byteLength(from);
    return super.write(offset, from, options);
  }
}

function watch(): () => void {
  Object.assign(asked, { data: 0, record: 0, metadata: 0, written: 0 });
  parts.clear();
  return interpose((device: BlockDevice) => new WatchedImage(device, new DeviceTally()));
}

let unwatch: () => void = () => undefined;
afterEach(() => unwatch());

beforeAll(async () => {
  const shape = { members: MEMBERS, sizeBytes: 2 ** 40, chunkBytes: CHUNK, layout: 'left-symmetric' };
  const { images, sizeBytes } = await createVolume({ directory, ...shape, force: false });
  const total = sizeBytes / CHUNK / (MEMBERS - 1);
  // Apart from each other: what lies together is marked ahead.
  const step = Math.floor(total / DIRTY);
  stripes = Array.from({ length: DIRTY }, (_, index) => index * step + random.below(step - 2));
  await cutAmidWrites({ images }, stripes, random);
  const status = await volumeStatus([directory]);
  dataOffset = status.raid!.dataOffsetBytes;
  expect(status).toMatchObject({ state: 'dirty', dirtyStripes: DIRTY });
});

/** Both slots of every member, read to their end at most once for each look at them. */
const allRecords = MEMBERS * SLOTS * SLOT_BYTES;

describe('a volume of 1 TiB with 100 dirty stripes', () => {
  it('is looked at without a byte of its data', async () => {
    unwatch = watch();
    expect((await volumeStatus([directory])).dirtyStripes).toBe(DIRTY);
    expect(asked.data).toBe(0);
    expect(asked.record).toBeLessThanOrEqual(allRecords);
    expect(asked.metadata).toBeLessThanOrEqual(MEMBERS * RECORD_AT);
  });

  it('is recovered by reading these stripes once, and writing their parity once', async () => {
    unwatch = watch();
    const volume = await openVolume([directory], { access: 'write', warn: () => undefined });
    expect(volume.recovery).toMatchObject({
      resyncedStripes: DIRTY,
      resyncedBytes: DIRTY * (MEMBERS - 1) * CHUNK,
      correctedStripes: DIRTY,
    });
    expect(asked.data).toBe(DIRTY * MEMBERS * CHUNK);
    expect([...parts.values()].every((bytes) => bytes === CHUNK)).toBe(true);
    expect(new Set([...parts.keys()].map((key) => Number(key.split(' ')[1])))).toEqual(new Set(stripes));
    expect(asked.written).toBe(DIRTY * CHUNK);
    expect(asked.record).toBeLessThanOrEqual(allRecords);
    // Looked at once to choose the images, and once more under their locks.
    expect(asked.metadata).toBeLessThanOrEqual(2 * MEMBERS * RECORD_AT);
    await volume.close();
  });

  it('costs nothing more once it is clean', async () => {
    unwatch = watch();
    const volume = await openVolume([directory], { access: 'write', warn: () => undefined });
    expect(volume.recovery).toBeNull();
    await volume.close();
    expect(asked).toMatchObject({ data: 0, written: 0 });
    expect(asked.record).toBeLessThanOrEqual(allRecords);
  });
});
