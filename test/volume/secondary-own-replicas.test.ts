/** The replicas that a secondary has of its own, in the server that offers it: sessions, states, and cuts amid a promote. */
import { randomBytes } from 'node:crypto';
import { readFile, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { makeFormer } from '../../src/volume/replication/generations/former-primary.js';
import { promoteImage } from '../../src/volume/replication/generations/promote.js';
import { placesOfImage } from '../../src/volume/replication/places.js';
import { type ReplicasContent, readReplicas } from '../../src/volume/replication/replicas-file.js';
import { type HostedSession, SecondaryHost } from '../../src/volume/replication/secondary/host.js';
import { ImagePlace, marksOf } from '../../src/volume/replication/secondary/image-place.js';
import { keptReplicas } from '../../src/volume/replication/secondary/own-list.js';
import { OWN_EPOCH_BYTES } from '../../src/volume/replication/secondary/own-replicas.js';
import { generationOf, type SecondaryToMake } from '../../src/volume/replication/secondary/place.js';
import type { ReplicaStatus } from '../../src/volume/replication/status.js';
import { VolumeReplicas } from '../../src/volume/replication/volume-replicas.js';
import { scratchDirectory } from '../support/devices/scratch.js';
import { AT_ONCE, newSecondary, PLACE_BYTES } from '../support/replication/hosted-place.js';

const BLOCK = 4096;

/** A secondary with one of its own, and its primary by hand. */
class Stand {
  host!: SecondaryHost;
  hungUp = 0;
  readonly warnings: string[] = [];

  private constructor(
    readonly folder: string,
    readonly ids: SecondaryToMake,
  ) {}

  static async make(ids: Partial<SecondaryToMake> = {}): Promise<Stand> {
    const stand = new Stand(await scratchDirectory(), newSecondary(ids));
    await stand.open();
    onTestFinished(() => stand.host.close());
    await stand.host.make(stand.ids);
    const session = await stand.join();
    await stand.resynced(session, async () => {});
    return stand;
  }

  get image(): string {
    return join(this.folder, 'second.img');
  }

  get third(): string {
    return join(this.folder, 'third.img');
  }

  async open(): Promise<void> {
    this.host = await SecondaryHost.open(this.image, PLACE_BYTES, {
      ...AT_ONCE,
      warn: (message) => this.warnings.push(message),
    });
  }

  join(): Promise<HostedSession> {
    const hangUp = () => {
      this.hungUp += 1;
    };
    return this.host.join(this.ids, { hangUp, ended: new Promise(() => {}) });
  }

  async resynced({ session }: HostedSession, amid: () => Promise<void>): Promise<void> {
    await this.host.beginResync(session);
    await amid();
    await this.host.endResync(session, this.ids.generation, 1000);
  }

  operate(name: string, args: object = {}): Promise<unknown> {
    const { signal } = new AbortController();
    return this.host.operate(name, args, { signal, onProgress: () => {}, warn: AT_ONCE.warn });
  }

  async withThird(): Promise<HostedSession> {
    await this.operate('replica tracking enable');
    await this.operate('replica add', { to: this.third, mode: 'async', onLoss: 'continue' });
    await this.operate('replica sync', { name: 'replica-1' });
    return this.join();
  }

  get told(): ReplicaStatus {
    return this.host.replicas()![0]!;
  }

  async expectAlike(): Promise<void> {
    await this.operate('replica sync', { name: 'replica-1' });
    const held = Buffer.alloc(PLACE_BYTES);
    await this.host.view.read(0, held);
    expect((await readFile(this.third)).equals(held)).toBe(true);
  }
}

describe('its primary', () => {
  it('joins anew when what is written begins to be tracked, and sends shorter epochs from then on', async () => {
    const stand = await Stand.make();
    const before = await stand.join();
    expect(await stand.operate('replica tracking enable')).toEqual({ enabled: true });
    expect(stand.hungUp).toBe(2);
    await expect(before.device.write(0, new Uint8Array(BLOCK))).rejects.toThrow();
    expect(await stand.operate('replica tracking enable')).toEqual({ enabled: false });
    const after = await stand.join();
    expect(before.epochBytes).toBeGreaterThan(OWN_EPOCH_BYTES);
    expect(after.epochBytes).toBeLessThan(OWN_EPOCH_BYTES);
  });

  it('writes what was not flushed to nobody: it is gone with the session', async () => {
    const stand = await Stand.make();
    const { device } = await stand.withThird();
    await device.write(0, randomBytes(BLOCK));
    await device.flush();
    await device.write(0, randomBytes(BLOCK));
    await stand.expectAlike();
    await stand.join();
    await stand.expectAlike();
    const held = Buffer.alloc(BLOCK);
    await stand.host.view.read(0, held);
    expect(held.equals(Buffer.alloc(BLOCK))).toBe(false);
  });

  it('waits for no replica: they are asynchronous', async () => {
    const stand = await Stand.make();
    await stand.operate('replica tracking enable');
    const waiting = { to: stand.third, mode: 'sync', onLoss: 'continue' };
    await expect(stand.operate('replica add', waiting)).rejects.toMatchObject({ code: 'USAGE' });
    expect(stand.host.replicas()).toEqual([]);
  });

  it('has no replica that has replicas: epochs would get longer with each step', async () => {
    const stand = await Stand.make();
    const { join: joinImage } = ImagePlace.prototype;
    vi.spyOn(ImagePlace.prototype, 'join').mockImplementation(async function (this: ImagePlace, identity) {
      return { ...(await joinImage.call(this, identity)), epochBytes: OWN_EPOCH_BYTES };
    });
    await stand.operate('replica tracking enable');
    await stand.operate('replica add', { to: stand.third, mode: 'async', onLoss: 'continue' });
    await expect(stand.operate('replica sync', { name: 'replica-1' })).rejects.toThrow('replicas of its own');
    vi.restoreAllMocks();
    await stand.host.close();
  });

  it('is not tracked any more when that is disabled, which replicas refuse', async () => {
    const stand = await Stand.make();
    expect(await stand.operate('replica tracking disable')).toEqual({ disabled: false });
    await stand.withThird();
    await expect(stand.operate('replica tracking disable')).rejects.toThrow('has replicas: replica-1');
    await stand.operate('replica remove', { name: 'replica-1' });
    expect(await stand.operate('replica tracking disable')).toEqual({ disabled: true });
    expect(stand.host.replicas()).toBeNull();
    expect((await stand.join()).epochBytes).toBeGreaterThan(OWN_EPOCH_BYTES);
  });

  it('has no epoch ended amid what it sends, whatever is asked of the replicas', async () => {
    const stand = await Stand.make();
    const { device } = await stand.withThird();
    const before = await readFile(stand.third);
    await device.write(0, randomBytes(BLOCK));
    await stand.operate('replica sync', { name: 'replica-1' });
    await stand.operate('replica verify', { name: 'replica-1' });
    expect((await readFile(stand.third)).equals(before)).toBe(true);
    await device.flush();
    await stand.operate('replica sync', { name: 'replica-1' });
    expect((await readFile(stand.third)).equals(before)).toBe(false);
  });

  it('leaves nobody at work on what it has closed', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    const fourth = join(stand.folder, 'fourth.img');
    const fifth = join(stand.folder, 'fifth.img');
    // Made while the place is opened anew: it comes back to what is closed.
    const { make } = ImagePlace.prototype;
    let go = () => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    vi.spyOn(ImagePlace.prototype, 'make').mockImplementationOnce(async function (this: ImagePlace, given) {
      await make.call(this, given);
      await gone;
    });
    const adding = stand.operate('replica add', { to: fourth, mode: 'async', onLoss: 'continue' });
    const ended = expect(adding).rejects.toMatchObject({ code: 'IO_ERROR' });
    await setTimeout(50);
    await stand.join();
    await ended;
    await stand.operate('replica add', { to: fifth, mode: 'async', onLoss: 'continue' });
    await stand.operate('replica sync', { name: 'replica-2' });
    go();
    await setTimeout(200);
    const listed = async () => (await readReplicas((await placesOfImage(stand.image)).replicas)).replicas;
    expect((await listed()).map(({ name, to }) => [name, to])).toEqual([
      ['replica-1', stand.third],
      ['replica-2', fifth],
    ]);
    await stand.host.close();
    await stand.open();
    await stand.operate('replica sync', { name: 'replica-2' });
  });

  it('takes it back after a promote from nobody who was at work before', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.operate('replica pause', { name: 'replica-1' });
    const { side } = ImagePlace.prototype;
    let go = () => {};
    const gone = new Promise<void>((resolve) => {
      go = resolve;
    });
    vi.spyOn(ImagePlace.prototype, 'side').mockImplementationOnce(async function (this: ImagePlace) {
      await gone;
      return side.call(this);
    });
    const resuming = stand.operate('replica resume', { name: 'replica-1' });
    const ended = expect(resuming).rejects.toMatchObject({ code: 'IO_ERROR' });
    await setTimeout(50);
    await stand.host.promote({ force: false });
    await ended;
    go();
    await setTimeout(200);
    const { former, generation, replicas } = await readReplicas((await placesOfImage(stand.image)).replicas);
    expect(former).not.toBeNull();
    expect(generation.number).toBe(stand.ids.generation.number + 1);
    expect(replicas.map(({ isPaused }) => isPaused)).toEqual([true]);
  });

  it('ends what is being done to its replicas by joining anew', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    vi.spyOn(VolumeReplicas.prototype, 'sync').mockReturnValueOnce(new Promise(() => {}));
    const syncing = stand.operate('replica sync', { name: 'replica-1' });
    const ended = expect(syncing).rejects.toThrow('it was closed');
    await stand.join();
    await ended;
    expect(stand.warnings).toEqual([]);
  });
});

