/** Backups, as a user takes them: at rest, and of volumes that are served and written meanwhile. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { isInstalled } from '../nbd/client/servers.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { type Served, serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { readAll } from '../support/volumes.js';

const MIB = 1024 * 1024;
const BLOCK_BYTES = 4096;

async function filled(
  shape: readonly string[],
  contentBytes = 3 * MIB,
): Promise<{ folder: string; volume: string }> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  await ok('create', volume, ...shape);
  await writeFile(join(folder, 'content'), randomBytes(contentBytes));
  await ok('write', volume, '--offset', '5000', '--input', join(folder, 'content'));
  return { folder, volume };
}

const RAID = ['--members', '3', '--size', '32MiB', '--chunk', '16KiB'];
const ONE = ['--members', '1', '--size', '32MiB'];

describe.each([
  ['RAID-5', RAID],
  ['one image', ONE],
] as const)('a volume at rest on %s', (_, shape) => {
  it('is copied to the byte, and what is no data is no data', { timeout: 60_000 }, async () => {
    const { folder, volume } = await filled(shape);
    const image = join(folder, 'copy.img');
    const made = await ok('backup', 'create', volume, '--output', image);
    expect(Buffer.compare(await readFile(image), await readAll(volume))).toBe(0);
    expect(made).toMatchObject({
      name: 'copy.img',
      target: image,
      containerBytes: 0,
      isOnline: false,
      unreadable: [],
    });
    expect(made.copiedBytes).toBeLessThan(4 * MIB);
    expect((made.copiedBytes as number) + (made.skippedBytes as number)).toBe((await stat(image)).size);
    expect((await stat(image)).blocks * 512).toBeLessThan(5 * MIB);
  });

  it('is not copied over what is there, or over itself', { timeout: 60_000 }, async () => {
    const { folder, volume } = await filled(shape);
    const image = join(folder, 'copy.img');
    await writeFile(image, 'something else');
    expect(await runJson(['backup', 'create', volume, '--output', image])).toMatchObject({
      exitCode: 1,
      json: { error: { code: 'FILE_EXISTS' } },
    });
    expect(await readFile(image, 'utf8')).toBe('something else');
    const own = join(volume, shape === ONE ? 'disk.img' : 'member-0.img');
    expect(await runJson(['backup', 'create', volume, '--output', own, '--force', '--yes'])).toMatchObject({
      exitCode: 2,
      json: { error: { code: 'USAGE' } },
    });
    expect((await runHoldfast(['backup', 'create', volume, '--output', image, '--force'])).exitCode).not.toBe(
      0,
    );
    await ok('backup', 'create', volume, '--output', image, '--force', '--yes');
    expect(Buffer.compare(await readFile(image), await readAll(volume))).toBe(0);
  });
});

/** One write after another, each with the next number, each answered before the next. */
class Numbers {
  static readonly SLOTS = 64;
  answered = 0;
  begun = 0;
  isOver = false;

  constructor(
    private readonly client: NbdDevice,
    private readonly sizeBytes: number,
  ) {}

  async run(): Promise<void> {
    while (!this.isOver) {
      this.begun += 1;
      // Two blocks far from each other in one request cannot be: this one spans a chunk's border instead.
      const bytes = Buffer.alloc(2 * BLOCK_BYTES);
      bytes.writeUInt32BE(this.begun);
      bytes.writeUInt32BE(this.begun, BLOCK_BYTES);
      await this.client.write(Numbers.slotOffset(this.begun, this.sizeBytes), bytes);
      this.answered = this.begun;
    }
  }

  static slotOffset(n: number, sizeBytes: number): number {
    const apart = Math.floor(sizeBytes / 2 / Numbers.SLOTS / BLOCK_BYTES) * BLOCK_BYTES;
    return sizeBytes / 2 + (n % Numbers.SLOTS) * apart;
  }

