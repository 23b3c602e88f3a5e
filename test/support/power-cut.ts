/**
 * Power cuts of arrays: what is done until the power goes, and what must hold for whatever the cut leaves
 * (docs/crash-model.md). A scenario throws where it does not hold. `mutate` takes a barrier out of the array
 * before it is used.
 */
import { type BlockDevice, DeviceError } from '../../src/device/contract.js';
import type { MemoryDevice } from '../../src/device/memory.js';
import { RangeSet } from '../../src/device/range-set.js';
import { judgeDevices, makeMembers, type TestShape } from '../../src/lab/self/raid/arrays.js';
import { addBitmap } from '../../src/lab/self/raid/write-intent-bitmap.js';
import type { RaidArray } from '../../src/raid/array.js';
import { bytesInDoubt } from '../../src/raid/doubt.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { joinMember } from '../../src/raid/membership.js';
import { recoverArray } from '../../src/volume/recovery.js';
import { abandonArrays, mismatches, openDevices, readAll } from './arrays.js';
import type { SeededRandom } from './devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from './devices/volatile-device.js';
import { addPpl, leaveStalePpl } from './md-features.js';
import { checkComplete, must, type Outcome, readBut } from './power-cut-checks.js';
import { SectorHistory } from './sector-history.js';

export const SHAPE: TestShape = { members: 4, chunkBytes: 8192, layout: 2, stripes: 8 };
export const ARRAY_BYTES = SHAPE.stripes * SHAPE.chunkBytes * (SHAPE.members - 1);
export const SECTOR_BYTES = 512;
const BITMAP_CHUNK_BYTES = 4096;
const STEPS = 20;

export type Mutation = (array: RaidArray) => void;

/** When: in the first events after the opening, at any, or when all has been done. */
export type Moment = 'early' | 'any' | 'end';

export interface CutOptions {
  readonly random: SeededRandom;
  readonly mutate?: Mutation | undefined;
  /** Asked for every barrier that reaches a member: see VolatileDeviceOptions. */
  readonly keepsBarrier?: ((kind: 'flush' | 'fua') => boolean) | undefined;
  /** Default: one of them. */
  readonly moment?: Moment | undefined;
}

export type Scenario = (options: CutOptions) => Promise<Outcome>;

interface Powered {
  readonly power: PowerSupply;
  readonly devices: VolatileDevice[];
}

/** New members on one supply, durable as they are. */
export async function poweredMembers(
  options: CutOptions,
  prepare: (devices: readonly BlockDevice[]) => Promise<void> = async () => {},
): Promise<Powered> {
  const power = new PowerSupply();
  const devices = await makeMembers(SHAPE, (size, slot) =>
    volatileDevice(size, `member-${slot}`, power, options),
  );
  await prepare(devices);
  await Promise.all(devices.map((device) => device.flush()));
  return { power, devices };
}

export function volatileDevice(
  size: number,
  name: string,
  power: PowerSupply,
  { random, keepsBarrier }: CutOptions,
): VolatileDevice {
  return new VolatileDevice(size, {
    name,
    power,
    keepsBarrier,
    seed: random.below(1000),
    maxDelayTurns: 3,
  });
}

/** What a cut left, under power again, durable as it is. */
async function poweredAgain(left: readonly MemoryDevice[], options: CutOptions): Promise<Powered> {
  const power = new PowerSupply();
  const devices = left.map((device) => volatileDevice(device.size, device.name, power, options));
  await Promise.all(
    devices.map(async (device, index) => {
      const content = new Uint8Array(device.size);
      await left[index]!.read(0, content);
      await device.write(0, content);
      await device.flush();
    }),
  );
  return { power, devices };
}