describe('while it is made like its primary', () => {
  it('they are away, and get what was written meanwhile', async () => {
    const stand = await Stand.make();
    const session = await stand.withThird();
    const before = await readFile(stand.third);
    await stand.resynced(session, async () => {
      await session.device.write(8 * BLOCK, randomBytes(3 * BLOCK));
      await session.device.flush();
      expect(stand.told).toMatchObject({ state: 'unsynchronized', dirtyBlocks: 3 });
      expect(stand.told.reason).toContain('made like its primary');
      await expect(stand.operate('replica sync', { name: 'replica-1' })).rejects.toThrow('like its primary');
      expect((await readFile(stand.third)).equals(before)).toBe(true);
      // What is gathered when it ends is of it as well.
      await session.device.write(20 * BLOCK, randomBytes(BLOCK));
    });
    await stand.expectAlike();
  });

  it('they are away as well where it is opened amid that', async () => {
    const stand = await Stand.make();
    const session = await stand.withThird();
    await stand.host.beginResync(session.session);
    await session.device.write(0, randomBytes(BLOCK));
    await session.device.flush();
    await stand.host.close();
    expect(stand.warnings).toEqual([expect.stringContaining('1 blocks of 4096 bytes are to be copied')]);
    await stand.open();
    expect(stand.told).toMatchObject({ state: 'unsynchronized', dirtyBlocks: 1 });
    expect(stand.told.reason).toContain('made like its primary');
    await stand.resynced(await stand.join(), async () => {});
    await stand.expectAlike();
  });
});

