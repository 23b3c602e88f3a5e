/** Small arrays over devices of any kind, made and judged as the product does it. */
import type { BlockDevice } from '../../../device/contract.js';
import { MemoryDevice } from '../../../device/memory.js';
import { createArray, memberShape } from '../../../raid/create.js';
import { examineImage } from '../../../raid/md/examine.js';
import { judge } from '../../../raid/md/judge.js';
import type { Judgement } from '../../../raid/md/model.js';

export interface TestShape {
  readonly members: number;
  readonly chunkBytes: number;
  readonly layout: number;
  readonly stripes: number;
}

export const SMALL: TestShape = { members: 4, chunkBytes: 65536, layout: 2, stripes: 12 };

export function sizeOf(shape: TestShape): number {
  return shape.stripes * shape.chunkBytes * (shape.members - 1);
}

/** Blank devices, large enough, formatted as a new array. */
export async function makeMembers<D extends BlockDevice = MemoryDevice>(
  shape: TestShape,
  make: (size: number, slot: number) => D = (size, slot) =>
    new MemoryDevice(size, { name: `member-${slot}` }) as unknown as D,
): Promise<D[]> {
  const { members, chunkBytes, layout } = shape;
  const sizes = { members, chunkBytes, layout, sizeBytes: sizeOf(shape) };
  const { imageSizeBytes } = memberShape(sizes);
  const devices = Array.from({ length: members }, (_, slot) => make(imageSizeBytes, slot));
  await createArray(devices, { name: 'test', shape: sizes, now: 1_700_000_000 });
  return devices;
}

export async function judgeDevices(devices: readonly BlockDevice[]): Promise<Judgement> {
  return judge(await Promise.all(devices.map((device) => examineImage(device))));
}
