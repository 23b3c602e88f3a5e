/**
 * A secondary in a place of ours whose server is lost and comes back, again and again, while the primary is written: what it
 * holds after each loss is what it held at the end of an epoch, and in the end both are alike.
 */
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createVolume, openVolume, type Volume } from '../../src/volume/index.js';
import { enableTracking } from '../../src/volume/replication/enable.js';
import { ServedSecondary } from '../../src/volume/serve-secondary.js';
import { scratchDirectory } from '../support/devices/scratch.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { AT_ONCE } from '../support/replication/hosted-place.js';

const SIZE = 4 * 1024 * 1024;
const SLOTS = 32;
const SLOT_BYTES = 64 * 1024;
const ROUNDS = 6;

async function openPrimary(folder: string): Promise<Volume> {
  const directory = join(folder, 'primary');
  const shape = { members: 1, sizeBytes: SIZE, chunkBytes: 65536, layout: 'left-symmetric' } as const;
  await createVolume({ directory, ...shape, force: false });
  const open = () => openVolume([directory], { access: 'write', warn: () => {} });
  const untracked = await open();
  await enableTracking(untracked);
  await untracked.close();
  return open();
}

/** Its server, which comes and goes. */
class Place {
  #served: ServedSecondary | null = null;

  constructor(private readonly folder: string) {}

  get uri(): string {
    return `nbd+unix:///?socket=${join(this.folder, 'socket')}`;
  }

  async start(): Promise<void> {
    this.#served = await ServedSecondary.open([join(this.folder, 'second.img')], {
      ...{ exportNames: [], tls: undefined, sizeBytes: SIZE, ...AT_ONCE },
    });
    await this.#served.server.listenUnix(join(this.folder, 'socket'));
  }

  /** What its connections had in flight is not waited for. */
  async lose(): Promise<void> {
    await this.#served?.server.stopNow();
    await this.#served?.stop();
    this.#served = null;
  }

  async content(): Promise<{ bytes: Buffer; state: string }> {
    const secondary = this.#served!.status().secondary!;
    const { NbdDevice } = await import('../../src/nbd/client/nbd-device.js');
    const device = await NbdDevice.open(this.uri, { readOnly: true, reconnect: { tries: 0 } });
    const bytes = Buffer.alloc(SIZE);
    await device.read(0, bytes);
    await device.close();
    return { bytes, state: secondary.marks!.state };
  }
}

/** Numbers that go up, each durable in its slot before the next is written. */
class Writer {
  last = 0;

  constructor(private readonly volume: Volume) {}

  async write(count: number): Promise<void> {
    for (let n = 0; n < count; n++) {
      this.last += 1;
      await this.volume.device.write((this.last % SLOTS) * SLOT_BYTES, record(this.last));
      await this.volume.device.flush();
    }
  }
}

function record(n: number): Buffer {
  const bytes = Buffer.alloc(4096);
  for (let at = 0; at < bytes.byteLength; at += 4) bytes.writeUInt32BE(n, at);
  return bytes;
}

/** All that had been written up to some number, and nothing behind it. */
function expectMoment(bytes: Buffer): void {
  const found = Array.from({ length: SLOTS }, (_, slot) => bytes.readUInt32BE(slot * SLOT_BYTES));
  const moment = Math.max(...found);
  const expected = found.map((_, slot) => Math.max(0, moment - ((moment - slot + SLOTS) % SLOTS)));
  expect(found).toEqual(expected);
}

async function turns(random: SeededRandom): Promise<void> {
  for (let left = random.below(150); left > 0; left--) await new Promise((next) => setImmediate(next));
}

async function synced(volume: Volume): Promise<void> {
  const signal = AbortSignal.timeout(60_000);
  for (let isSynced = false; !isSynced; ) {
    signal.throwIfAborted();
    isSynced = await volume.tracking.replicas!.sync('replica-1', { signal }).then(
      () => true,
      () => false,
    );
  }
}

describe('a place of ours', { timeout: 300_000 }, () => {
  it('lost and back while its primary is written: a moment each time, and alike in the end', () =>
    withSeed(async (random) => {
      const folder = await scratchDirectory();
      const place = new Place(folder);
      await place.start();
      onTestFinished(() => place.lose());
      const volume = await openPrimary(folder);
      onTestFinished(() => volume.close());
      const how = { mode: 'async', onLoss: 'continue', force: false, limits: {}, usesAll: false } as const;
      await volume.tracking.replicas!.add({ to: place.uri, ...how });
      const writer = new Writer(volume);
      await writer.write(SLOTS);
      await synced(volume);
      for (let round = 0; round < ROUNDS; round++) {
        const writing = writer.write(60);
        await turns(random);
        await place.lose();
        await writing;
        await volume.tracking.replicas!.pause('replica-1');
        await place.start();
        const { bytes, state } = await place.content();
        // Amid a resync it is promote that goes back to a moment.
        if (state === 'consistent') expectMoment(bytes);
        await volume.tracking.replicas!.resume('replica-1');
        if (random.chance(0.5)) await writer.write(10);
        if (random.chance(0.7)) await synced(volume);
      }
      await synced(volume);
      const bytes = Buffer.alloc(SIZE);
      await volume.device.read(0, bytes);
      expect((await place.content()).bytes.equals(bytes)).toBe(true);
    }));
});