  /** The newest that is there; it throws where that is no moment of what was written. */
  static momentIn(content: Buffer): number {
    const found: number[] = [];
    for (let slot = 0; slot < Numbers.SLOTS; slot++) {
      const at = Numbers.slotOffset(slot, content.length);
      const [first, second] = [content.readUInt32BE(at), content.readUInt32BE(at + BLOCK_BYTES)];
      if (first !== second) throw new Error(`a request is half there: ${first} and ${second}`);
      found.push(first);
    }
    const newest = Math.max(...found);
    for (const [slot, n] of found.entries()) {
      const expected = newest - ((((newest - slot) % Numbers.SLOTS) + Numbers.SLOTS) % Numbers.SLOTS);
      if (n !== Math.max(0, expected) && !(expected <= 0 && n === 0))
        throw new Error(`slot ${slot} has ${n}, and ${expected} was there when ${newest} was written`);
    }
    return newest;
  }
}

/** Writes all over the first half, many at a time. */
async function load(client: NbdDevice, isOver: () => boolean): Promise<void> {
  await Promise.all(
    Array.from({ length: 16 }, async () => {
      while (!isOver()) {
        const block = Math.floor((Math.random() * client.size) / 2 / BLOCK_BYTES - 8);
        await client.write(Math.max(0, block) * BLOCK_BYTES, randomBytes(BLOCK_BYTES * 4));
      }
    }),
  );
}

const half = (sizeBytes: number) => sizeBytes / 2;

describe.each([
  ['RAID-5', RAID, []],
  ['RAID-5, without a container', RAID, ['--container', 'none']],
  ['one image', ONE, []],
  ['one image, in memory that is soon full', ONE, ['--container', 'memory', '--container-size', '64KiB']],
  ['one image that is tracked', ONE, ['--container', 'memory']],
] as const)('a volume that is served and written, on %s', (name, shape, flags) => {
  it('is backed up as it was at one moment', { timeout: 120_000 }, async () => {
    const { folder, volume } = await filled(shape, 30 * MIB);
    if (name.includes('tracked')) await ok('replica', 'tracking', 'enable', volume);
    const server = await serve(folder, volume);
    const client = await NbdDevice.open(server.uri, { readOnly: false });
    await client.writeZeroes(half(client.size), half(client.size));
    const numbers = new Numbers(client, client.size);
    const writing = Promise.all([numbers.run(), load(client, () => numbers.isOver)]);
    for (let round = 0; round < 2; round++) {
      await wait(100);
      const image = join(folder, `copy-${round}.img`);
      const before = numbers.answered;
      const made = await ok('backup', 'create', volume, '--output', image, ...flags);
      const after = numbers.begun;
      const newest = Numbers.momentIn(await readFile(image));
      expect(newest).toBeGreaterThanOrEqual(before);
      expect(newest).toBeLessThanOrEqual(after);
      expect(made).toMatchObject({ isOnline: true, unreadable: [] });
      expect(existsSync(join(volume, 'backup', 'container'))).toBe(false);
    }
    numbers.isOver = true;
    await writing;
    await client.flush();
    const image = join(folder, 'last.img');
    await ok('backup', 'create', volume, '--output', image);
    expect(Buffer.compare(await readFile(image), await readAll(volume))).toBe(0);
    await client.close();
    expect((await server.stop()).exitCode).toBe(0);
  });
});

/** A backup that runs slowly, and its process. */
async function slowly(volume: string, image: string, ...flags: string[]) {
  let kill!: (signal: NodeJS.Signals) => void;
  const ended = runJson(['backup', 'create', volume, '--output', image, '--rate', '2MiB', ...flags], {
    onStart: (child) => {
      kill = (signal) => child.kill(signal);
    },
  });
  const limit = Date.now() + 20_000;
  for (;;) {
    const { backup } = (await ok('backup', 'status', volume)) as { backup: { phase: string } | null };
    if (backup?.phase === 'copying') return { ended, kill };
    if (Date.now() > limit) throw new Error('it did not begin');
    await wait(20);
  }
}

