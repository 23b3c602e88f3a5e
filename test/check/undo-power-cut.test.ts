/**
 * The power goes amid a repair whose old content is kept: whatever the cut leaves of the images, they are known as those
 * that the repair was at, and the undo file gives them back byte for byte.
 */
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { readUndo } from '../../src/check/undo/read-undo.js';
import { applyUndo, matchImages } from '../../src/check/undo/revert.js';
import { UndoImages } from '../../src/check/undo/undo-device.js';
import { UndoFile } from '../../src/check/undo/undo-file.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { judgeDevices, makeMembers, type TestShape } from '../../src/lab/self/raid/arrays.js';
import { examineImage } from '../../src/raid/md/examine.js';
import { abandonArrays, mismatches, openDevices, readAll } from '../support/arrays.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../support/devices/volatile-device.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const SHAPE: TestShape = { members: 4, chunkBytes: 8192, layout: 2, stripes: 6 };
const ROUNDS = 12;
const folder = await temporaryFolder();
let count = 0;

function powered(size: number, name: string, power: PowerSupply, random: SeededRandom): VolatileDevice {
  return new VolatileDevice(size, { name, power, seed: random.below(1000), maxDelayTurns: 3 });
}

/** Runs until the power goes, within so many events or at its end; gives what the cut leaves of the devices. */
async function cutAmid(
  devices: readonly VolatileDevice[],
  power: PowerSupply,
  random: SeededRandom,
  work: () => Promise<void>,
): Promise<BlockDevice[]> {
  power.cutAtEvent(power.events + 1 + random.below(150));
  await work().catch((error: unknown) => {
    if (power.isOn) throw error;
  });
  abandonArrays();
  return devices.map((device) => device.cutPower(random.below(1_000_000)));
}

/** A dirty array, as a cut amid writes leaves it, on devices of which all is durable. */
async function dirtyMembers(power: PowerSupply, random: SeededRandom): Promise<VolatileDevice[]> {
  const first = new PowerSupply();
  const members = await makeMembers(SHAPE, (size, slot) => powered(size, `member-${slot}`, first, random));
  await Promise.all(members.map((device) => device.flush()));
  const { array } = await openDevices(members);
  await array.write(0, random.bytes(array.size));
  await array.flush();
  const left = await cutAmid(members, first, random, async () => {
    for (;;) await array.write(random.below(array.size / 512 - 16) * 512, random.bytes(16 * 512));
  });
  return Promise.all(left.map((device) => copyOf(device, powered(device.size, device.name, power, random))));
}

async function copyOf(from: BlockDevice, into: VolatileDevice): Promise<VolatileDevice> {
  await into.write(0, await readAll(from));
  await into.flush();
  return into;
}

describe('a cut amid a repair', () => {
  it('is taken back, wherever it comes', async () => {
    for (let round = 0; round < ROUNDS; round++) {
      await withSeed(async (random) => {
        const power = new PowerSupply();
        const images = await dirtyMembers(power, random);
        const before = await Promise.all(images.map((image) => readAll(image)));
        const undo = await UndoFile.create(join(folder, `undo-${count++}`), '0:0:0:0');
        const over = new UndoImages(undo, '1.2');
        const left = await cutAmid(images, power, random, async () => {
          const { array } = await openDevices(images.map((image) => over.over(image)));
          if (!array.core.suspect.isEmpty) await array.resync();
          await array.close();
        });
        await undo.close();
        const content = await readUndo(undo.path);
        const examined = await Promise.all(left.map((device) => examineImage(device)));
        const matched = await matchImages(content, examined, { force: false });
        await applyUndo(
          content,
          matched.map(({ device }) => device),
        );
        for (const [slot, device] of left.entries())
          expect(Buffer.compare(await readAll(device), before[slot]!), `member ${slot}`).toBe(0);
      });
    }
  });
});

describe('a cut amid a revert', () => {
  it('leaves no array that says clean and is not, and is ended by the next', async () => {
    let assembled = 0;
    for (let round = 0; round < 3 * ROUNDS; round++) {
      await withSeed(async (random) => {
        const power = new PowerSupply();
        const images = await dirtyMembers(power, random);
        const before = await Promise.all(images.map((image) => readAll(image)));
        const undo = await UndoFile.create(join(folder, `undo-${count++}`), '0:0:0:0');
        const over = new UndoImages(undo, '1.2');
        const { array } = await openDevices(images.map((image) => over.over(image)));
        await array.resync();
        await array.close();
        await undo.close();
        const content = await readUndo(undo.path);
        const devicesOf = async (all: readonly BlockDevice[]): Promise<BlockDevice[]> => {
          const examined = await Promise.all(all.map((device) => examineImage(device)));
          return (await matchImages(content, examined, { force: false })).map(({ device }) => device);
        };
        const left = await cutAmid(
          images,
          power,
          random,
          async () => void (await applyUndo(content, await devicesOf(images))),
        );
        const { set, refusals, slots } = await judgeDevices(left);
        const isClean = set?.resyncOffset === null && refusals.length === 0;
        if (isClean && slots.every(({ state }) => state === 'in-sync')) {
          assembled++;
          expect(await mismatches(left)).toEqual([]);
        }
        await applyUndo(content, await devicesOf(left));
        for (const [slot, device] of left.entries())
          expect(Buffer.compare(await readAll(device), before[slot]!), `member ${slot}`).toBe(0);
      });
    }
    expect(assembled).toBeGreaterThan(0);
  });
});
