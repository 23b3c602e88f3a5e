/** Replicas as a user has them: on the command line, over a server, promoted, and after either side was killed. */
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { copyFile, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { compileFailingCalls } from '../support/failing-calls.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { type Served, serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { notTested } from '../support/volumes.js';
import { Writing } from '../support/writing.js';

const BLOCK_BYTES = 4096;
/** null: there is no compiler here. */
const failing = compileFailingCalls(await temporaryFolder());

interface Made {
  readonly folder: string;
  readonly volume: string;
  readonly second: string;
}

interface Listed {
  readonly state: string;
  readonly dirtyBlocks: number;
  readonly reason: string | null;
}

/** With some content. */
async function newVolume(members = '1'): Promise<Made> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  await ok('create', volume, '--members', members, '--size', '16MiB');
  await write({ volume, folder }, 5000, randomBytes(1_000_000));
  return { folder, volume, second: join(folder, 'second.img') };
}

/** With a replica that is in sync. */
async function newReplicated(members?: string): Promise<Made> {
  const made = await newVolume(members);
  await ok('replica', 'add', made.volume, '--to', made.second);
  await ok('replica', 'sync', made.volume);
  return made;
}

async function write(
  { volume, folder }: Omit<Made, 'second'>,
  offset: number,
  bytes: Uint8Array,
): Promise<unknown> {
  const input = join(folder, 'input');
  await writeFile(input, bytes);
  return ok('write', volume, '--input', input, '--offset', String(offset));
}

async function listed(volume: string): Promise<Listed> {
  const { json } = await runJson(['replica', 'status', volume]);
  const [only] = (json.result as { replicas: Listed[] }).replicas;
  return only!;
}

async function contentOf(volume: string, folder: string): Promise<Buffer> {
  const output = join(folder, 'output');
  await ok('read', volume, '--output', output);
  return readFile(output);
}

async function expectAlike({ volume, second, folder }: Made): Promise<void> {
  const [a, b] = [await contentOf(volume, folder), await readFile(second)];
  expect(Buffer.compare(a, b.subarray(0, a.length))).toBe(0);
}

describe.each(['1', '3'])('a volume of %s members', { timeout: 240_000 }, (members) => {
  it('gets a replica, and what is written later', async () => {
    const made = await newVolume(members);
    await ok('replica', 'add', made.volume, '--to', made.second);
    expect(await ok('replica', 'sync', made.volume)).toMatchObject({ name: 'replica-1' });
    await expectAlike(made);
    await write(made, 3_000_000, randomBytes(70_000));
    await expectAlike(made);
    expect(await listed(made.volume)).toMatchObject({ state: 'in-sync', dirtyBlocks: 0, reason: null });
    expect((await runHoldfast(['status', made.volume])).exitCode).toBe(0);
  });

  it('copies what was written while it was away, and nothing else', async () => {
    const made = await newReplicated(members);
    await rename(made.second, `${made.second}.away`);
    await write(made, 10 * BLOCK_BYTES, randomBytes(3 * BLOCK_BYTES));
    await write(made, 100 * BLOCK_BYTES + 1, randomBytes(10));
    expect(await listed(made.volume)).toMatchObject({ state: 'unsynchronized', dirtyBlocks: 4 });
    const status = await runHoldfast(['status', made.volume]);
    expect(status).toMatchObject({ exitCode: 3, stdout: expect.stringContaining('unsynchronized') });
    await rename(`${made.second}.away`, made.second);
    const synced = await ok('replica', 'sync', made.volume);
    expect(synced).toMatchObject({ copiedBlocks: 4, copiedBytes: 4 * BLOCK_BYTES });
    await expectAlike(made);
  });
});