describe('a backup that runs', { timeout: 120_000 }, () => {
  async function running(): Promise<{ folder: string; volume: string; image: string; server: Served }> {
    const { folder, volume } = await filled(ONE, 30 * MIB);
    return { folder, volume, image: join(folder, 'copy.img'), server: await serve(folder, volume) };
  }

  it('is seen, and cancelled by a command', async () => {
    const { volume, image, server } = await running();
    const { ended } = await slowly(volume, image);
    const { backup } = await ok('backup', 'status', volume);
    expect(backup).toMatchObject({
      name: 'copy.img',
      state: 'running',
      target: image,
      container: { usedBytes: 0 },
    });
    expect((backup as { doneBytes: number; totalBytes: number }).totalBytes).toBeGreaterThan(29 * MIB);
    expect(await ok('backup', 'cancel', volume)).toEqual({ cancelled: 'copy.img' });
    expect(await ended).toMatchObject({ exitCode: 130, json: { error: { code: 'INTERRUPTED' } } });
    for (const path of [image, `${image}.incomplete`]) expect(existsSync(path)).toBe(false);
    expect(await ok('backup', 'status', volume)).toEqual({ backup: null });
    expect(await runJson(['backup', 'cancel', volume])).toMatchObject({ exitCode: 10 });
    await server.stop();
  });

  it('ends with Ctrl-C of who asked for it', async () => {
    const { volume, image, server } = await running();
    const { ended, kill } = await slowly(volume, image);
    kill('SIGINT');
    expect((await ended).exitCode).toBe(130);
    while ((await ok('backup', 'status', volume)).backup !== null) await wait(20);
    for (const path of [image, `${image}.incomplete`]) expect(existsSync(path)).toBe(false);
    await server.stop();
  });

  it('is the only one', async () => {
    const { folder, volume, image, server } = await running();
    const { ended } = await slowly(volume, image);
    const second = await runJson(['backup', 'create', volume, '--output', join(folder, 'second.img')]);
    expect(second).toMatchObject({ exitCode: 11, json: { error: { code: 'IN_USE' } } });
    expect(existsSync(join(folder, 'second.img.incomplete'))).toBe(false);
    await ok('backup', 'cancel', volume);
    await ended;
    await server.stop();
  });

  it('leaves nothing that has its name when the server is killed', async () => {
    const { volume, image, server } = await running();
    const { ended } = await slowly(volume, image);
    await server.stop('SIGKILL');
    expect((await ended).exitCode).not.toBe(0);
    expect(existsSync(image)).toBe(false);
    await ok('backup', 'create', volume, '--output', image);
    expect(existsSync(`${image}.incomplete`)).toBe(false);
  });

  it('ends with the server, at its end', async () => {
    const { volume, image, server } = await running();
    const { ended } = await slowly(volume, image);
    expect((await server.stop()).exitCode).toBe(0);
    expect((await ended).exitCode).not.toBe(0);
    for (const path of [image, `${image}.incomplete`]) expect(existsSync(path)).toBe(false);
  });
});

