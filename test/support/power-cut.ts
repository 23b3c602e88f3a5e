/**
 * Power cuts of arrays: what is done until the power goes, and what must hold for whatever the cut leaves
 * (docs/crash-model.md). A scenario throws where it does not hold. `mutate` takes a barrier out of the array
 * before it is used.
 */
import { type BlockDevice, DeviceError } from '../../src/device/contract.js';
import type { MemoryDevice } from '../../src/device/memory.js';
import { RangeSet } from '../../src/device/range-set.js';
import type { RaidArray } from '../../src/raid/array.js';
import { bytesInDoubt } from '../../src/raid/doubt.js';
import { WriteIntentBitmap } from '../../src/raid/md/bitmap.js';
import { type BitmapCopy, readBitmapCopy } from '../../src/raid/md/bitmap-copy.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { joinMember } from '../../src/raid/membership.js';
import { recoverArray } from '../../src/volume/recovery.js';
import {
  abandonArrays,
  judgeDevices,
  makeMembers,
  mismatches,
  openDevices,
  readAll,
  type TestShape,
} from './arrays.js';
import type { SeededRandom } from './devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from './devices/volatile-device.js';
import { addBitmap, addPpl, leaveStalePpl } from './md-features.js';
import { SectorHistory } from './sector-history.js';

export const SHAPE: TestShape = { members: 4, chunkBytes: 8192, layout: 2, stripes: 8 };
const ARRAY_BYTES = SHAPE.stripes * SHAPE.chunkBytes * (SHAPE.members - 1);
const SECTOR_BYTES = 512;
const ROW_BYTES = 4096;
const BITMAP_CHUNK_BYTES = 4096;
const STEPS = 20;

export type Mutation = (array: RaidArray) => void;

/** When: in the first events after the opening, at any, or when all has been done. */
export type Moment = 'early' | 'any' | 'end';

export interface CutOptions {
  readonly random: SeededRandom;
  readonly mutate?: Mutation | undefined;
  /** Default: one of them. */
  readonly moment?: Moment | undefined;
}

/** What the cut left looked like: so that a test sees that its cuts were of every kind. */
export type Outcome = 'clean' | 'dirty' | 'degraded' | 'dirty-degraded' | 'rebuilding';
export type Scenario = (options: CutOptions) => Promise<Outcome>;

interface Powered {
  readonly power: PowerSupply;
  readonly devices: VolatileDevice[];
}

/** New members on one supply, durable as they are. */
async function poweredMembers(
  random: SeededRandom,
  prepare: (devices: readonly BlockDevice[]) => Promise<void> = async () => {},
): Promise<Powered> {
  const power = new PowerSupply();
  const devices = await makeMembers(SHAPE, (size, slot) =>
    volatileDevice(size, `member-${slot}`, power, random),
  );
  await prepare(devices);
  await Promise.all(devices.map((device) => device.flush()));
  return { power, devices };
}

function volatileDevice(
  size: number,
  name: string,
  power: PowerSupply,
  random: SeededRandom,
): VolatileDevice {
  return new VolatileDevice(size, { name, power, seed: random.below(1000), maxDelayTurns: 3 });
}

/** Runs `body` until the power goes, at the chosen moment or when it has ended. */
async function untilCut(
  power: PowerSupply,
  { random, moment }: CutOptions,
  body: () => Promise<void>,
): Promise<void> {
  const chosen = moment ?? random.pick(['early', 'any', 'any', 'end'] as const);
  if (chosen !== 'end') power.cutAtEvent(power.events + 1 + random.below(chosen === 'early' ? 60 : 600));
  await body().catch((error: unknown) => {
    if (power.isOn) throw error;
  });
  abandonArrays();
}

/** Writes, some at the same time, and flushes. */
async function workload(array: RaidArray, history: SectorHistory, random: SeededRandom): Promise<void> {
  for (let step = 0; step < STEPS; step++) {
    const fua = random.chance(0.1);
    await all(
      apart(random).map(async ({ offset, length }) => {
        const bytes = random.bytes(length);
        history.written(offset, bytes);
        await array.write(offset, bytes, { fua });
        if (fua) history.durable(offset, length);
      }),
    );
    if (!random.chance(0.3)) continue;
    const covered = history.snapshot();
    await array.flush();
    history.flushed(covered);
  }
}

/** Ends when all have ended, well or not: what is still under way would use the array after the cut. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  for (const outcome of await Promise.allSettled(work))
    if (outcome.status === 'rejected') throw outcome.reason;
}

/** One to three ranges that do not overlap. */
function apart(random: SeededRandom): { offset: number; length: number }[] {
  const count = random.between(1, 3);
  const part = Math.floor(ARRAY_BYTES / count / SECTOR_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const sectors = random.pick([1, 8, 16, 48, 80].filter((each) => each < part));
    const first = index * part + random.below(part - sectors);
    return { offset: first * SECTOR_BYTES, length: sectors * SECTOR_BYTES };
  });
}

