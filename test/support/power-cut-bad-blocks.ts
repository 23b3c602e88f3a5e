/**
 * Power cuts of arrays with bad blocks: what a member's log calls bad is never read, and what it no longer does is
 * there. Below every bad block lies noise: whoever trusts one too early reads it.
 */
import type { MemoryDevice } from '../../src/device/memory.js';
import { judgeDevices } from '../../src/lab/self/raid/arrays.js';
import type { RaidArray } from '../../src/raid/array.js';
import { recoverArray } from '../../src/volume/recovery.js';
import { abandonArrays, openDevices } from './arrays.js';
import type { SeededRandom } from './devices/seeded-random.js';
import type { VolatileDevice } from './devices/volatile-device.js';
import {
  ARRAY_BYTES,
  apart,
  cutAll,
  fill,
  poweredMembers,
  rebuildUntilCut,
  type Scenario,
  SECTOR_BYTES,
  SHAPE,
  untilCut,
  volatileDevice,
} from './power-cut.js';
import { must, type Outcome } from './power-cut-checks.js';
import { SectorHistory } from './sector-history.js';

/** So many that most writes are over some. */
const BLOCKS = 30;
const DATA_BYTES = SHAPE.stripes * SHAPE.chunkBytes;

/** Some sectors of a member are in its log, and noise on its disk. All of it is durable. */
async function spoil(devices: readonly VolatileDevice[], slot: number, random: SeededRandom): Promise<void> {
  const { array } = await openDevices(devices);
  const member = array.core.slots[slot]!.member!;
  for (let block = 0; block < BLOCKS; block++) {
    const start = SECTOR_BYTES * random.below(DATA_BYTES / SECTOR_BYTES - 8);
    member.badBlocks.add(start, start + SECTOR_BYTES * random.pick([1, 8]));
  }
  array.metadata.noteBadBlocks(member);
  await array.flush();
  await array.close();
  const { dataOffset } = member.superblock;
  for (const { start, end } of member.badBlocks.list()) {
    await devices[slot]!.write(dataOffset + start, random.bytes(end - start));
  }
  await devices[slot]!.flush();
}

/** Each sector reads as it may, or is refused for a reason that the array knows. */
async function checkReads(array: RaidArray, history: SectorHistory): Promise<void> {
  const { core } = array;
  const content = new Uint8Array(array.size);
  const refused = new Set<number>();
  for (let at = 0; at < array.size; at += SECTOR_BYTES) {
    await array.read(at, content.subarray(at, at + SECTOR_BYTES)).catch(() => refused.add(at));
  }
  for (const at of refused) {
    const [piece] = [...core.geometry.pieces(at, SECTOR_BYTES)];
    const { stripe, dataIndex, offsetInData: start } = piece!;
    const end = start + SECTOR_BYTES;
    const slot = core.slots[core.geometry.dataMember(stripe, dataIndex)]!;
    const lost = core.slots.filter((each) => each.reader(start, end) === null);
    must(slot.reader(start, end) === null, `sector at ${at} is refused, and its member can be read`);
    must(
      lost.length > 1 || core.suspect.overlaps(start, end),
      `sector at ${at} is refused, and could be made from the others`,
    );
  }
  history.check(content, (offset) => !refused.has(offset));
}

async function checkLeft(left: readonly MemoryDevice[], history: SectorHistory): Promise<void> {
  await checkReads((await openDevices(left, true)).array, history);
  abandonArrays();
  const { array } = await openDevices(left);
  await recoverArray(array, await judgeDevices(left), { warn: () => undefined });
  await checkReads(array, history);
  await array.close();
}

/** Bad blocks are written anew, and others flush in that very moment: those flushes come too early for them. */
export const healing: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(options);
  const content = await fill(devices, random);
  const slot = random.below(SHAPE.members);
  await spoil(devices, slot, random);
  const history = new SectorHistory(ARRAY_BYTES, content);
  await untilCut(power, options, async () => {
    const { array } = await openDevices(devices);
    mutate?.(array);
    const flushes = flushAmidWrites(devices[slot]!, array, random);
    for (let step = 0; step < 20; step++) {
      const writes = apart(random).map(({ offset, length }) => {
        const bytes = random.bytes(length);
        history.written(offset, bytes);
        return array.write(offset, bytes);
      });
      const written = await Promise.allSettled(writes);
      for (const outcome of [...written, ...(await Promise.all(flushes.splice(0)))])
        if (outcome.status === 'rejected') throw outcome.reason;
      if (!random.chance(0.3)) continue;
      const covered = history.snapshot();
      await array.flush();
      history.flushed(covered);
    }
    await array.close();
  });
  const left = cutAll(devices, options);
  const { resyncOffset } = (await judgeDevices(left)).set!;
  await checkLeft(left, history);
  return resyncOffset === null ? 'clean' : 'dirty';
};

/** The array is flushed while a write of this member's data is on its way to it. */
function flushAmidWrites(device: VolatileDevice, array: RaidArray, random: SeededRandom) {
  const { dataOffset } = array.core.slots[0]!.member!.superblock;
  const write = device.write.bind(device);
  const flushes: Promise<PromiseSettledResult<void>>[] = [];
  device.write = (offset, bytes, options) => {
    const written = write(offset, bytes, options);
    if (offset >= dataOffset && random.chance(0.5)) flushes.push(settled(array.flush()));
    return written;
  };
  return flushes;
}

async function settled(work: Promise<void>): Promise<PromiseSettledResult<void>> {
  const [outcome] = await Promise.allSettled([work]);
  return outcome!;
}

/** What a rebuild could not make, because another member is bad there, is bad on the new member. */
export const rebuildingBad: Scenario = async (options) => {
  const { random } = options;
  const { power, devices } = await poweredMembers(options);
  const content = await fill(devices, random);
  const slot = random.below(SHAPE.members);
  await spoil(devices, (slot + 1) % SHAPE.members, random);
  const fresh = volatileDevice(devices[0]!.size, 'new', power, options);
  await fresh.write(0, random.bytes(fresh.size));
  await fresh.flush();
  const others = devices.filter((_, index) => index !== slot);
  const history = new SectorHistory(ARRAY_BYTES, content);
  await rebuildUntilCut(power, options, { others, fresh, slot });
  const left = cutAll([...others, fresh], options);
  await checkReads((await openDevices(left, true)).array, history);
  abandonArrays();
  const { state } = (await judgeDevices(left)).slots[slot]!;
  const outcomes: Record<string, Outcome> = { 'in-sync': 'clean', rebuilding: 'rebuilding' };
  return outcomes[state] ?? 'degraded';
};