/** Runs `body` until the power goes, at the chosen moment or when it has ended. */
export async function untilCut(
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
export async function workload(
  array: RaidArray,
  history: SectorHistory,
  random: SeededRandom,
): Promise<void> {
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
export function apart(random: SeededRandom): { offset: number; length: number }[] {
  const count = random.between(1, 3);
  const part = Math.floor(ARRAY_BYTES / count / SECTOR_BYTES);
  return Array.from({ length: count }, (_, index) => {
    const sectors = random.pick([1, 8, 16, 48, 80].filter((each) => each < part));
    const first = index * part + random.below(part - sectors);
    return { offset: first * SECTOR_BYTES, length: sectors * SECTOR_BYTES };
  });
}

export function cutAll(devices: readonly VolatileDevice[], { random }: CutOptions): MemoryDevice[] {
  return devices.map((device) => device.cutPower(random.below(1_000_000)));
}

function completeScenario(
  prepare?: (devices: readonly BlockDevice[]) => Promise<void>,
  isFull = false,
): Scenario {
  return async (options) => {
    const { random, mutate } = options;
    const { power, devices } = await poweredMembers(options, prepare);
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

export async function fill(
  devices: readonly BlockDevice[],
  random: SeededRandom,
): Promise<Uint8Array<ArrayBuffer>> {
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

/** A second cut, amid the recovery from the first. */
export const recovering: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(options);
  const history = new SectorHistory(ARRAY_BYTES);
  await untilCut(power, { ...options, moment: 'any' }, async () => {
    const { array } = await openDevices(devices);
    await workload(array, history, random);
    await array.close();
  });
  const again = await poweredAgain(cutAll(devices, options), options);
  await untilCut(again.power, options, async () => {
    const { array } = await openDevices(again.devices);
    mutate?.(array);
    await recoverArray(array, await judgeDevices(again.devices), { warn: () => undefined });
    await array.close();
  });
  return checkComplete(cutAll(again.devices, options), history);
};

/**
 * A member's flush fails once, and what it had taken is lost, as Linux does it: who asks again hears that all is well.
 */
export const losing: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(options);
  const slot = random.below(SHAPE.members);
  const history = new SectorHistory(ARRAY_BYTES);
  await untilCut(power, options, async () => {
    const { array } = await openDevices(devices);
    loseFlushes(devices[slot]!, random.below(3));
    mutate?.(array);
    await workload(array, history, random);
    await array.close();
  });
  return checkWithout(slot, cutAll(devices, options), history);
};

function loseFlushes(device: VolatileDevice, after: number): void {
  const flush = device.flush.bind(device);
  let passed = 0;
  device.flush = async () => {
    passed += 1;
    if (passed <= after) return flush();
    if (passed > after + 1) return;
    throw new DeviceError('IO_ERROR', `${device.name}: its flush failed`, {
      device: device.name,
      operation: 'flush',
    });
  };
}

/** A member begins to fail writes of its data. What was answered must not hang on it. */
export const failing: Scenario = async (options) => {
  const { random, mutate } = options;
  const { power, devices } = await poweredMembers(options);
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
  return checkWithout(slot, cutAll(devices, options), history);
};

/** The member in that slot may have failed. */
async function checkWithout(
  slot: number,
  left: readonly MemoryDevice[],
  history: SectorHistory,
): Promise<Outcome> {
  const verdict = await judgeDevices(left);
  if (verdict.slots[slot]!.state === 'in-sync') return checkComplete(left, history);
  const { array } = await openDevices(left, true);
  const isDirty = !array.core.suspect.isEmpty;
  // Invariant 3: what the member held where parity is in doubt is not owed, and refused.
  const doubt = new RangeSet(bytesInDoubt(array.core));
  history.check(await readBut(array, doubt), (offset) => !doubt.overlaps(offset, offset + SECTOR_BYTES));
  return isDirty ? 'dirty-degraded' : 'degraded';
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
  const { power, devices } = await poweredMembers(options);
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

/** The array of `others` gets `fresh` into its slot, and the power goes. */
export async function rebuildUntilCut(
  power: PowerSupply,
  options: CutOptions,
  { others, fresh, slot }: { others: readonly VolatileDevice[]; fresh: VolatileDevice; slot: number },
): Promise<void> {
  await untilCut(power, options, async () => {
    const { array } = await openDevices(others);
    options.mutate?.(array);
    await array.rebuild(array.core.slots[slot]!, await joinMember(array, fresh, array.core.slots[slot]!));
    await array.close();
  });
}

/** A rebuild, of an array that nobody writes: what the superblocks call rebuilt is there. */
export const rebuilding: Scenario = async (options) => {
  const { random } = options;
  const { power, devices } = await poweredMembers(options);
  const content = await fill(devices, random);
  const slot = random.below(SHAPE.members);
  const fresh = volatileDevice(devices[0]!.size, 'new', power, options);
  const others = devices.filter((_, index) => index !== slot);
  await rebuildUntilCut(power, options, { others, fresh, slot });
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
  const { power, devices } = await poweredMembers(options, (each) => addBitmap(each, BITMAP_CHUNK_BYTES));
  const history = new SectorHistory(ARRAY_BYTES);
  const fresh = volatileDevice(devices[0]!.size, 'new', power, options);
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
