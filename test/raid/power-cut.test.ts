/**
 * Power cuts at any event, by the crash model: whatever the cut leaves, what the superblocks say is true, a
 * resync makes parity right, and every sector is a version between the last flushed and the last written.
 */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import {
  abandonArrays,
  judgeDevices,
  makeMembers,
  mismatches,
  openDevices,
  readAll,
  type TestShape,
} from '../support/arrays.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { PowerSupply, VolatileDevice } from '../support/devices/volatile-device.js';

const SHAPE: TestShape = { members: 4, chunkBytes: 8192, layout: 2, stripes: 8 };
const SECTOR = 512;

/** For each sector the versions that a read after the cut may show: the last flushed and all later ones. */
class SectorHistory {
  private readonly versions: Uint8Array[][];

  constructor(size: number) {
    this.versions = Array.from({ length: size / SECTOR }, () => [new Uint8Array(SECTOR)]);
  }

  written(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += SECTOR) {
      this.versions[(offset + at) / SECTOR]!.push(bytes.subarray(at, at + SECTOR));
    }
  }

  snapshot(): number[] {
    return this.versions.map((list) => list.length);
  }

  /** A flush that was answered covers what had been answered when it was called. */
  flushed(lengths: readonly number[]): void {
    for (const [sector, length] of lengths.entries()) this.versions[sector]!.splice(0, length - 1);
  }

  check(content: Uint8Array, what: string): void {
    this.versions.forEach((list, sector) => {
      const found = content.subarray(sector * SECTOR, (sector + 1) * SECTOR);
      if (!list.some((version) => Buffer.compare(version, found) === 0)) {
        throw new Error(`${what}: sector ${sector} is none of its ${list.length} versions`);
      }
    });
  }
}

/** Writes and flushes one after another until the power goes. */
async function workload(
  devices: readonly BlockDevice[],
  history: SectorHistory,
  random: SeededRandom,
): Promise<void> {
  const { array } = await openDevices(devices);
  for (let step = 0; step < 30; step++) {
    const length = random.pick([512, 4096, 8192, 24576, 40960]);
    const offset = random.below((array.size - length) / SECTOR) * SECTOR;
    const bytes = random.bytes(length);
    history.written(offset, bytes);
    await array.write(offset, bytes, { fua: random.chance(0.1) });
    if (!random.chance(0.3)) continue;
    const covered = history.snapshot();
    await array.flush();
    history.flushed(covered);
  }
  await array.close();
}

async function cutOnce(random: SeededRandom, missing: number | null): Promise<string> {
  const power = new PowerSupply();
  const devices = await makeMembers(
    SHAPE,
    (size, slot) =>
      new VolatileDevice(size, { name: `member-${slot}`, power, seed: random.below(1000), maxDelayTurns: 3 }),
  );
  await Promise.all(devices.map((device) => device.flush()));
  const used = devices.filter((_, slot) => slot !== missing);
  const probe = power.events;
  power.cutAtEvent(probe + 10 + random.below(700));
  const history = new SectorHistory(SHAPE.stripes * SHAPE.chunkBytes * 3);
  await workload(used, history, random).catch((error: unknown) => {
    if (power.isOn) throw error;
  });
  abandonArrays();
  const left = devices.map((device) => device.cutPower(random.below(1_000_000)));
  const kept = left.filter((_, slot) => slot !== missing);
  const verdict = await judgeDevices(kept);
  const dirty = verdict.set!.resyncOffset !== null;
  if (missing !== null) {
    // The member that was away must not be taken for current beside the others, if they were written.
    const together = await judgeDevices(left);
    const written =
      kept.some((_, index) => verdict.members[index]?.superblock !== null) && power.events > probe + 60;
    if (written && together.slots[missing]!.state === 'in-sync') return 'current';
    return dirty ? 'dirty-degraded' : 'degraded';
  }
  if (!dirty) expect(await mismatches(left)).toEqual([]);
  const { array } = await openDevices(left);
  await array.resync();
  const content = await readAll(array);
  history.check(content, 'after recovery');
  await array.close();
  expect(await mismatches(left)).toEqual([]);
  const away = random.below(4);
  const without = await openDevices(
    left.filter((_, slot) => slot !== away),
    true,
  );
  expect(Buffer.compare(await readAll(without.array), content), `without member ${away}`).toBe(0);
  abandonArrays();
  return dirty ? 'dirty' : 'clean';
}

describe('a power cut', () => {
  it('leaves an array that says the truth about itself, and is made right', async () => {
    await withSeed(async (random) => {
      const seen = new Map<string, number>();
      for (let round = 0; round < 60; round++) {
        const outcome = await cutOnce(random, null);
        seen.set(outcome, (seen.get(outcome) ?? 0) + 1);
      }
      expect(seen.get('dirty')).toBeGreaterThan(10);
    });
  });

  it('of a degraded array never makes the member that was away current again', async () => {
    await withSeed(async (random) => {
      const outcomes: string[] = [];
      for (let round = 0; round < 30; round++) outcomes.push(await cutOnce(random, random.below(4)));
      expect(outcomes).not.toContain('current');
      expect(outcomes).toContain('dirty-degraded');
    });
  });
});
