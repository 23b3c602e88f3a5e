/**
 * Other people's servers as secondaries: killed and started again while the primary is written, silent, slow, and failing now
 * and then. The primary never fails for it, nor waits for it for ever, and in the end both are alike.
 */
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { createVolume, openVolume, type Volume } from '../../src/volume/index.js';
import { enableTracking } from '../../src/volume/replication/enable.js';
import type { ReplicaLimits } from '../../src/volume/replication/replicas-file.js';
import { ServedImage, type Start } from '../nbd/client/served-image.js';
import { isInstalled } from '../nbd/client/servers.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';

const SIZE = 4 * 1024 * 1024;
const ROUNDS = 6;

class Pair {
  #closed: Promise<void> | null = null;

  private constructor(
    readonly volume: Volume,
    readonly served: ServedImage,
  ) {}

  static async make(start: Start, limits: ReplicaLimits = {}): Promise<Pair> {
    const served = await ServedImage.by(start, SIZE);
    onTestFinished(() => served.remove());
    const directory = join(served.place.folder, 'primary');
    await createVolume({
      ...{
        directory,
        members: 1,
        sizeBytes: SIZE,
        chunkBytes: 65536,
        layout: 'left-symmetric',
        force: false,
        limits: {},
      },
    });
    const open = () => openVolume([directory], { access: 'write', warn: () => {} });
    const untracked = await open();
    await enableTracking(untracked);
    await untracked.close();
    const volume = await open();
    const pair = new Pair(volume, served);
    onTestFinished(() => pair.close());
    await volume.tracking.replicas!.add({
      to: served.uri,
      mode: 'async',
      onLoss: 'continue',
      force: false,
      limits,
      usesAll: false,
    });
    return pair;
  }

  close(): Promise<void> {
    this.#closed ??= this.volume.close();
    return this.#closed;
  }

  /** Of parts of blocks, some flushed; while the server is killed or not. */
  async write(random: SeededRandom): Promise<void> {
    for (let n = 0; n < 30; n++) {
      const length = random.between(1, 40) * 512;
      const offset = random.below((SIZE - length) / 512) * 512;
      await this.volume.device.write(offset, random.bytes(length));
      if (random.chance(0.2)) await this.volume.device.flush();
    }
  }

  /** What is sent from now on is not answered. */
  async freezeAndWrite(random: SeededRandom): Promise<void> {
    this.served.freeze();
    await this.write(random);
    await this.volume.device.flush();
  }

  /** It may be lost once more while it is waited for. */
  async expectAlike(): Promise<void> {
    const { device, tracking } = this.volume;
    const signal = AbortSignal.timeout(60_000);
    await device.flush();
    for (;;) {
      const isSynced = await tracking.replicas!.sync('replica-1', { signal }).then(
        () => true,
        () => false,
      );
      signal.throwIfAborted();
      if (isSynced) break;
    }
    const bytes = new Uint8Array(SIZE);
    await device.read(0, bytes);
    expect(Buffer.compare(await this.served.onDisk(), bytes)).toBe(0);
  }
}

const SERVERS: readonly (readonly [string, string, Start])[] = [
  ['qemu-nbd', 'qemu-nbd', (place, image) => place.qemuNbd('-f', 'raw', image)],
  ['nbdkit', 'nbdkit', (place, image) => place.nbdkit('file', image)],
  // It keeps what was written in a file of its own until it is flushed.
  [
    'nbdkit, which forgets what was not flushed',
    'nbdkit',
    (place, image) => place.nbdkit('--filter=cache', 'file', image),
  ],
  [
    'nbdkit, which is slow',
    'nbdkit',
    (place, image) => place.nbdkit('--filter=delay', 'file', image, 'wdelay=5ms'),
  ],
  [
    'nbdkit, which fails now and then',
    'nbdkit',
    (place, image) => place.nbdkit('--filter=error', 'file', image, 'error-pwrite-rate=0.3%'),
  ],
];

describe('a secondary behind a server of other people', { timeout: 240_000 }, () => {
  for (const [name, program, start] of SERVERS) {
    if (!isInstalled(program)) continue;
    it(`${name}: killed and started again while the primary is written`, () =>
      withSeed(async (random) => {
        const pair = await Pair.make(start);
        for (let round = 0; round < ROUNDS; round++) {
          const writing = pair.write(random);
          for (let turns = random.below(60); turns > 0; turns--)
            await new Promise((resolve) => setImmediate(resolve));
          await pair.served.kill();
          await writing;
          if (random.chance(0.5)) await pair.write(random);
          await pair.served.restart();
          if (random.chance(0.5)) await pair.expectAlike();
        }
        await pair.expectAlike();
        const [status] = pair.volume.tracking.replicas!.list();
        expect(status).toMatchObject({ state: 'in-sync' });
        expect(status!.dirtyBlocks! * BLOCK_BYTES).toBeLessThanOrEqual(SIZE);
      }));
  }
});

/** Far less than what the connection alone would wait for an answer. */
async function expectPrompt(call: () => Promise<unknown>): Promise<void> {
  const startedMs = performance.now();
  await call();
  expect(performance.now() - startedMs).toBeLessThan(8000);
}

describe('a server of other people that goes silent', { timeout: 120_000 }, () => {
  // nbdkit ends itself, now and then, when it goes on and a connection in which it was stopped has been cut.
  const [name, program, start] = SERVERS[0]!;
  if (isInstalled(program))
    it(`${name}: it is late, and is tried again; pause, remove and close do not wait for it`, () =>
      withSeed(async (random) => {
        const pair = await Pair.make(start, { lateMs: 1000 });
        const replicas = pair.volume.tracking.replicas!;
        const state = () => replicas.list()[0]!.state;
        await pair.expectAlike();

        await pair.freezeAndWrite(random);
        await expectPrompt(() => replicas.pause('replica-1'));
        pair.served.thaw();
        await replicas.resume('replica-1');
        await pair.expectAlike();

        await pair.freezeAndWrite(random);
        await expect.poll(state, { timeout: 10_000 }).toBe('unsynchronized');
        // Nothing but the server's going on: it is reached by itself.
        pair.served.thaw();
        await expect.poll(state, { timeout: 30_000 }).toBe('in-sync');
        await pair.expectAlike();

        await pair.freezeAndWrite(random);
        await expect.poll(state, { timeout: 10_000 }).toBe('unsynchronized');
        await expectPrompt(() => replicas.remove('replica-1'));
      }));

  for (const [name, program, start] of SERVERS.slice(0, 2)) {
    if (!isInstalled(program)) continue;
    it(`${name}: closing the volume ends`, () =>
      withSeed(async (random) => {
        const pair = await Pair.make(start, { lateMs: 1000 });
        await pair.expectAlike();
        await pair.freezeAndWrite(random);
        await expectPrompt(() => pair.close());
      }));
  }
});
