/**
 * The life of a volume through the built binary, as a user leads it: made, filled, a member lost and rebuilt,
 * replaced, a rotten parity found and repaired. Each test goes on from the one before.
 */
import { randomBytes } from 'node:crypto';
import { open, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const folder = await temporaryFolder();
const volume = join(folder, 'vol');
const member = (slot: number): string => join(volume, `member-${slot}.img`);
/** Odd on purpose: nothing of it falls on a sector. */
const OFFSET = 1_000_001;
const content = randomBytes(777_777);

async function stateOf(...args: string[]): Promise<{ exitCode: number; state: unknown }> {
  const { exitCode, json } = await runJson(['status', ...args]);
  return { exitCode, state: json.result?.state };
}

async function readBack(...args: string[]): Promise<Buffer> {
  const range = ['--offset', String(OFFSET), '--length', String(content.length), '--output', '-'];
  const { exitCode, stdoutBytes, stderr } = await runHoldfast(['read', ...args, ...range]);
  expect(exitCode, stderr).toBe(0);
  return stdoutBytes;
}

beforeAll(async () => {
  await writeFile(join(folder, 'content'), content);
});

describe('a volume', () => {
  it('is made', async () => {
    const args = [
      'create',
      volume,
      '--members',
      '4',
      '--size',
      '10MiB',
      '--chunk',
      '16KiB',
      '--name',
      'life',
    ];
    const { exitCode, json } = await runJson(args);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ name: 'life', kind: 'raid', members: 4, chunkBytes: 16384 });
    expect(json.result?.sizeBytes).toBeGreaterThanOrEqual(10 * 1024 ** 2);
    expect(json.result?.images).toEqual([0, 1, 2, 3].map(member));
  });

  it('has a status with what scripts rely on', async () => {
    const { exitCode, json } = await runJson(['status', volume]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({
      name: 'life',
      uuid: expect.stringMatching(/^[0-9a-f]{8}(:[0-9a-f]{8}){3}$/),
      format: 'raw',
      sizeBytes: expect.any(Number),
      state: 'clean',
      dirtyStripes: 0,
      replicas: [],
      snapshots: [],
      raid: { level: 5, layout: 'left-symmetric', chunkBytes: 16384, metadataVersion: '1.2' },
    });
    expect(json.result?.members).toHaveLength(4);
  });

  it('takes bytes at any offset and of any length, and gives them back', async () => {
    const input = join(folder, 'content');
    const { exitCode, json } = await runJson(['write', volume, '--offset', String(OFFSET), '--input', input]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ offsetBytes: OFFSET, writtenBytes: content.length });
    expect(await readBack(volume)).toEqual(content);
  });

  it('is clean after each command that wrote', async () => {
    expect(await stateOf(volume)).toEqual({ exitCode: 0, state: 'clean' });
  });

  it("is also what its members' images are, in any order", async () => {
    const images = [2, 0, 3, 1].map(member);
    expect(await stateOf(...images)).toEqual({ exitCode: 0, state: 'clean' });
    expect(await readBack(...images)).toEqual(content);
  });

  it('is read to a file, too', async () => {
    const output = join(folder, 'out');
    const range = ['--offset', String(OFFSET), '--length', String(content.length)];
    const { exitCode, json } = await runJson(['read', volume, ...range, '--output', output]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ offsetBytes: OFFSET, readBytes: content.length, output });
    expect((await readFile(output)).equals(content)).toBe(true);
  });
});

