/**
 * Arrays over devices of any kind, made and opened as the product does it, for the tests of the RAID layer.
 */
import { afterEach } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import type { RaidArray } from '../../src/raid/array.js';
import { createArray, memberShape } from '../../src/raid/create.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { judge } from '../../src/raid/md/judge.js';
import type { Judgement } from '../../src/raid/md/model.js';
import { openArray } from '../../src/raid/open.js';

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

export interface OpenedArray {
  readonly array: RaidArray;
  readonly warnings: string[];
}

const opened: RaidArray[] = [];

/** An array that a test leaves as a crash would still has its part of the pool: gives it back. */
export function abandonArrays(): void {
  for (const array of opened.splice(0)) array.core.closeArena();
}

afterEach(abandonArrays);

export async function openDevices(devices: readonly BlockDevice[], readOnly = false): Promise<OpenedArray> {
  const warnings: string[] = [];
  const judgement = await judgeDevices(devices);
  const array = await openArray(judgement, {
    name: 'test',
    readOnly,
    warn: (message) => warnings.push(message),
  });
  opened.push(array);
  return { array, warnings };
}

export async function readAll(array: BlockDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(array.size);
  await array.read(0, bytes);
  return bytes;
}

/** Opens, checks every row, closes: the numbers of the rows that are wrong. */
export async function mismatches(devices: readonly BlockDevice[]): Promise<number[]> {
  const { array } = await openDevices(devices, true);
  const { mismatchedRows } = await array.scrub({ repair: false });
  await array.close();
  return mismatchedRows;
}
