/** Snapshots whose container is a range of the volume itself: what they hold, what they leave to others, and where they are refused. */
import { randomBytes } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { BLOCK_BYTES, filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, okQuietly, runHoldfast, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { readAll } from '../support/volumes.js';

const LIMIT = { timeout: 120_000 };
/** Behind what `filled` has written. */
const FROM = 16 * MIB;
const LENGTH = 2 * MIB;
const RANGE = ['--container', `range:${FROM}+${LENGTH}`];

async function writeAt(folder: string, volume: string, offset: number, bytes: number): Promise<void> {
  await writeFile(join(folder, 'input'), randomBytes(bytes));
  await ok('write', volume, '--offset', String(offset), '--input', join(folder, 'input'));
}

const inRange = (content: Buffer) => content.subarray(FROM, FROM + LENGTH);
const isZero = (content: Buffer) => content.every((byte) => byte === 0);

async function listOf(volume: string): Promise<{ ranges: unknown[]; moments: { layers: unknown[] }[] }> {
  return JSON.parse(await readFile(join(volume, 'snapshots', 'snapshots.json'), 'utf8'));
}

async function snapshotOf(volume: string, name: string): Promise<Buffer> {
  const read = await runHoldfast(['read', volume, '--snapshot', name, '--output', '-']);
  expect(read.stderr).toBe('');
  return read.stdoutBytes;
}

async function states(volume: string): Promise<string[]> {
  const { json } = await runJson(['snapshot', 'list', volume]);
  const { snapshots } = json.result as { snapshots: { name: string; state: string }[] };
  return snapshots.map(({ name, state }) => `${name} ${state}`);
}

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)('a snapshot in a range of %s', (_, shape) => {
  const make = (volume: string, name: string, ...flags: string[]) =>
    ok('snapshot', 'create', volume, '--name', name, ...flags);

  it('holds what the volume held, beside others, and gives the range back', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const before = await readAll(volume);
    await make(volume, 'file');
    await make(volume, 'range', ...RANGE);
    await writeAt(folder, volume, 0, 300_000);
    await make(volume, 'later');
    const then = await snapshotOf(volume, 'later');
    await writeAt(folder, volume, 100_000, 500_000);
    for (const name of ['file', 'range'])
      expect(Buffer.compare(await snapshotOf(volume, name), before), name).toBe(0);
    expect(Buffer.compare(await snapshotOf(volume, 'later'), then)).toBe(0);
    // What is kept lies in the volume, and nobody sees it there.
    expect(isZero(inRange(await readAll(volume)))).toBe(true);
    expect(isZero(inRange(then))).toBe(true);
    const { snapshots } = await ok('status', volume);
    expect(snapshots).toMatchObject([{}, { name: 'range', usedBytes: LENGTH }, {}]);
    for (const name of ['range', 'file']) await ok('snapshot', 'delete', volume, '--name', name);
    await writeAt(folder, volume, 700_000, 300_000);
    expect(Buffer.compare(await snapshotOf(volume, 'later'), then)).toBe(0);
    await make(volume, 'again', ...RANGE);
    expect(await states(volume)).toEqual(['later good', 'again good']);
  });

  it('outlives its server, which was killed amid writes', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const before = await readAll(volume);
    const served = await serve(folder, volume);
    await make(volume, 'range', ...RANGE);
    const client = await NbdDevice.open(served.uri, { readOnly: false });
    for (const block of [3, 900, 901, 2000])
      await client.write(block * BLOCK_BYTES, randomBytes(BLOCK_BYTES), { fua: true });
    await served.stop('SIGKILL');
    await client.close().catch(() => {});
    await okQuietly('recover', volume);
    expect(await states(volume)).toEqual(['range good']);
    expect(Buffer.compare(await snapshotOf(volume, 'range'), before)).toBe(0);
    await writeAt(folder, volume, 0, 100_000);
    expect(Buffer.compare(await snapshotOf(volume, 'range'), before)).toBe(0);
    expect(isZero(inRange(await readAll(volume)))).toBe(true);
    // It is claimed in this opening as in the first.
    await writeAt(folder, volume, FROM + 5 * BLOCK_BYTES, 1000);
    expect(await states(volume)).toEqual(['range unusable']);
  });

  it(
    'is lost before somebody overwrites what it has kept, though the server is killed then',
    LIMIT,
    async () => {
      const { folder, volume } = await filled(shape);
      const served = await serve(folder, volume);
      await make(volume, 'range', ...RANGE);
      const client = await NbdDevice.open(served.uri, { readOnly: false });
      // Each in a group of its own, of which the list on disk does not tell yet.
      for (let block = 0; block < 20; block++)
        await client.write(block * BLOCK_BYTES, randomBytes(BLOCK_BYTES), { fua: true });
      // Amid them: what is behind would look like the end that a crash has torn.
      await client.write(FROM + 10 * BLOCK_BYTES, randomBytes(BLOCK_BYTES), { fua: true });
      await served.stop('SIGKILL');
      await client.close().catch(() => {});
      expect(await states(volume)).toEqual(['range unusable']);
      const { json } = await runJson(['snapshot', 'list', volume]);
      expect(JSON.stringify(json.result)).toContain(`overwritten at offset ${FROM + 10 * BLOCK_BYTES}`);
    },
  );

  it('is in no backup, neither of the volume nor of the snapshot', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    const before = await readAll(volume);
    await make(volume, 'range', ...RANGE);
    await writeAt(folder, volume, 0, 300_000);
    const now = await readAll(volume);
    for (const [name, content, flags] of [
      ['now', now, []],
      ['all', now, ['--all-blocks']],
      ['then', before, ['--snapshot', 'range']],
    ] as const) {
      const output = join(folder, `${name}.img`);
      await ok('backup', 'create', volume, '--output', output, ...flags);
      expect(Buffer.compare(await readFile(output), content), name).toBe(0);
    }
  });

  it(
    'is given up when it is full, or when somebody has written there, and no write fails',
    LIMIT,
    async () => {
      const { folder, volume } = await filled(shape);
      await make(volume, 'small', '--container', `range:${FROM}+${64 * 1024}`);
      await writeAt(folder, volume, 0, 500_000);
      expect(await states(volume)).toEqual(['small unusable']);
      await ok('snapshot', 'delete', volume, '--name', 'small');
      await make(volume, 'overwritten', ...RANGE);
      await writeAt(folder, volume, 0, 300_000);
      await writeAt(folder, volume, FROM, 100_000);
      const read = await runJson(['read', volume, '--snapshot', 'overwritten', '--output', '-']);
      expect(read.json.error?.code).toBe('METADATA_DAMAGED');
      await writeAt(folder, volume, 0, 300_000);
      expect(await states(volume)).toEqual(['overwritten unusable']);
    },
  );

  it('gives the range back as zeroes, and leaves nothing of it on the list', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await make(volume, 'range', ...RANGE);
    await writeAt(folder, volume, 0, 300_000);
    expect((await listOf(volume)).ranges).toEqual([{ offset: FROM, length: LENGTH }]);
    await ok('snapshot', 'delete', volume, '--name', 'range');
    expect((await listOf(volume)).ranges).toEqual([]);
    expect(isZero(inRange(await readAll(volume)))).toBe(true);
    await writeAt(folder, volume, FROM, 100_000);
    expect(isZero(inRange(await readAll(volume)))).toBe(false);
  });

  it('leaves older snapshots what was there, and increments are told of it', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await writeAt(folder, volume, FROM, MIB);
    await make(volume, 'older');
    const before = await readAll(volume);
    const set = join(folder, 'set');
    const backUp = (name: string, ...flags: string[]) =>
      ok('backup', 'create', volume, '--output', `${set}/`, '--name', name, '--all-blocks', ...flags);
    await backUp('one');
    // In use, as far as anybody can tell: it has content, and no filesystem says that nobody uses it.
    const refused = await runJson(['snapshot', 'create', volume, '--name', 'range', ...RANGE]);
    expect(refused.json.error).toMatchObject({ code: 'REFUSED', message: expect.stringContaining('in use') });
    const served = await serve(folder, volume);
    const client = await NbdDevice.open(served.uri, { readOnly: false });
    await client.trim(FROM, MIB);
    await client.close();
    await make(volume, 'range', ...RANGE);
    await served.stop();
    await writeAt(folder, volume, 0, 300_000);
    expect(Buffer.compare(await snapshotOf(volume, 'older'), before)).toBe(0);
    const restored = async (name: string) => {
      const path = join(folder, `${name}.img`);
      await ok('backup', 'restore', set, '--name', name, '--to', path);
      return readFile(path);
    };
    await backUp('two', '--since', 'one');
    expect(Buffer.compare(await restored('two'), await readAll(volume))).toBe(0);
    await writeAt(folder, volume, 500_000, 300_000);
    await ok('snapshot', 'delete', volume, '--name', 'range');
    await backUp('three', '--since', 'two');
    expect(Buffer.compare(await restored('three'), await readAll(volume))).toBe(0);
    expect(Buffer.compare(await snapshotOf(volume, 'older'), before)).toBe(0);
  });

  it('a cut before the range was zeroed is made up for by the next opening', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await make(volume, 'range', ...RANGE);
    await writeAt(folder, volume, 0, 300_000);
    const list = join(volume, 'snapshots', 'snapshots.json');
    const cut = { ...(await listOf(volume)), moments: [] };
    await writeFile(list, JSON.stringify(cut));
    // Who only reads cannot do it, and sees zeroes all the same.
    expect(isZero(inRange(await readAll(volume)))).toBe(true);
    expect((await listOf(volume)).ranges).toHaveLength(1);
    await writeAt(folder, volume, FROM, 1000);
    expect((await listOf(volume)).ranges).toEqual([]);
    const content = inRange(await readAll(volume));
    expect(isZero(content.subarray(0, 1000))).toBe(false);
    expect(isZero(content.subarray(1000))).toBe(true);
  });

  it('what a void list says of the volume is forgotten, and nothing is zeroed', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await make(volume, 'range', ...RANGE);
    await writeAt(folder, volume, 0, 300_000);
    const list = join(volume, 'snapshots', 'snapshots.json');
    const content = (await listOf(volume)) as unknown as { sizeBytes: number };
    // As of another volume.
    await writeFile(list, JSON.stringify({ ...content, sizeBytes: content.sizeBytes + MIB }));
    await writeAt(folder, volume, 0, 1000);
    expect(await states(volume)).toEqual(['range unusable']);
    expect((await listOf(volume)).ranges).toEqual([]);
    expect(isZero(inRange(await readAll(volume)))).toBe(false);
  });

  it('is refused where the range is in use, taken, or none', LIMIT, async () => {
    const { folder, volume } = await filled(shape);
    await make(volume, 'range', ...RANGE);
    const code = async (...flags: string[]) =>
      (await runJson(['snapshot', 'create', volume, '--name', 'other', ...flags])).json.error?.code;
    const range = (from: number, length: number) => ['--container', `range:${from}+${length}`];
    expect(await code(...range(0, MIB))).toBe('REFUSED');
    expect(await code(...range(FROM + MIB, 4 * MIB))).toBe('REFUSED');
    expect(await code(...range(512, MIB))).toBe('USAGE');
    expect(await code(...range(31 * MIB, 2 * MIB))).toBe('USAGE');
    expect(await code(...range(20 * MIB, MIB), '--on-overflow', 'grow')).toBe('USAGE');
    expect(await code(...range(20 * MIB, MIB), '--container-size', '64KiB')).toBe('USAGE');
    expect(await code('--container', 'none')).toBe('USAGE');
    expect(await states(volume)).toEqual(['range good']);
    const served = await serve(folder, volume);
    const backup = (from: number) =>
      runJson(['backup', 'create', volume, '--output', join(folder, 'b.img'), ...range(from, MIB)]);
    expect((await backup(FROM + MIB)).json.error).toMatchObject({
      code: 'REFUSED',
      message: expect.stringContaining('a snapshot has its container'),
    });
    expect((await backup(FROM + LENGTH)).exitCode).toBe(0);
    await served.stop();
  });
});

