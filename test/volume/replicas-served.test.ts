/**
 * A secondary behind a server of ours, as a user has it: two processes, killed at bad moments. It holds what its primary held
 * at some earlier moment, and resync copies what differs and nothing else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { ServedPair } from '../support/replication/served-pair.js';
import { ok, runJson } from '../support/run-holdfast.js';
import { serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const BLOCK_BYTES = 4096;
const MIB = 1024 * 1024;
const BINARY = fileURLToPath(new URL('../../bin/run.js', import.meta.url));

describe('a secondary behind a server of ours', { timeout: 300_000 }, () => {
  it('becomes like the volume, says whose it is, and is promoted while it is served', async () => {
    const pair = await ServedPair.make();
    await pair.write(3_000_000, randomBytes(70_000));
    await pair.expectAlike();
    expect(await ok('replica', 'verify', pair.volume)).toMatchObject({ differingBlocks: 0 });
    const told = await pair.told();
    expect(told).toMatchObject({
      marks: { state: 'consistent' },
      trouble: null,
      logBytes: expect.any(Number),
    });
    expect(told.marks.point.epoch).toBeGreaterThan(1);
    const before = await readFile(pair.second);
    const promoted = await ok('replica', 'promote', pair.second, '--yes');
    expect(promoted).toMatchObject({
      generation: 2,
      wasPromoted: false,
      point: { epoch: told.marks.point.epoch },
    });
    await pair.write(0, randomBytes(5000));
    const { json } = await runJson(['replica', 'status', pair.volume]);
    expect(json).toMatchObject({ exitCode: 3, result: { replicas: [{ state: 'diverged' }] } });
    expect((await readFile(pair.second)).equals(before)).toBe(true);
  });

  it('whose server is killed while the volume is written gets what differs, and nothing else', () =>
    withSeed(async (random) => {
      const pair = await ServedPair.make();
      const primary = await serve(pair.folder, pair.volume);
      const client = await NbdDevice.open(primary.uri, { readOnly: false });
      const touched = new Set<number>();
      const write = async (count: number) => {
        for (let n = 0; n < count; n++) {
          const block = random.below(4096);
          touched.add(block);
          await client.write(block * BLOCK_BYTES, random.bytes(BLOCK_BYTES));
          if (random.chance(0.2)) await client.flush();
        }
      };
      await write(100);
      const writing = write(200);
      for (let turns = random.below(200); turns > 0; turns--) await new Promise((next) => setImmediate(next));
      await pair.kill();
      await writing;
      await client.flush();
      await pair.start();
      await ok('replica', 'sync', pair.volume);
      const { replicas } = (await ok('replica', 'status', pair.volume)) as {
        replicas: { copiedBlocks: number }[];
      };
      expect(replicas[0]!.copiedBlocks).toBeGreaterThan(0);
      // The first copy is not among them.
      expect(replicas[0]!.copiedBlocks).toBeLessThanOrEqual(touched.size);
      expect(await ok('replica', 'verify', pair.volume)).toMatchObject({ differingBlocks: 0 });
      await client.close();
      await primary.stop();
      await pair.expectAlike();
    }));

  it('whose server goes silent: pause and the end of the primary do not wait for it', async () => {
    const pair = await ServedPair.make({ flags: ['--late-after', '1'] });
    const primary = await serve(pair.folder, pair.volume);
    const client = await NbdDevice.open(primary.uri, { readOnly: false });
    const writeUnanswered = async () => {
      pair.signal('SIGSTOP');
      await client.write(0, randomBytes(MIB));
      await client.flush();
    };
    await writeUnanswered();
    await expectPrompt(() => ok('replica', 'pause', pair.volume));
    pair.signal('SIGCONT');
    await ok('replica', 'resume', pair.volume);
    await ok('replica', 'sync', pair.volume);
    expect(await ok('replica', 'verify', pair.volume)).toMatchObject({ differingBlocks: 0 });
    await writeUnanswered();
    await client.close();
    await expectPrompt(() => primary.stop());
    pair.signal('SIGCONT');
    await ok('replica', 'sync', pair.volume);
    await pair.expectAlike();
  });

  it('whose server is killed amid a resync is promoted to the point before it', async () => {
    const pair = await ServedPair.make({ flags: ['--rate', '1MiB'], size: '64MiB' });
    const before = await pair.content();
    await pair.expectAlike();
    await pair.kill();
    // Of a resync 16 MiB are an epoch: some are applied, and more are to come.
    await pair.write(2 * MIB, randomBytes(60 * MIB));
    await pair.start();
    const syncing = await resyncing(pair.volume);
    await expect.poll(async () => (await pair.told()).keptBlocks, { timeout: 60_000 }).toBeGreaterThan(0);
    expect((await pair.told()).marks.state).toBe('resyncing');
    await pair.kill();
    syncing.kill('SIGKILL');
    const promoted = await ok('replica', 'promote', pair.second, '--yes');
    expect(promoted).toMatchObject({ wasPromoted: false, point: { epoch: expect.any(Number) } });
    expect(promoted.restoredBlocks).toBeGreaterThan(0);
    expect((await readFile(pair.second)).equals(before)).toBe(true);
  });

  it('whose server is killed while it is written holds what its primary held at a moment', () =>
    withSeed(async (random) => {
      const SLOTS = 16;
      const pair = await ServedPair.make();
      const primary = await serve(pair.folder, pair.volume);
      const client = await NbdDevice.open(primary.uri, { readOnly: false });
      const record = (n: number) => {
        const bytes = Buffer.alloc(BLOCK_BYTES);
        for (let at = 0; at < BLOCK_BYTES; at += 4) bytes.writeUInt32BE(n, at);
        return bytes;
      };
      let last = 0;
      // Each is in the slot of its number, and durable before the next is written.
      const writeUpTo = async (most: number) => {
        for (; last < most; last++) {
          await client.write(((last + 1) % SLOTS) * 8 * BLOCK_BYTES, record(last + 1));
          await client.flush();
        }
      };
      await writeUpTo(40);
      await ok('replica', 'sync', pair.volume);
      const writing = writeUpTo(400);
      const enough = 60 + random.below(200);
      while (last < enough) await new Promise((next) => setImmediate(next));
      await pair.kill();
      await writing;
      await client.close();
      await primary.stop();
      await ok('replica', 'promote', pair.second, '--yes');
      const image = await readFile(pair.second);
      const found = Array.from({ length: SLOTS }, (_, slot) => image.readUInt32BE(slot * 8 * BLOCK_BYTES));
      const moment = Math.max(...found);
      expect(moment).toBeGreaterThanOrEqual(40);
      for (let slot = 0; slot < SLOTS; slot++) {
        const expected = moment - ((moment - slot) % SLOTS);
        const at = slot * 8 * BLOCK_BYTES;
        expect(image.subarray(at, at + BLOCK_BYTES).equals(record(expected))).toBe(true);
      }
    }));
});

/** Far less than what the connection alone would wait for an answer. */
async function expectPrompt(call: () => Promise<unknown>): Promise<void> {
  const startedMs = performance.now();
  await call();
  expect(performance.now() - startedMs).toBeLessThan(20_000);
}

