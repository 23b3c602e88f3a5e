/**
 * Members that come and go while their volume is served and written: clients see no error, and an image that has left is
 * nobody's: the server has closed it, and it can be used elsewhere, or come in again.
 */
import { readdir, readFile, readlink } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { ImageFile } from '../../src/device/image-file.js';
import { NbdDevice } from '../../src/nbd/client/nbd-device.js';
import { SeededRandom } from '../support/devices/seeded-random.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { type Served, serve } from '../support/served.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { readAll, statusOf } from '../support/volumes.js';

const BLOCK = 4096;
const WRITERS = 4;

/** Writes all over a disk without a pause, several at a time, and knows what it must hold. */
class Traffic {
  count = 0;
  #isOver = false;
  readonly #ends: Promise<void>[];

  private constructor(
    private readonly disk: NbdDevice,
    readonly content: Buffer,
  ) {
    this.#ends = Array.from({ length: WRITERS }, (_, lane) => this.#write(lane));
    // Looked at by `stop`, and not lost meanwhile.
    for (const end of this.#ends) end.catch(() => undefined);
  }

  static async on(uri: string): Promise<Traffic> {
    const disk = await NbdDevice.open(uri, { readOnly: false, reconnect: { tries: 0 } });
    return new Traffic(disk, Buffer.alloc(disk.size));
  }

  /** Throws the first error that a writer was told. */
  async stop(): Promise<void> {
    this.#isOver = true;
    await Promise.all(this.#ends);
    await this.disk.flush();
    await this.disk.close();
  }

  /** Each in blocks of its own, so that what is written last is known. */
  async #write(lane: number): Promise<void> {
    const random = new SeededRandom(lane);
    const blocks = Math.floor(this.disk.size / BLOCK / WRITERS);
    while (!this.#isOver) {
      const at = (random.below(blocks) * WRITERS + lane) * BLOCK;
      const bytes = Buffer.alloc(BLOCK, `${this.count++} at ${at};`);
      await this.disk.write(at, bytes);
      bytes.copy(this.content, at);
    }
  }
}

interface Stage {
  readonly volume: string;
  readonly served: Served;
  readonly traffic: Traffic;
  image(name: string): string;
}

/** A volume of four members, served, under traffic. `before`: what is done to it first. */
async function stage(before: (volume: string) => Promise<unknown> = async () => undefined): Promise<Stage> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  await succeed('create', volume, '--members', '4', '--size', '12MiB');
  await before(volume);
  const served = await serve(folder, volume);
  const traffic = await Traffic.on(served.uri);
  return { volume, served, traffic, image: (name) => join(volume, name) };
}

/** All went well: the volume is clean and whole, its parity is right, and it holds what was written. */
async function ended({ volume, served, traffic }: Stage): Promise<void> {
  await traffic.stop();
  expect(traffic.count).toBeGreaterThan(0);
  expect(await served.stop()).toMatchObject({ exitCode: 0 });
  expect(await statusOf(volume)).toMatchObject({ exitCode: 0, state: 'clean', dirtyStripes: 0 });
  expect((await runJson(['scrub', volume])).json).toMatchObject({
    exitCode: 0,
    result: { mismatchCount: 0, mismatchedStripes: 0 },
  });
  expect(Buffer.compare(await readAll(volume), traffic.content)).toBe(0);
}

async function succeed(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { json } = await runJson(args);
  expect(json.error).toBeUndefined();
  return json.result!;
}

async function member(volume: string, command: string, ...args: readonly string[]) {
  return succeed('member', command, volume, ...args, '--yes');
}

/** How many descriptors of the image the server has. */
async function descriptors({ served }: Stage, image: string): Promise<number> {
  const at = `/proc/${served.child.pid}/fd`;
  const links = await Promise.all(
    // One that was closed meanwhile is none.
    (await readdir(at)).map((fd) => readlink(join(at, fd)).catch(() => '')),
  );
  return links.filter((link) => link === image).length;
}

/** Nobody has it open, and nobody has it locked. */
async function isFree(stage: Stage, image: string): Promise<void> {
  expect(await descriptors(stage, image)).toBe(0);
  await (await ImageFile.open(image, { readOnly: false })).close();
}

async function listed(volume: string): Promise<string[]> {
  return (JSON.parse(await readFile(join(volume, 'holdfast.json'), 'utf8')) as { images: string[] }).images;
}

