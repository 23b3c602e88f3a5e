/**
 * The power goes while a snapshot whose container is a range of the volume is written for, taken and deleted: what it holds stays, and where
 * it is gone the range is zeroes.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { SeededRandom } from '../../src/crash/seeded-random.js';
import { filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, okQuietly, runHoldfast, runJson } from '../support/run-holdfast.js';
import { seeded } from '../support/seed.js';
import { readAll } from '../support/volumes.js';

const LIMIT = { timeout: 240_000 };
const { seed = 1 } = seeded();
/** Behind what `filled` has written. */
const FROM = 16 * MIB;
const LENGTH = 2 * MIB;
const RANGE = ['--container', `range:${FROM}+${LENGTH}`];

async function states(volume: string): Promise<string[]> {
  const { json } = await runJson(['snapshot', 'list', volume]);
  const { snapshots } = json.result as { snapshots: { name: string; state: string }[] };
  return snapshots.map(({ name, state }) => `${name} ${state}`);
}

async function expectHolds(volume: string, name: string, before: Buffer): Promise<void> {
  const read = await runHoldfast(['read', volume, '--snapshot', name, '--output', '-']);
  expect([read.exitCode, read.stderr]).toEqual([0, '']);
  expect(Buffer.compare(read.stdoutBytes, before)).toBe(0);
}

/** The command, cut at its write of this number; 75, or what it ends with where it has fewer. */
async function cut(number: number, ...command: string[]): Promise<number> {
  const at = ['--at-write', String(number), '--seed', String(number)];
  const { exitCode } = await runHoldfast(['crash', 'inject', ...at, '--', ...command]);
  return exitCode;
}

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)(`of %s, seed ${seed}`, (_, shape) => {
  const random = new SeededRandom(seed);

  it('amid writes: what the snapshot holds is there after each', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const before = await readAll(volume);
    await ok('snapshot', 'create', volume, '--name', 'kept', ...RANGE);
    const input = join(folder, 'input');
    let cuts = 0;
    for (const number of [1, 2, 3]) {
      await writeFile(input, random.bytes(200_000));
      const offset = String(number * 300_000);
      if ((await cut(number, 'write', volume, '--offset', offset, '--input', input)) === 75) cuts += 1;
      await okQuietly('recover', volume);
      expect(await states(volume)).toEqual(['kept good']);
      await expectHolds(volume, 'kept', before);
      const now = await readAll(volume);
      expect(now.subarray(FROM, FROM + LENGTH).every((byte) => byte === 0)).toBe(true);
    }
    expect(cuts).toBeGreaterThanOrEqual(2);
  });

  it('amid its beginning and its end: it is good or gone, and the range is zeroes', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const input = join(folder, 'input');
    let cuts = 0;
    for (const number of [1, 2, 4]) {
      const before = await readAll(volume);
      const name = `at-${number}`;
      if ((await cut(number, 'snapshot', 'create', volume, '--name', name, ...RANGE)) === 75) cuts += 1;
      await okQuietly('recover', volume);
      const found = await states(volume);
      if (found.length === 0) await ok('snapshot', 'create', volume, '--name', name, ...RANGE);
      expect(await states(volume)).toEqual([`${name} good`]);
      await expectHolds(volume, name, before);
      await writeFile(input, random.bytes(100_000));
      await ok('write', volume, '--offset', String(number * 500_000), '--input', input);
      await expectHolds(volume, name, before);
      const after = await readAll(volume);
      if ((await cut(number, 'snapshot', 'delete', volume, '--name', name)) === 75) cuts += 1;
      await okQuietly('recover', volume);
      const left = await states(volume);
      expect([[], [`${name} good`]]).toContainEqual(left);
      if (left.length > 0) await expectHolds(volume, name, before);
      expect(Buffer.compare(await readAll(volume), after)).toBe(0);
      if (left.length > 0) await ok('snapshot', 'delete', volume, '--name', name);
    }
    expect(cuts).toBeGreaterThanOrEqual(2);
  });
});