describe('a promote', () => {
  it('keeps them, with what is dirty for them', async () => {
    const stand = await Stand.make();
    const { device } = await stand.withThird();
    await stand.operate('replica pause', { name: 'replica-1' });
    await device.write(4 * BLOCK, randomBytes(2 * BLOCK));
    await device.flush();
    await stand.host.promote({ force: false });
    expect(stand.host.replicas()).toBeNull();
    const { replicas, former } = await readReplicas((await placesOfImage(stand.image)).replicas);
    expect(former?.uuid).toBe(stand.ids.replicaUuid);
    expect(replicas.map(({ name, isPaused }) => [name, isPaused])).toEqual([['replica-1', true]]);
    const [kept] = await keptReplicas(stand.image, stand.ids, []);
    expect(kept!.dirty).toEqual([{ from: 4, count: 2 }]);
    await expect(stand.operate('replica add', {})).rejects.toThrow('a volume of its own');
  });

  it('that was cut has not taken them from the secondary', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.host.close();
    const places = await placesOfImage(stand.image);
    const { ofSecondary, volumeUuid, sizeBytes, generation } = await readReplicas(places.replicas);
    const content: Omit<ReplicasContent, 'replicas' | 'former'> = {
      ...{ formatVersion: 1, volumeUuid, sizeBytes, ofSecondary, parent: generation },
      generation: { number: generation.number + 1, id: '77'.repeat(16) },
    };
    const former = { uuid: ofSecondary!, sinceMs: 5, isMapLost: false };
    const kept = await keptReplicas(stand.image, stand.ids, []);
    await makeFormer(places, { ...content, former }, [], kept);
    await stand.open();
    const session = await stand.join();
    await session.device.write(0, randomBytes(BLOCK));
    await session.device.flush();
    await stand.expectAlike();
    expect((await readReplicas(places.replicas)).former).toBeNull();
  });

  it('by force does without a list that nobody can read', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.host.close();
    await writeFile((await placesOfImage(stand.image)).replicas, '{');
    await expect(promoteImage(stand.image, { force: false })).rejects.toMatchObject({
      code: 'METADATA_DAMAGED',
    });
    await promoteImage(stand.image, { force: true });
    expect((await readReplicas((await placesOfImage(stand.image)).replicas)).replicas).toEqual([]);
  });

  it('of a longer image leaves them out: they have not what is behind the secondary', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.host.close();
    await truncate(stand.image, 2 * PLACE_BYTES);
    await promoteImage(stand.image, { force: false });
    expect((await readReplicas((await placesOfImage(stand.image)).replicas)).replicas).toEqual([]);
  });
});

describe('its list', () => {
  it('is found again where a cut has put it away', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.host.close();
    const { directory } = await placesOfImage(stand.image);
    await rename(directory, `${directory}.old`);
    await stand.open();
    await stand.expectAlike();
  });

  it('that is damaged keeps its primary away, and says so', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.host.close();
    await writeFile((await placesOfImage(stand.image)).replicas, '{"formatVersion":1');
    await expect(SecondaryHost.open(stand.image, PLACE_BYTES, AT_ONCE)).rejects.toThrow('list of replicas');
  });

  it('keeps a primary here away, which would not track for it', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    await stand.host.close();
    await expect(new ImagePlace(stand.image).join(stand.ids)).rejects.toThrow(
      'replicas of its own: replica-1',
    );
    expect((await marksOf(stand.image))?.generation).toEqual(generationOf(stand.ids.generation));
  });

  it('counts for nothing when another primary has made it its secondary', async () => {
    const stand = await Stand.make();
    await stand.withThird();
    const others = newSecondary({ force: true });
    await stand.host.make(others);
    expect(stand.host.replicas()).toBeNull();
    await stand.host.join(others, { hangUp: () => {}, ended: new Promise(() => {}) });
    await expect(readReplicas((await placesOfImage(stand.image)).replicas)).rejects.toThrow();
  });
});