/** Makes a complete array right, as the product does before it writes one. */
async function recover(devices: readonly BlockDevice[]): Promise<Uint8Array> {
  const { array } = await openDevices(devices);
  await recoverArray(array, await judgeDevices(devices), { warn: () => undefined });
  const content = await readAll(array);
  await array.close();
  return content;
}

function must(holds: boolean, what: string): void {
  if (!holds) throw new Error(what);
}

/** Invariants 1 and 2, of an array that was complete all the time. */
async function checkComplete(left: readonly MemoryDevice[], history: SectorHistory): Promise<Outcome> {
  const isDirty = (await judgeDevices(left)).set!.resyncOffset !== null;
  const wrong = await mismatches(left);
  if (!isDirty) must(wrong.length === 0, 'it is clean, and its parity is wrong');
  await checkBitmaps(left, wrong);
  const content = await recover(left);
  history.check(content);
  must((await mismatches(left)).length === 0, 'it was recovered, and its parity is wrong');
  const serving = (await judgeDevices(left)).slots.map((slot) => slot.device!);
  for (const away of serving) {
    const { array } = await openDevices(
      serving.filter((device) => device !== away),
      true,
    );
    must(Buffer.compare(await readAll(array), content) === 0, `without ${away.name} it reads otherwise`);
    abandonArrays();
  }
  return isDirty ? 'dirty' : 'clean';
}

/** The kernel knows nothing of the record: every copy of the bitmap names the rows (of 4 KiB) whose parity is wrong. */
async function checkBitmaps(left: readonly MemoryDevice[], wrongRows: readonly number[]): Promise<void> {
  const { slots, freshest, set } = await judgeDevices(left);
  const { events } = freshest!;
  const { memberSizeBytes } = set!;
  for (const { device, superblock, state } of slots) {
    if (superblock?.bitmapOffset == null || device === null || state !== 'in-sync') continue;
    const copy = await readBitmapCopy(device, superblock);
    must(copy !== null && !('reason' in copy), `${device.name}: its bitmap cannot be used`);
    const bitmap = new WriteIntentBitmap([copy as BitmapCopy], { events, memberSizeBytes });
    const named = new RangeSet(bitmap.dirtyRanges());
    for (const row of wrongRows) {
      must(named.overlaps(row * ROW_BYTES, (row + 1) * ROW_BYTES), `${device.name}: no bit names row ${row}`);
    }
  }
}

function cutAll(devices: readonly VolatileDevice[], { random }: CutOptions): MemoryDevice[] {
  return devices.map((device) => device.cutPower(random.below(1_000_000)));
}

function completeScenario(
  prepare?: (devices: readonly BlockDevice[]) => Promise<void>,
  isFull = false,
): Scenario {
  return async (options) => {
    const { random, mutate } = options;
    const { power, devices } = await poweredMembers(random, prepare);
    const content = isFull ? await fill(devices, random) : new Uint8Array(ARRAY_BYTES);
    if (isFull) await leaveStalePpl(devices);
    const history = new SectorHistory(ARRAY_BYTES, content);
    await untilCut(power, options, async () => {
      const { array } = await openDevices(devices);
      mutate?.(array);
      await workload(array, history, random);
      await array.close();
    });
    return checkComplete(cutAll(devices, options), history);
  };
}

async function fill(devices: readonly BlockDevice[], random: SeededRandom): Promise<Uint8Array<ArrayBuffer>> {
  const { array } = await openDevices(devices);
  const content = new Uint8Array(random.bytes(ARRAY_BYTES));
  await array.write(0, content);
  await array.close();
  return content;
}

/** Writes of a complete array. */
export const complete = completeScenario();

/** The same, with an internal bitmap: after a crash, its bits alone are resynced. */
export const withBitmap = completeScenario((devices) => addBitmap(devices, BITMAP_CHUNK_BYTES));

/** The same, with partial parity logs in which the kernel has left entries. */
export const withPpl = completeScenario(addPpl, true);

/** A member begins to fail writes of its data. What was answered must not hang on it. */
export const failing: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(random);
  const slot = random.below(SHAPE.members);
  const history = new SectorHistory(ARRAY_BYTES);
  await untilCut(power, options, async () => {
    const { array } = await openDevices(devices);
    mutate?.(array);
    const { dataOffset } = array.core.slots[slot]!.member!.superblock;
    failWrites(devices[slot]!, dataOffset, random.below(20));
    await workload(array, history, random);
    await array.close();
  });
  const left = cutAll(devices, options);
  const verdict = await judgeDevices(left);
  if (verdict.slots[slot]!.state === 'in-sync') return checkComplete(left, history);
  const { array } = await openDevices(left, true);
  const isDirty = !array.core.suspect.isEmpty;
  // Invariant 3: what the member held where parity is in doubt is not owed, and refused.
  const doubt = new RangeSet(bytesInDoubt(array.core));
  history.check(await readBut(array, doubt), (offset) => !doubt.overlaps(offset, offset + SECTOR_BYTES));
  return isDirty ? 'dirty-degraded' : 'degraded';
};