/** A process that resyncs it, until it is killed. */
async function resyncing(volume: string): Promise<ChildProcess> {
  const child = spawn(process.execPath, [BINARY, 'replica', 'sync', volume], { stdio: 'ignore' });
  await once(child, 'spawn');
  onTestFinished(() => void child.kill('SIGKILL'));
  return child;
}

describe('mistakes', { timeout: 240_000 }, () => {
  it('what is no place: a directory, two images, none without a size, one of another size, a mode that it has not', async () => {
    const folder = await temporaryFolder();
    const image = join(folder, 'image');
    const attempt = async (...args: string[]) =>
      (await runJson(['serve', ...args, '--secondary', '--socket', join(folder, 's')])).json.error;
    expect(await attempt(folder)).toMatchObject({ code: 'UNSUPPORTED' });
    expect(await attempt(image, `${image}2`)).toMatchObject({ code: 'UNSUPPORTED' });
    expect(await attempt('nbd://localhost/x')).toMatchObject({ code: 'UNSUPPORTED' });
    expect(await attempt(image)).toMatchObject({ code: 'VOLUME_NOT_FOUND' });
    expect(await attempt(image, '--size', '1000')).toMatchObject({ code: 'USAGE' });
    await writeFile(image, Buffer.alloc(8192));
    expect(await attempt(image, '--size', '16KiB')).toMatchObject({ code: 'USAGE' });
    expect(await attempt(image, '--cache', 'writethrough')).toMatchObject({ code: 'USAGE' });
    expect(await attempt(image, '--read-only')).toMatchObject({ code: 'USAGE' });
  });

  it('a place that is served as something else, later', async () => {
    const pair = await ServedPair.make();
    await pair.kill();
    const { json } = await runJson(['serve', pair.second, '--socket', join(pair.folder, 's')]);
    expect(json).toMatchObject({
      exitCode: 1,
      error: { code: 'REFUSED', hint: expect.stringContaining('--secondary') },
    });
    const plain = await serve(join(pair.folder, 'elsewhere'), pair.second, ['--read-only']);
    const input = join(pair.folder, 'input');
    await writeFile(input, 'more');
    const { json: written } = await runJson(['write', pair.volume, '--input', input]);
    expect(written.exitCode).toBe(0);
    expect(written.warnings.join()).toContain('no place for secondaries');
    await plain.stop();
  });
});