describe('while a client writes to a volume that is served', { timeout: 120_000 }, () => {
  it('a member that failed is removed, is free then, and can be added again', async () => {
    const at = await stage();
    const { volume, image } = at;
    await member(volume, 'fail', '--slot', '1');
    expect(await descriptors(at, image('member-1.img'))).toBeGreaterThan(0);
    expect(await member(volume, 'remove', '--slot', '1')).toEqual({
      slot: 1,
      image: image('member-1.img'),
      wasState: 'faulty',
    });
    await isFree(at, image('member-1.img'));
    const twice = await runHoldfast(['member', 'remove', volume, '--slot', '1', '--yes']);
    expect(twice).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('could be removed') });
    expect(await member(volume, 'add', '--image', image('member-1.img'))).toMatchObject({ slot: 1 });
    expect(await descriptors(at, image('member-1.img'))).toBeGreaterThan(0);
    await ended(at);
    expect(new Set(await listed(volume))).toEqual(new Set([0, 1, 2, 3].map((slot) => `member-${slot}.img`)));
  });

  it('a member that came meanwhile fails, is removed, and is added again', async () => {
    const at = await stage();
    const { volume, image } = at;
    await member(volume, 'fail', '--slot', '2');
    await member(volume, 'add', '--image', image('new.img'));
    // Who was made good for can be removed too, by any path that leads to it.
    expect(await member(volume, 'remove', '--image', `${volume}/./member-2.img`)).toMatchObject({ slot: 2 });
    await isFree(at, image('member-2.img'));
    await member(volume, 'fail', '--slot', '2');
    expect(await member(volume, 'remove', '--slot', '2')).toMatchObject({ image: image('new.img') });
    await isFree(at, image('new.img'));
    await member(volume, 'add', '--image', image('new.img'));
    // Without being removed first.
    await member(volume, 'fail', '--slot', '2');
    await member(volume, 'add', '--image', image('new.img'));
    await ended(at);
    expect(await listed(volume)).toEqual(['member-0.img', 'member-1.img', 'member-3.img', 'new.img']);
  });

  it('a member is replaced, the one that it replaced is removed, and comes back for another', async () => {
    const at = await stage();
    const { volume, image } = at;
    expect(await member(volume, 'replace', '--slot', '3', '--image', image('new.img'))).toMatchObject({
      slot: 3,
    });
    const serving = await runHoldfast(['member', 'remove', volume, '--image', image('new.img'), '--yes']);
    expect(serving).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('could be removed') });
    expect(await member(volume, 'remove', '--slot', '3')).toMatchObject({ image: image('member-3.img') });
    await isFree(at, image('member-3.img'));
    await member(volume, 'replace', '--slot', '0', '--image', image('member-3.img'));
    await member(volume, 'remove', '--image', image('member-0.img'));
    await isFree(at, image('member-0.img'));
    await ended(at);
    expect(await listed(volume)).toEqual(['member-1.img', 'member-2.img', 'new.img', 'member-3.img']);
  });

  it('spares are removed, and are spares no more: one that was there, and one that came meanwhile', async () => {
    const at = await stage((volume) => member(volume, 'add', '--image', join(volume, 'first.img')));
    const { volume, image } = at;
    for (const spare of [image('first.img'), image('second.img')]) {
      if (spare === image('second.img')) await member(volume, 'add', '--image', spare);
      expect(await member(volume, 'remove', '--image', spare)).toMatchObject({
        slot: null,
        wasState: 'spare',
      });
      await isFree(at, spare);
      expect((await statusOf(volume)).members.filter(({ state }) => state === 'spare')).toEqual([]);
    }
    await member(volume, 'add', '--image', image('second.img'));
    await member(volume, 'fail', '--slot', '0');
    expect(await member(volume, 'add')).toMatchObject({ slot: 0, image: image('second.img') });
    await ended(at);
  });

  it('an image that was stale when the server was started is removed', async () => {
    const at = await stage((volume) => member(volume, 'fail', '--slot', '1'));
    const { volume, image } = at;
    expect(await member(volume, 'remove', '--slot', '1')).toMatchObject({ image: image('member-1.img') });
    await isFree(at, image('member-1.img'));
    await member(volume, 'add', '--image', image('member-1.img'));
    await ended(at);
  });
});