describe('a container', { timeout: 60_000 }, () => {
  it('in a range of the volume is in no backup', async () => {
    const { folder, volume } = await filled(ONE, 20 * MIB);
    const server = await serve(folder, volume);
    const client = await NbdDevice.open(server.uri, { readOnly: false });
    const numbers = new Numbers(client, client.size);
    const before = (await readAll(volume)).subarray(0, MIB);
    const image = join(folder, 'copy.img');
    const run = ok(
      'backup',
      'create',
      volume,
      '--output',
      image,
      '--container',
      'range:31MiB+1MiB',
      '--rate',
      '64MiB',
    );
    await wait(100);
    for (let n = 0; n < 20; n++) await client.write(n * 3 * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await run;
    numbers.isOver = true;
    const content = await readFile(image);
    expect(content.subarray(31 * MIB).every((byte) => byte === 0)).toBe(true);
    expect(content.length).toBe(32 * MIB);
    expect(before.length).toBe(MIB);
    await client.close();
    await server.stop();
  });

  it.each([
    ['range:1+4096', /whole blocks/],
    ['range:31MiB+2MiB', /whole blocks/],
    ['range:5', /no range of the volume/],
  ])('that cannot be (%s) is refused', async (container, why) => {
    const { folder, volume } = await filled(ONE);
    const server = await serve(folder, volume);
    const image = join(folder, 'copy.img');
    const refused = await runJson(['backup', 'create', volume, '--output', image, '--container', container]);
    expect(refused).toMatchObject({ exitCode: 2, json: { error: { message: expect.stringMatching(why) } } });
    expect(existsSync(`${image}.incomplete`)).toBe(false);
    await server.stop();
  });

  it('that is there already is not overwritten', async () => {
    const { folder, volume } = await filled(ONE);
    const server = await serve(folder, volume);
    const container = join(folder, 'container');
    await writeFile(container, 'somebody else');
    const refused = await runJson([
      ...['backup', 'create', volume, '--output', join(folder, 'copy.img')],
      ...['--container', container],
    ]);
    expect(refused).toMatchObject({ exitCode: 1, json: { error: { code: 'NOT_BLANK' } } });
    expect(await readFile(container, 'utf8')).toBe('somebody else');
    await server.stop();
  });
});

describe('an export as the target', { timeout: 60_000 }, () => {
  it('is the volume at its moment, and refused where it is not blank or too small', async () => {
    const { folder, volume } = await filled(RAID);
    const other = join(folder, 'other');
    await ok('create', other, '--members', '1', '--size', '40MiB');
    const target = await serve(join(folder, 'other'), other);
    await ok('backup', 'create', volume, '--output', target.uri);
    const again = await runJson(['backup', 'create', volume, '--output', target.uri]);
    expect(again).toMatchObject({ json: { error: { code: 'NOT_BLANK' } } });
    await ok('backup', 'create', volume, '--output', target.uri, '--force', '--yes');
    const expected = await readAll(volume);
    expect(Buffer.compare((await readAll(other)).subarray(0, expected.length), expected)).toBe(0);
    await target.stop();
    const small = join(folder, 'small');
    await ok('create', small, '--members', '1', '--size', '4MiB');
    const tooSmall = await serve(small, small);
    expect(await runJson(['backup', 'create', volume, '--output', tooSmall.uri])).toMatchObject({
      json: { error: { code: 'REFUSED' } },
    });
    await tooSmall.stop();
  });

  it.runIf(isInstalled('qemu-nbd') && isInstalled('qemu-img'))('gives qcow2 by qemu-nbd', async () => {
    const { execFileSync, spawn } = await import('node:child_process');
    const { folder, volume } = await filled(RAID);
    const [image, socket, raw] = [
      join(folder, 'copy.qcow2'),
      join(folder, 'qemu.sock'),
      join(folder, 'copy.raw'),
    ];
    const expected = await readAll(volume);
    execFileSync('qemu-img', ['create', '-q', '-f', 'qcow2', image, String(expected.length)]);
    const child = spawn('qemu-nbd', ['-f', 'qcow2', '-k', socket, '-t', image], { stdio: 'ignore' });
    try {
      for (let tries = 0; !existsSync(socket) && tries < 200; tries++) await wait(25);
      await ok('backup', 'create', volume, '--output', `nbd+unix:///?socket=${socket}`);
    } finally {
      child.kill();
      await new Promise((resolve) => child.once('exit', resolve));
    }
    execFileSync('qemu-img', ['convert', '-f', 'qcow2', '-O', 'raw', image, raw]);
    expect(Buffer.compare(await readFile(raw), expected)).toBe(0);
  });
});

describe('a volume of files', { timeout: 120_000 }, () => {
  it('is backed up as it is at the last commit of every file, without its free extents', async () => {
    const folder = await temporaryFolder();
    const volume = join(folder, 'v');
    await ok('create', volume, '--format', 'extents', '--members', '3', '--size', '64MiB');
    await writeFile(join(folder, 'a'), randomBytes(5 * MIB));
    await ok('file', 'import', volume, 'a', '--input', join(folder, 'a'));
    await ok('file', 'import', volume, 'gone', '--input', join(folder, 'a'));
    await ok('file', 'remove', volume, 'gone', '--yes');
    const server = await serve(folder, volume, ['--export', 'a']);
    const client = await NbdDevice.open(server.uri, { readOnly: false });
    await client.write(0, Buffer.alloc(BLOCK_BYTES, 1));
    await client.flush();
    // Not committed: it is in no backup.
    await client.write(0, Buffer.alloc(BLOCK_BYTES, 2));
    const image = join(folder, 'copy.img');
    const made = await ok('backup', 'create', volume, '--output', image);
    expect(made.copiedBytes).toBeLessThan(9 * MIB);
    await client.close();
    await server.stop();
    await runHoldfast(['file', 'export', image, 'a', '--output', join(folder, 'back')]);
    const expected = await readFile(join(folder, 'a'));
    expected.fill(1, 0, BLOCK_BYTES);
    expect(Buffer.compare(await readFile(join(folder, 'back')), expected)).toBe(0);
    expect((await runHoldfast(['fsck', image, '-n'])).exitCode).toBe(0);
  });
});