it('is refused where the list names a range that is not within the volume', LIMIT, async () => {
  const { volume } = await filled(ONE);
  await ok('snapshot', 'create', volume, '--name', 'range', ...RANGE);
  const list = join(volume, 'snapshots', 'snapshots.json');
  const text = await readFile(list, 'utf8');
  const codeOf = async (...args: string[]) => (await runJson(args)).json.error?.code;
  // None that is claimed.
  await writeFile(list, text.replace(`range:${FROM}+${LENGTH}`, `range:${FROM}+${LENGTH / 2}`));
  expect(await codeOf('read', volume, '--snapshot', 'range', '--output', '-')).toBe('METADATA_DAMAGED');
  for (const [offset, length] of [
    [FROM, 64 * MIB],
    [FROM + 512, LENGTH],
    [FROM, 0],
  ]) {
    const content = JSON.parse(text);
    await writeFile(list, JSON.stringify({ ...content, ranges: [{ offset, length }] }));
    expect(await codeOf('snapshot', 'list', volume)).toBe('METADATA_DAMAGED');
  }
  await writeFile(list, text.replace(`range:${FROM}+${LENGTH}`, 'somewhere'));
  expect((await runJson(['snapshot', 'list', volume])).json.error?.code).toBe('METADATA_DAMAGED');
});
