/** Arrays whose members fail as they are told. */
import type { MemoryDevice } from '../../src/device/memory.js';
import { makeMembers, SMALL } from '../../src/lab/self/raid/arrays.js';
import { openDevices } from './arrays.js';
import { FaultyDevice } from './devices/faulty-device.js';
import type { SeededRandom } from './devices/seeded-random.js';

/** In the image of a member: its data area, not its metadata. */
export const DATA = { offset: 1024 * 1024, length: 1024 * 1024 };

export interface FaultyArray {
  /** What the members stand on. */
  readonly bases: MemoryDevice[];
  readonly members: FaultyDevice[];
}

export async function faultyMembers(): Promise<FaultyArray> {
  const bases = await makeMembers(SMALL);
  return { bases, members: bases.map((base) => new FaultyDevice(base)) };
}

/** Fills the whole array and closes it. */
export async function fill(members: readonly FaultyDevice[], random: SeededRandom): Promise<Uint8Array> {
  const { array } = await openDevices(members);
  const content = random.bytes(array.size);
  await array.write(0, content);
  await array.close();
  return content;
}
