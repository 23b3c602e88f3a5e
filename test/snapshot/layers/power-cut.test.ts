/**
 * Snapshots of a volume that is written, and a cut at a random event: each that was on the list shows what its moment held, and
 * marks name all that was changed since. Without the barrier of a layer they do not.
 */
import { expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import {
  contentOf,
  DeviceStore,
  firstDifference,
  type StackedSnapshots,
  stackSnapshots,
} from '../../../src/lab/self/snapshot/kept-snapshots.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { cached } from '../../../src/volume/stack.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../../support/devices/volatile-device.js';
import { expectMoments } from '../../support/snapshot/expect-moments.js';

const BLOCKS = 60;
const ROUNDS = 60;

interface Machine {
  readonly power: PowerSupply;
  readonly base: VolatileDevice;
  readonly store: DeviceStore<VolatileDevice>;
  readonly stack: StackedSnapshots;
  /** What the moments held, by name; of marks too. */
  readonly held: Map<string, Uint8Array>;
  /** One that was begun and not answered. */
  begun: { readonly name: string; readonly content: Uint8Array } | null;
}

async function machine(random: SeededRandom, keepsBarrier?: () => boolean): Promise<Machine> {
  const power = new PowerSupply();
  const seed = random.below(2 ** 31);
  const delays = { power, seed, maxDelayTurns: random.below(3) };
  const base = new VolatileDevice(BLOCKS * BLOCK_BYTES - 512, delays);
  const store = new DeviceStore(
    new Map<string, VolatileDevice>(),
    (bytes, name) => new VolatileDevice(bytes, { ...delays, name, keepsBarrier }),
    () => power.event(),
  );
  const isCached = random.chance(0.5);
  const stack = await stackSnapshots(
    base,
    store,
    [],
    isCached ? { over: (gate) => cached(gate, 16 * 1024, { capacityBytes: 128 * 1024 }) } : {},
  );
  return { power, base, store, stack, held: new Map(), begun: null };
}

async function writer(machine: Machine, number: number, random: SeededRandom): Promise<void> {
  const { device } = machine.stack;
  const share = Math.floor(BLOCKS / 3);
  for (let version = 1; ; version++) {
    const block = number * share + random.below(share - 3);
    const kind = random.below(10);
    const offset = block * BLOCK_BYTES;
    if (kind === 0) await device.flush();
    else if (kind === 1) await device.trim(offset, 2 * BLOCK_BYTES);
    else if (kind === 2)
      await device.write(offset + 1024, new Uint8Array(512).fill(version % 251), { fua: true });
    else
      await device.write(
        offset,
        new Uint8Array(random.between(1, 3) * BLOCK_BYTES - 512).fill((version * 7 + number) % 251),
      );
  }
}

/** Snapshots and marks come and go. What a moment holds is read at it: then nothing is under way. */
async function keeper(machine: Machine, random: SeededRandom): Promise<void> {
  const { stack, held, base } = machine;
  for (let count = 1; ; count++) {
    const names = stack.snapshots.list().map(({ name }) => name);
    if (names.length > 3 || (names.length > 0 && random.chance(0.3))) {
      await stack.snapshots.delete(random.pick(names));
      continue;
    }
    const name = `${random.chance(0.3) ? 'mark' : 'snapshot'}${count}`;
    const kind = name.startsWith('mark') ? 'mark' : 'snapshot';
    await stack.snapshots.create({ name, kind, onOverflow: 'grow', place: '', layerBytes: null }, () => {
      const content = new Uint8Array(base.size);
      base.peek(content);
      machine.begun = { name, content };
      held.set(name, content);
    });
  }
}

async function cutAndLook(random: SeededRandom, keepsBarrier?: () => boolean): Promise<void> {
  const before = await machine(random, keepsBarrier);
  const { power, base, store } = before;
  power.cutAtEvent(random.between(20, 900));
  const all = [0, 1, 2].map((number) => writer(before, number, random));
  await Promise.allSettled([...all, keeper(before, random)]);
  expect(power.isOn).toBe(false);

  const seed = random.below(2 ** 31);
  const left = base.cutPower(seed);
  const layers = new Map<string, MemoryDevice>();
  for (const [id, device] of store.layers) layers.set(id, device.cutPower(seed + layers.size + 1));
  const again = new DeviceStore(
    layers,
    (bytes) => new MemoryDevice(bytes),
    () => {},
  );
  const { snapshots, device } = await stackSnapshots(left, again, store.saved);
  // One that is on the list and was begun after the list was saved, before anything went on: it is of the state that is there.
  const live = await contentOf(left);
  for (const { name } of snapshots.list()) if (!before.held.has(name)) before.held.set(name, live);
  await expectMoments(snapshots, before.held);
  await expectMarks(snapshots, before.held, live);
  // What is written now is kept as before.
  await device.write(0, new Uint8Array(20 * BLOCK_BYTES).fill(9));
  await expectMoments(snapshots, before.held);
  await expectMarks(snapshots, before.held, await contentOf(left));
}

async function expectMarks(
  snapshots: StackedSnapshots['snapshots'],
  held: ReadonlyMap<string, Uint8Array>,
  live: Uint8Array,
): Promise<void> {
  for (const { name } of snapshots.list()) {
    const changed = snapshots.changedSince(name);
    const now = live.slice();
    const then = held.get(name)!;
    for (const { from, count } of changed.runs())
      now.set(then.subarray(from * BLOCK_BYTES, (from + count) * BLOCK_BYTES), from * BLOCK_BYTES);
    expect(`${name}: ${firstDifference(now, then)}`).toBe(`${name}: -1`);
  }
}

it('shows what each moment held, after any cut', { timeout: 120_000 }, async () => {
  await withSeed(async (random) => {
    for (let round = 0; round < ROUNDS; round++) await cutAndLook(random);
  });
});

it('does not where a layer is not flushed before its blocks are overwritten', {
  timeout: 120_000,
}, async () => {
  await withSeed(async (random) => {
    const looks = Array.from({ length: 300 }, () => () => cutAndLook(random, () => false));
    let failed = 0;
    for (const look of looks) {
      if (failed > 0) break;
      await look().catch(() => {
        failed += 1;
      });
    }
    expect(failed).toBe(1);
  });
});
