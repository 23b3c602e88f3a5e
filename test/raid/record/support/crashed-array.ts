/** Arrays that were cut amid writes, and records that are put on their members by hand. */
import type { BlockDevice } from '../../../../src/device/contract.js';
import type { MemoryDevice } from '../../../../src/device/memory.js';
import { judgeDevices, makeMembers, SMALL, type TestShape } from '../../../../src/lab/self/raid/arrays.js';
import { setUuidBytes } from '../../../../src/raid/md/uuid.js';
import { geometryOf } from '../../../../src/raid/open.js';
import { encodeRecord, type RecordContent } from '../../../../src/raid/record/codec.js';
import { SLOTS } from '../../../../src/raid/record/places.js';
import type { SeededRandom } from '../../../support/devices/seeded-random.js';
import { openFor, placesOf } from './watched-array.js';

export interface CrashedArray {
  readonly shape: TestShape;
  readonly bases: MemoryDevice[];
  /** What the array holds: all data was written, and of the stripes' parity nothing is right. */
  readonly content: Uint8Array;
  readonly stripes: readonly number[];
}

/** Full, closed, opened again, cut amid a write of a sector of each of these stripes. */
export async function crashedArray(
  random: SeededRandom,
  stripes: readonly number[] = [2, 5],
  shape: TestShape = SMALL,
): Promise<CrashedArray> {
  const bases = await makeMembers(shape);
  const first = await openFor(bases);
  const content = random.bytes(first.size);
  await first.write(0, content);
  await first.close();
  const array = await openFor(bases);
  const { stripeDataBytes } = array.core.geometry;
  for (const stripe of stripes) {
    const bytes = random.bytes(512);
    await array.write(stripe * stripeDataBytes, bytes);
    content.set(bytes, stripe * stripeDataBytes);
  }
  await spoilParity(bases, stripes, random);
  return { shape, bases, content, stripes };
}

/** What a cut may leave: the parity of these stripes has nothing to do with their data. */
export async function spoilParity(
  devices: readonly BlockDevice[],
  stripes: readonly number[],
  random: SeededRandom,
): Promise<void> {
  const { set, slots } = await judgeDevices(devices);
  const geometry = geometryOf(set!);
  for (const stripe of stripes) {
    const { device, superblock } = slots[geometry.parityMember(stripe)]!;
    // It may have been on a member that is gone.
    if (device === null) continue;
    await device.write(
      superblock!.dataOffset + stripe * geometry.chunkBytes,
      random.bytes(geometry.chunkBytes),
    );
  }
}

/** Puts a record into a slot of a member, whole, or as far as `bytes` of it. */
export async function putRecord(
  bases: readonly BlockDevice[],
  [member, slot]: readonly [member: number, slot: number],
  record: RecordContent,
  bytes = Number.POSITIVE_INFINITY,
): Promise<void> {
  const uuid = setUuidBytes((await judgeDevices(bases)).freshest!);
  const { device, offset, slotBytes } = (await placesOf(bases))[member]!;
  await device.write(offset + slot * slotBytes, encodeRecord(record, uuid).subarray(0, bytes));
}

/** Nothing is in any slot of any member. */
export async function eraseRecords(bases: readonly BlockDevice[]): Promise<void> {
  for (const { device, offset, slotBytes } of await placesOf(bases)) {
    await device.writeZeroes(offset, SLOTS * slotBytes);
  }
}

/** Rows of these stripes, joined. */
export function rowsOf(stripes: readonly number[], { chunkBytes }: TestShape = SMALL) {
  return stripes.map((stripe) => ({ start: stripe * chunkBytes, end: (stripe + 1) * chunkBytes }));
}
