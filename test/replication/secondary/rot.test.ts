/**
 * Sectors that rot: whatever sector of the marks, the log or the container is noise, what opens and what promote gives is the
 * end of an epoch that was, or an error that says what is damaged. Never a mixture.
 */
import { describe, expect, it } from 'vitest';
import { DeviceError } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { UserError } from '../../../src/errors.js';
import {
  contentOf,
  create,
  lent,
  memoryParts,
  PARTS,
  type PartName,
  partsBy,
  SECOND,
  sizeOf,
} from '../../../src/lab/self/replication/secondary-parts.js';
import {
  openSecondary,
  promote,
  readMarks,
  type SecondaryParts,
} from '../../../src/replication/secondary/index.js';
import { readHeader } from '../../../src/replication/secondary/parts.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import { type SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { VolatileDevice } from '../../support/devices/volatile-device.js';

const SECTOR = 512;
const GONE = { device: 'kept', operation: 'flush' } as const;
const SIZES = { imageBytes: 64 * 1024, logBytes: 8192 + 64 * 1024 };

interface Left {
  readonly parts: Record<PartName, MemoryDevice>;
  /** What the image was at the ends of the epochs, as text. */
  readonly contents: string[];
  readonly point: number;
}

/** Four epochs in the image, two that are durable and wait; amid a resync the point is 2. */
async function left(random: SeededRandom, isResyncing: boolean): Promise<Left> {
  const parts = memoryParts(SIZES);
  await create(parts, SIZES.imageBytes);
  const image = new HeldDevice(parts.image);
  const device = await openSecondary(lent({ ...parts, image }));
  const contents = [textOf(await contentOf(device))];
  for (let epoch = 1; epoch <= 6; epoch++) {
    if (epoch === 3 && isResyncing) await device.beginResync();
    if (epoch === 5) {
      await device.settle();
      image.hold('flush');
    }
    await device.write(0, random.bytes(SECTOR));
    await device.write(random.between(1, 100) * SECTOR, random.bytes(8192));
    await device.flush();
    contents.push(textOf(await contentOf(device)));
  }
  // The process is gone: nobody lets the flush in.
  await image.arrived(1);
  return { parts, contents, point: isResyncing ? 2 : 6 };
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}

async function copyOf(parts: SecondaryParts): Promise<Record<PartName, MemoryDevice>> {
  const copy = partsBy((part) => new MemoryDevice(sizeOf(part, SIZES), { name: part }));
  for (const part of PARTS) await copy[part].write(0, await contentOf(parts[part]));
  return copy;
}

async function written(device: MemoryDevice): Promise<number[]> {
  const bytes = await contentOf(device);
  return Array.from({ length: bytes.length / SECTOR }, (_, at) => at).filter((at) =>
    bytes.subarray(at * SECTOR, (at + 1) * SECTOR).some((byte) => byte !== 0),
  );
}

async function codeOf(call: () => Promise<number>): Promise<number | string> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof UserError) return error.code;
    throw error;
  }
}

async function epochOpened(parts: SecondaryParts, contents: readonly string[]): Promise<number> {
  const device = await openSecondary(lent(parts));
  return contents.indexOf(textOf(await contentOf(device)));
}

async function epochPromoted(parts: SecondaryParts, contents: readonly string[]): Promise<number> {
  const { point } = await promote(parts, { newGeneration: SECOND });
  const found = contents.indexOf(textOf(await contentOf(parts.image)));
  expect(found).toBe(point?.epoch);
  return found;
}

