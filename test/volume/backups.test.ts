/** Backups, as a user takes them: at rest, and of volumes that are served and written meanwhile. */
import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { BLOCK_BYTES, filled, MIB, ONE, RAID } from '../support/backups.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { type Served, serve } from '../support/served.js';
import { readAll } from '../support/volumes.js';

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

describe('a backup set', { timeout: 60_000 }, () => {
  it('has a backup since another one, of a volume that is written, with what differs alone', async () => {
    const { folder, volume } = await filled(RAID, 8 * MIB);
    const set = join(folder, 'set');
    await ok('backup', 'create', volume, '--output', `${set}/`, '--name', 'monday');
    const server = await serve(folder, volume);
    const client = await NbdDevice.open(server.uri, { readOnly: false });
    for (const block of [10, 11, 900]) await client.write(block * BLOCK_BYTES, randomBytes(BLOCK_BYTES));
    await ok('backup', 'create', volume, '--output', set, '--name', 'tuesday', '--since', 'monday');
    const { backups } = (await ok('backup', 'list', set)) as { backups: object[] };
    expect(backups).toMatchObject([
      { name: 'monday', parent: null, state: 'good' },
      { name: 'tuesday', parent: 'monday', state: 'good', dataBytes: 3 * BLOCK_BYTES },
    ]);
    await client.close();
    await server.stop();
    const image = join(folder, 'back.img');
    await ok('backup', 'restore', set, '--name', 'tuesday', '--to', image);
    expect(Buffer.compare(await readFile(image), await readAll(volume))).toBe(0);
  });

  it('lists what was cancelled as that, and refuses what it has not', async () => {
    const { folder, volume } = await filled(ONE, 30 * MIB);
    const set = join(folder, 'set');
    const server = await serve(folder, volume);
    const { ended } = await slowly(volume, `${set}/`, '--name', 'monday');
    await ok('backup', 'cancel', volume);
    expect((await ended).exitCode).toBe(130);
    const { backups } = (await ok('backup', 'list', set)) as { backups: object[] };
    expect(backups).toMatchObject([{ name: 'monday', state: 'cancelled' }]);
    const since = (name: string, output = set) =>
      runJson(['backup', 'create', volume, '--output', output, '--since', name]);
    expect((await since('monday')).exitCode).not.toBe(0);
    expect(await since('sunday')).toMatchObject({ exitCode: 10 });
    expect(await since('monday', join(folder, 'copy.img'))).toMatchObject({ exitCode: 2 });
    expect((await ok('backup', 'list', set)).backups).toHaveLength(1);
    await server.stop();
  });
});