describe('verify', { timeout: 240_000 }, () => {
  it('lists what differs, and copies it with --repair', async () => {
    const made = await newReplicated();
    const file = await open(made.second, 'r+');
    await file.write(Buffer.from('rot'), 0, 3, 7 * BLOCK_BYTES - 1);
    await file.close();
    const { json } = await runJson(['replica', 'verify', made.volume]);
    const ranges = [{ offsetBytes: 6 * BLOCK_BYTES, lengthBytes: 2 * BLOCK_BYTES }];
    expect(json).toMatchObject({ exitCode: 3, result: { differingBlocks: 2, repairedBlocks: 0, ranges } });
    expect(await ok('replica', 'verify', made.volume, '--repair')).toMatchObject({ repairedBlocks: 2 });
    expect(await ok('replica', 'verify', made.volume)).toMatchObject({ differingBlocks: 0 });
    await expectAlike(made);
  });
});

describe('promote', { timeout: 240_000 }, () => {
  it('makes a volume of its own, which its primary knows and leaves alone', async () => {
    const made = await newReplicated();
    const refused = await runJson(['write', made.second, '--input', join(made.folder, 'input')]);
    expect(refused.json).toMatchObject({ exitCode: 1, error: { code: 'REFUSED' } });
    const promoted = await ok('replica', 'promote', made.second, '--yes');
    expect(promoted).toMatchObject({
      generation: 2,
      wasPromoted: false,
      point: { epoch: expect.any(Number) },
    });
    expect(await ok('replica', 'promote', made.second, '--yes')).toMatchObject({ wasPromoted: true });
    const own = randomBytes(5000);
    await write({ volume: made.second, folder: made.folder }, 0, own);
    await write(made, 0, randomBytes(5000));
    expect(await listed(made.volume)).toMatchObject({ state: 'diverged' });
    expect(Buffer.compare((await readFile(made.second)).subarray(0, 5000), own)).toBe(0);
  });

  it('and its primary comes back as a secondary, when what it wrote is given up by name', async () => {
    const made = await newReplicated();
    const { volume, second, folder } = made;
    await ok('replica', 'promote', second, '--yes');
    await write({ volume: second, folder }, 0, randomBytes(5000));
    await write(made, 8 * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    const explained = await runHoldfast(['replica', 'status', volume, '--explain']);
    expect(explained.exitCode).toBe(3);
    for (const line of [
      'changed here  1 block: 4096 at 32768',
      'changed there 2 blocks: 8192 at 0',
      '--discard-changes',
    ])
      expect(explained.stdout).toContain(line);
    expect((await runJson(['replica', 'resume', volume])).json).toMatchObject({
      error: { code: 'REFUSED', details: { changedBlocksHere: 1, changedBlocksThere: 2 } },
    });
    for (const to of [volume, join(volume, 'disk.img')])
      expect((await runJson(['replica', 'add', second, '--to', to])).json).toMatchObject({
        error: { code: 'REFUSED', details: { discardedBlocks: 1 } },
      });
    const back = ['replica', 'add', second, '--to', volume, '--discard-changes'];
    // Only what the command has is offered.
    expect((await runJson(back)).json).toMatchObject({ exitCode: 2, error: { hint: 'add --yes to do it' } });
    expect(await ok(...back, '--yes')).toMatchObject({ discardedBlocks: 1 });
    await ok('replica', 'sync', second);
    expect(Buffer.compare(await readFile(second), await readFile(join(volume, 'disk.img')))).toBe(0);
    expect(await listed(second)).toMatchObject({ state: 'in-sync', to: join(volume, 'disk.img') });
  });
});

describe('a synchronous replica with --on-loss stop', { timeout: 240_000 }, () => {
  it('has writes from the first one on, refuses them while it is away, and not while it is paused', async () => {
    const made = await newVolume();
    const { volume, second, folder } = made;
    await ok('replica', 'add', volume, '--to', second, '--mode', 'sync', '--on-loss', 'stop');
    await write(made, 3 * BLOCK_BYTES, randomBytes(9000));
    await expectAlike(made);
    await rename(second, `${second}.away`);
    const refused = (await runJson(['write', volume, '--input', join(folder, 'input')])).json;
    expect(refused).toMatchObject({
      exitCode: 1,
      error: { code: 'REFUSED', details: { replica: 'replica-1' } },
    });
    await ok('replica', 'pause', volume);
    await write(made, 0, randomBytes(9000));
    await rename(`${second}.away`, second);
    await ok('replica', 'resume', volume);
    await ok('replica', 'sync', volume);
    await expectAlike(made);
  });
});

async function killed({ child }: Served, client: NbdDevice): Promise<void> {
  child.kill('SIGKILL');
  await once(child, 'exit');
  await client.close().catch(() => {});
}

describe('a volume that is served', { timeout: 240_000 }, () => {
  it('gets replicas online where it is tracked, sends what clients write, and survives a kill -9', async () => {
    const made = await newVolume('3');
    const { folder, volume, second } = made;
    await ok('replica', 'tracking', 'enable', volume);
    const served = await serve(folder, volume);
    await ok('replica', 'add', volume, '--to', second);
    const client = await NbdDevice.open(served.uri, { readOnly: false });
    for (let n = 0; n < 50; n++) await client.write(n * 65536, randomBytes(20480));
    await client.flush();
    await ok('replica', 'sync', volume);
    expect(await listed(volume)).toMatchObject({ state: 'in-sync' });
    expect(await ok('status', volume)).toMatchObject({ serving: { cache: { dirtyBytes: 0 } } });
    for (let n = 0; n < 50; n++) await client.write(n * 65536, randomBytes(512));
    await killed(served, client);
    const { copiedBlocks } = await ok('replica', 'sync', volume, '--method', 'copy-on-read');
    // At most what was in flight, one block for each write.
    expect(copiedBlocks).toBeLessThanOrEqual(50);
    await expectAlike(made);
  });

  it('has on disk what sync has said: nothing of it is copied again after a kill -9', async () => {
    const made = await newVolume('3');
    const { folder, volume, second } = made;
    await ok('replica', 'tracking', 'enable', volume);
    const served = await serve(folder, volume);
    await ok('replica', 'add', volume, '--to', second);
    await ok('replica', 'sync', volume);
    const client = await NbdDevice.open(served.uri, { readOnly: false });
    for (let n = 0; n < 50; n++) await client.write(n * 65536, randomBytes(20480));
    await ok('replica', 'sync', volume);
    await killed(served, client);
    expect(await listed(volume)).toMatchObject({ dirtyBlocks: 0 });
    expect(await ok('replica', 'sync', volume)).toMatchObject({ copiedBlocks: 0 });
    await expectAlike(made);
  });

  it.each(['1', '3'])(
    'of %s members that was not tracked gets replicas while a client writes, and survives a kill -9',
    async (members) => {
      const made = await newVolume(members);
      const { folder, volume, second } = made;
      const served = await serve(folder, volume);
      const client = await NbdDevice.open(served.uri, { readOnly: false, isFile: true });
      const writing = await Writing.begin(client);
      expect(await writing.during(ok('replica', 'tracking', 'enable', volume))).toEqual({ enabled: true });
      expect(await ok('replica', 'tracking', 'enable', volume)).toEqual({ enabled: false });
      await writing.during(ok('replica', 'add', volume, '--to', second));
      await writing.during(ok('replica', 'sync', volume));
      await writing.end();
      expect(await ok('replica', 'verify', volume)).toMatchObject({ differingBlocks: 0 });
      expect(await ok('status', volume)).toMatchObject({ serving: { cache: { dirtyBytes: 0 } } });
      await writing.expectContent();
      for (let n = 0; n < 50; n++) await client.write(n * 65536 + 1, randomBytes(512));
      await killed(served, client);
      const { copiedBlocks } = await ok('replica', 'sync', volume);
      expect(copiedBlocks).toBeLessThanOrEqual(50);
      await expectAlike(made);
    },
  );

  it('and cannot be tracked is served as before', async () => {
    const { folder, volume, second } = await newVolume();
    const obstacle = join(volume, 'replication');
    await writeFile(obstacle, 'something else');
    const served = await serve(folder, volume);
    const client = await NbdDevice.open(served.uri, { readOnly: false, isFile: true });
    const writing = await Writing.begin(client);
    const add = ['replica', 'add', volume, '--to', second];
    expect((await writing.during(runJson(add))).json).toMatchObject({ error: { code: expect.any(String) } });
    expect(await readFile(obstacle, 'utf8')).toBe('something else');
    await rm(obstacle);
    await writing.during(ok(...add));
    await ok('replica', 'sync', volume);
    const { json } = await runJson(['replica', 'tracking', 'disable', volume]);
    expect(json).toMatchObject({
      error: { code: 'REFUSED', hint: 'Stop the server, then disable tracking.' },
    });
    await writing.end();
    await writing.expectContent();
    await client.close();
    await served.stop();
    await expectAlike({ folder, volume, second });
  });
});

describe('mistakes', { timeout: 240_000 }, () => {
  it('a secondary that is not blank, too short, or in use; a name that is taken, or none', async () => {
    const { folder, volume, second } = await newVolume();
    const used = join(folder, 'used.img');
    await copyFile(join(volume, 'disk.img'), used);
    const short = join(folder, 'short.img');
    await writeFile(short, new Uint8Array(8192));
    const attempt = async (...args: string[]) => (await runJson(args)).json;
    expect(await attempt('replica', 'add', volume, '--to', used)).toMatchObject({
      exitCode: 1,
      error: { code: 'NOT_BLANK', details: { offsetBytes: 5000 } },
    });
    expect(await attempt('replica', 'add', volume, '--to', short)).toMatchObject({
      error: { code: 'REFUSED' },
    });
    expect(await attempt('replica', 'add', volume, '--to', join(volume, 'disk.img'))).toMatchObject({
      exitCode: 11,
    });
    await ok('replica', 'add', volume, '--to', second, '--name', 'a');
    expect(await attempt('replica', 'add', volume, '--to', join(folder, 'b'), '--name', 'a')).toMatchObject({
      error: { code: 'FILE_EXISTS' },
    });
    expect(await attempt('replica', 'add', volume, '--to', second)).toMatchObject({
      error: { code: 'REFUSED', details: { replica: 'a' } },
    });
    expect(await attempt('replica', 'sync', volume, '--name', 'b')).toMatchObject({ exitCode: 10 });
    expect(await attempt('replica', 'tracking', 'disable', volume)).toMatchObject({
      error: { code: 'REFUSED' },
    });
    await ok('replica', 'add', volume, '--to', used, '--name', 'c', '--force', '--yes');
    await ok('replica', 'sync', volume, '--name', 'c');
    await expectAlike({ folder, volume, second: used });
  });

  it('a replica that was being added when the process was killed', async () => {
    if (failing === null) return notTested('a kill amid replica add', 'there is no compiler');
    const made = await newVolume();
    const { volume, second } = made;
    const add = ['replica', 'add', volume, '--to', second];
    for (const after of [0, 1]) {
      const env = failing({ files: '/marks', calls: 'w', after, signal: 'SIGKILL' });
      expect((await runHoldfast(add, { env })).exitCode).toBe(137);
      await ok('read', second, '--output', join(made.folder, 'output'));
    }
    await ok(...add);
    await ok('replica', 'sync', volume);
    await expectAlike(made);
  });

  it('a map that is damaged means that all is copied, and says so', async () => {
    const made = await newReplicated();
    await writeFile(join(made.volume, 'replication', 'replica-1.dirty'), Buffer.alloc(16384, 7));
    const { json } = await runJson(['replica', 'sync', made.volume]);
    expect(json).toMatchObject({ exitCode: 0, result: { copiedBlocks: 4096 } });
    expect(json.warnings?.join()).toContain('all 4096 blocks');
    await expectAlike(made);
  });
});