describe.each([false, true])('one sector is noise (amid a resync: %s)', (isResyncing) => {
  it('of the marks: the other slot says the same', () =>
    withSeed(async (random) => {
      const { parts, contents, point } = await left(random, isResyncing);
      for (const at of await written(parts.marks)) {
        const copy = await copyOf(parts);
        await copy.marks.write(at * SECTOR, random.bytes(SECTOR));
        expect((await readMarks(copy.marks)).state).toBe(isResyncing ? 'resyncing' : 'consistent');
        expect(await epochPromoted(copy, contents)).toBe(point);
      }
    }));

  it('of the epoch log: the end of an epoch, or an error', () =>
    withSeed(async (random) => {
      const { parts, contents, point } = await left(random, isResyncing);
      const outcomes = new Set<number | string>();
      for (const at of await written(parts.epochs)) {
        const [opened, promoted] = [await copyOf(parts), await copyOf(parts)];
        for (const copy of [opened, promoted]) await copy.epochs.write(at * SECTOR, random.bytes(SECTOR));
        const outcome = await codeOf(() => epochOpened(opened, contents));
        outcomes.add(outcome);
        // The last epoch has nothing behind it that would know of it.
        expect([5, 6, 'METADATA_DAMAGED']).toContain(outcome);
        expect([point, outcome]).toContain(await codeOf(() => epochPromoted(promoted, contents)));
      }
      expect(outcomes).toContain('METADATA_DAMAGED');
    }));
});

it('noise in a sector of the container: promote is refused and changes nothing, and goes with force', () =>
  withSeed(async (random) => {
    const { parts, contents, point } = await left(random, true);
    expect(await epochPromoted(await copyOf(parts), contents)).toBe(point);
    const outcomes = new Set<number | string>();
    for (const at of await written(parts.kept)) {
      const copy = await copyOf(parts);
      await copy.kept.write(at * SECTOR, random.bytes(SECTOR));
      const before = textOf(await contentOf(copy.image));
      const outcome = await codeOf(() => epochPromoted(copy, contents));
      outcomes.add(outcome);
      if (outcome === point) continue;
      expect(outcome).toBe('METADATA_DAMAGED');
      expect(textOf(await contentOf(copy.image))).toBe(before);
      expect((await promote(copy, { newGeneration: SECOND, force: true })).point).toBeNull();
    }
    expect(outcomes).toContain('METADATA_DAMAGED');
  }));

describe('what the container has is durable in the header before the image is overwritten', () => {
  it.each([false, true])('(in a recovery: %s)', (isRecovery) =>
    withSeed(async (random) => {
      const volatile = partsBy((part) => new VolatileDevice(sizeOf(part, SIZES), { name: part }));
      await create(volatile, SIZES.imageBytes);
      const image = new HeldDevice(volatile.image);
      const held = lent({ ...volatile, image });
      const first = await openSecondary(held);
      await first.write(0, random.bytes(8192));
      await first.flush();
      await first.beginResync();
      if (isRecovery) volatile.kept.flush = () => Promise.reject(new DeviceError('IO_ERROR', 'gone', GONE));
      if (isRecovery) volatile.marks.write = () => Promise.reject(new DeviceError('IO_ERROR', 'gone', GONE));
      image.hold('write');
      await first.write(0, random.bytes(8192));
      await first.flush();
      let cut: SecondaryParts = volatile;
      if (isRecovery) {
        await first.settle().catch(() => undefined);
        const left = partsBy((part) => volatile[part].cutPower(1, 'none'));
        const again = new HeldDevice(left.image);
        again.hold('write');
        const epochs = new VolatileDevice(left.epochs.size, { name: 'epochs' });
        await epochs.write(0, await contentOf(left.epochs));
        await epochs.flush();
        openSecondary({ ...left, image: again, epochs }).catch(() => undefined);
        await again.arrived(1);
        cut = { ...left, epochs: epochs.cutPower(1, 'none') };
      } else {
        await image.arrived(1);
        cut = partsBy((part) => volatile[part].cutPower(1, 'none'));
      }
      const marks = await readMarks(cut.marks);
      expect(await readHeader(cut, marks)).toMatchObject({ keptId: marks.keptId, keptGroups: 1 });
    }),
  );
});

describe('both slots are noise', () => {
  it.each(['marks', 'epochs'] as const)('of %s: it is refused, by name', (part) =>
    withSeed(async (random) => {
      const { parts } = await left(random, false);
      await parts[part].write(0, random.bytes(8192));
      const error = await openSecondary(lent(parts)).catch((cause: unknown) => cause);
      expect(error).toMatchObject({ code: 'METADATA_DAMAGED', details: { image: part } });
    }),
  );
});