/** All that is not in doubt; and that what is in doubt cannot be read. */
async function readBut(array: RaidArray, doubt: RangeSet): Promise<Uint8Array> {
  const content = new Uint8Array(array.size);
  for (let at = 0; at < array.size; at += SECTOR_BYTES) {
    const sector = content.subarray(at, at + SECTOR_BYTES);
    const isRead = await array.read(at, sector).then(
      () => true,
      () => false,
    );
    must(isRead !== doubt.overlaps(at, at + SECTOR_BYTES), `sector at ${at}: ${isRead ? 'read' : 'refused'}`);
  }
  return content;
}

function failWrites(device: VolatileDevice, from: number, after: number): void {
  const write = device.write.bind(device);
  let passed = 0;
  device.write = (offset, bytes, options) => {
    if (offset < from || passed++ < after) return write(offset, bytes, options);
    const fault = { device: device.name, operation: 'write' as const, offset };
    return Promise.reject(new DeviceError('IO_ERROR', `${device.name}: it fails`, fault));
  };
}

/** A member is away, and comes back after the cut: it must not be taken for current beside what was written. */
export const memberAway: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(random);
  const slot = random.below(SHAPE.members);
  const used = devices.filter((_, index) => index !== slot);
  let isAnswered = false;
  await untilCut(power, options, async () => {
    const { array } = await openDevices(used);
    mutate?.(array);
    await array.write(0, random.bytes(SECTOR_BYTES));
    isAnswered = true;
    await workload(array, new SectorHistory(ARRAY_BYTES), random);
    await array.close();
  });
  const left = cutAll(devices, options);
  const back = (await judgeDevices(left)).slots[slot]!;
  must(!isAnswered || back.state !== 'in-sync', 'the member that was away counts as current');
  const verdict = await judgeDevices(left.filter((_, index) => index !== slot));
  return verdict.set!.resyncOffset === null ? 'degraded' : 'dirty-degraded';
};

/** Whoever is named in a slot says itself what of it is whole: the kernel believes both together. */
async function checkJoined(fresh: BlockDevice, others: readonly BlockDevice[]): Promise<void> {
  const [own] = (await examineImage(fresh)).superblocks;
  for (const device of others) {
    const [superblock] = (await examineImage(device)).superblocks;
    if (own === undefined || typeof superblock!.roles[own.deviceNumber] !== 'number') continue;
    const isPlainSpare = own.roles[own.deviceNumber] === 'spare' && own.recoveryOffset === null;
    must(!isPlainSpare, `${device.name} names it in a slot, and it does not say that it is not whole`);
  }
}

/** A rebuild, of an array that nobody writes: what the superblocks call rebuilt is there. */
export const rebuilding: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(random);
  const content = await fill(devices, random);
  const slot = random.below(SHAPE.members);
  const fresh = volatileDevice(devices[0]!.size, 'new', power, random);
  const others = devices.filter((_, index) => index !== slot);
  await untilCut(power, options, async () => {
    const { array } = await openDevices(others);
    mutate?.(array);
    await array.rebuild(array.core.slots[slot]!, await joinMember(array, fresh, array.core.slots[slot]!));
    await array.close();
  });
  const left = cutAll([...others, fresh], options);
  const { array } = await openDevices(left, true);
  must(Buffer.compare(await readAll(array), content) === 0, 'it reads otherwise than before the rebuild');
  abandonArrays();
  await checkJoined(left.at(-1)!, left.slice(0, -1));
  const { state } = (await judgeDevices(left)).slots[slot]!;
  // Its next opening that writes must not make more of the new member than it is.
  const again = await openDevices(left);
  await again.array.write(0, content.subarray(0, SECTOR_BYTES));
  await again.array.close();
  must(
    (await judgeDevices(left)).slots[slot]!.state === state,
    'the new member became another by an opening',
  );
  if (state !== 'in-sync') return state === 'rebuilding' ? 'rebuilding' : 'degraded';
  must((await mismatches(left)).length === 0, 'it was rebuilt, and its parity is wrong');
  return 'clean';
};

/** A replacement, while the array, which has a bitmap, is written: it is never degraded. */
export const replacing: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(random, (each) => addBitmap(each, BITMAP_CHUNK_BYTES));
  const history = new SectorHistory(ARRAY_BYTES);
  const fresh = volatileDevice(devices[0]!.size, 'new', power, random);
  await untilCut(power, options, async () => {
    const { array } = await openDevices(devices);
    mutate?.(array);
    const slot = array.core.slots[random.below(SHAPE.members)]!;
    const replace = async () => array.rebuild(slot, await joinMember(array, fresh, slot));
    await all([workload(array, history, random), replace()]);
    await array.close();
  });
  return checkComplete(cutAll([...devices, fresh], options), history);
};
