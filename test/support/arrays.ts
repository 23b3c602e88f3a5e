/**
 * Arrays opened as the product does it, for the tests of the RAID layer.
 */
import { afterEach } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { judgeDevices } from '../../src/lab/self/raid/arrays.js';
import type { RaidArray } from '../../src/raid/array.js';
import { openArray } from '../../src/raid/open.js';

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