describe('a member', () => {
  it('that would be failed is named by --dry-run, and stays', async () => {
    const { json } = await runJson(['member', 'fail', volume, '--slot', '1', '--dry-run']);
    expect(json.result).toMatchObject({ dryRun: true, slot: 1, image: member(1) });
    expect(await stateOf(volume)).toEqual({ exitCode: 0, state: 'clean' });
  });

  it('fails: the volume is degraded, and whole', async () => {
    const { exitCode, json } = await runJson(['member', 'fail', volume, '--slot', '1']);
    expect(exitCode).toBe(0);
    expect(json).toMatchObject({ command: 'member fail', result: { slot: 1, image: member(1) } });
    expect(await stateOf(volume)).toEqual({ exitCode: 3, state: 'degraded' });
    expect(await readBack(volume)).toEqual(content);
  });

  it('more cannot fail', async () => {
    const { exitCode, json } = await runJson(['member', 'fail', volume, '--slot', '2']);
    expect(exitCode).toBe(1);
    expect(json.error?.code).toBe('REFUSED');
    expect(await stateOf(volume)).toEqual({ exitCode: 3, state: 'degraded' });
  });

  it('being away is a warning of a command that did its work', async () => {
    const args = ['read', volume, '--length', '512', '--output', join(folder, 'out')];
    const { exitCode, json } = await runJson(args);
    expect(exitCode).toBe(0);
    expect(json.warnings.join()).toMatch(/degraded.*slot 1/);
  });

  it('that there is not cannot fail', async () => {
    const { exitCode, json } = await runJson(['member', 'fail', volume, '--slot', '9']);
    expect(exitCode).toBe(2);
    expect(json.error?.message).toContain('slots 0 to 3');
  });

  it('is added and rebuilt', async () => {
    const image = join(folder, 'new.img');
    const { exitCode, json } = await runJson(['member', 'add', volume, '--image', image]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ slot: 1, image, isSpare: false, lostBytes: 0 });
    expect(json.result?.rebuiltBytes).toBeGreaterThan(0);
    expect(await stateOf(volume)).toEqual({ exitCode: 0, state: 'clean' });
    expect(await readBack(volume)).toEqual(content);
  });

  it('is replaced while it serves', async () => {
    const image = join(folder, 'replacement.img');
    const { exitCode, json } = await runJson(['member', 'replace', volume, '--slot', '2', '--image', image]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ slot: 2, image });
    expect(await readBack(volume)).toEqual(content);
    expect((await runJson(['scrub', volume])).json.result).toMatchObject({ mismatchedStripes: 0 });
  });

  it('over an image that holds data wants --force, and then a yes', async () => {
    const image = join(folder, 'precious.img');
    await writeFile(image, randomBytes(4 * 1024 ** 2));
    const before = await readFile(image);
    const add = ['member', 'replace', volume, '--slot', '0', '--image', image];
    expect((await runJson(add)).json.error?.code).toBe('NOT_BLANK');
    expect((await runJson([...add, '--yes'])).json.error?.code).toBe('NOT_BLANK');
    const forced = await runJson([...add, '--force']);
    expect(forced).toMatchObject({ exitCode: 2, json: { error: { code: 'CONFIRMATION_REQUIRED' } } });
    expect((await readFile(image)).equals(before)).toBe(true);
  });

  it('to be removed has to be named', async () => {
    expect((await runJson(['member', 'remove', volume])).json.error?.code).toBe('USAGE');
  });

  it('that is out of service is removed', async () => {
    const { exitCode, json } = await runJson(['member', 'remove', volume, '--slot', '1']);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ slot: 1, image: member(1), wasState: 'stale' });
  });
});

describe('a rotten parity', () => {
  it('shows in scrub, not in status', async () => {
    const status = await runJson(['status', volume]);
    const raid = status.json.result?.raid as { dataOffsetBytes: number };
    const image = await open(member(3), 'r+');
    await image.write(Buffer.from('rot'), 0, 3, raid.dataOffsetBytes + 5 * 4096 + 17);
    await image.close();
    expect(await stateOf(volume)).toEqual({ exitCode: 0, state: 'clean' });
    const { exitCode, json } = await runJson(['scrub', volume]);
    expect(exitCode).toBe(3);
    expect(json.result).toMatchObject({ mismatchedStripes: 1, mismatchedRows: [5], repairedStripes: 0 });
    const people = await runHoldfast(['scrub', volume]);
    expect(people.stdout).toMatch(/1 do not match, 0 repaired\nrows that do not match: 5\n$/);
  });

  it('is repaired, and gone', async () => {
    const repair = await runJson(['scrub', volume, '--repair']);
    expect(repair).toMatchObject({
      exitCode: 0,
      json: { result: { mismatchedStripes: 1, repairedStripes: 1 } },
    });
    const again = await runJson(['scrub', volume]);
    expect(again).toMatchObject({
      exitCode: 0,
      json: { result: { mismatchedStripes: 0, mismatchedRows: [] } },
    });
  });
});
