/** Tracking that begins while the volume is open and written: what is tracked, what stands over what, and what fails. */
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type Arena, BufferPool } from '../../src/device/pool.js';
import { createVolume, openVolume, type Volume } from '../../src/volume/index.js';
import { enableTracking } from '../../src/volume/replication/enable.js';
import { readTracked } from '../../src/volume/replication/on-disk.js';
import { PrimaryPlaces } from '../../src/volume/replication/places.js';
import { cacheOf } from '../../src/volume/stack.js';
import { scratchDirectory } from '../support/devices/scratch.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { makeExtents } from '../support/extents-volumes.js';
import { contentOf, Writing } from '../support/writing.js';

const SIZE = 4 * 1024 * 1024;
const SIGNAL = () => ({ signal: AbortSignal.timeout(60_000) });
const HOW = { mode: 'async', onLoss: 'continue', force: false, limits: {}, usesAll: true } as const;

/** Closed at the end of the test, where that has not done it: once. */
async function open(directory: string): Promise<Volume> {
  const volume = await openVolume([directory], { access: 'write', warn: () => {} });
  let closed: Promise<void> | null = null;
  const close = () => (closed ??= volume.close());
  onTestFinished(close);
  return { ...volume, close };
}

async function newVolume(members: number): Promise<{ directory: string; second: string }> {
  const folder = await scratchDirectory();
  const directory = join(folder, 'v');
  const shape = { sizeBytes: SIZE, chunkBytes: 65536, layout: 'left-symmetric', limits: {} } as const;
  await createVolume({ directory, members, ...shape, force: false });
  return { directory, second: join(folder, 'second.img') };
}

async function opened(members: number): Promise<{ volume: Volume; directory: string; second: string }> {
  const made = await newVolume(members);
  return { ...made, volume: await open(made.directory) };
}

describe.each([1, 3])('a volume of %i members that is written', { timeout: 120_000 }, (members) => {
  it('is tracked from the moment on that it was enabled, and replicated to the byte', async () => {
    await withSeed(async (random) => {
      const { volume, directory, second } = await opened(members);
      const hadCache = cacheOf(volume.device) !== null;
      const writing = await Writing.begin(volume.device, random);
      await writing.more(50);
      expect(await enableTracking(volume)).toBe(true);
      expect(await enableTracking(volume)).toBe(false);
      await writing.more(50);
      const replicas = volume.tracking.replicas!;
      await replicas.add({ ...HOW, to: second });
      await replicas.sync('replica-1', SIGNAL());
      await writing.more(50);
      expect(await replicas.verify('replica-1', false, SIGNAL().signal)).toMatchObject({
        differingBlocks: 0,
      });
      await writing.end();
      expect([hadCache, cacheOf(volume.device) !== null]).toEqual([members > 1, true]);
      await writing.expectContent();
      await volume.device.flush();
      await replicas.sync('replica-1', SIGNAL());
      expect(replicas.list()).toMatchObject([{ state: 'in-sync', dirtyBlocks: 0 }]);
      // On disk too, whatever was written amid its resync: nothing of it is copied again after a crash.
      const tracked = await readTracked(new PrimaryPlaces(join(directory, 'replication')));
      expect(tracked.replicas.get('replica-1')).toMatchObject({ map: { count: 0 }, trouble: null });
      await volume.close();
      expect(Buffer.compare((await readFile(second)).subarray(0, SIZE), writing.content)).toBe(0);
      const again = await open(directory);
      await writing.expectContent(again.device);
      expect(again.tracking.replicas?.list()).toMatchObject([{ name: 'replica-1' }]);
      await again.close();
    });
  });

  it('is as before where enabling fails amid making the files, and can be tracked later', async () => {
    await withSeed(async (random) => {
      const { volume, directory } = await opened(members);
      const obstacle = join(directory, 'replication', 'replicas.json.new');
      await mkdir(obstacle, { recursive: true });
      const writing = await Writing.begin(volume.device, random);
      await expect(enableTracking(volume)).rejects.toMatchObject({ code: expect.any(String) });
      expect(await readdir(join(directory, 'replication'))).toEqual(['replicas.json.new']);
      expect(volume.tracking.replicas).toBeNull();
      await writing.more(20);
      await rm(obstacle, { recursive: true });
      await enableTracking(volume);
      await writing.more(20);
      await writing.end();
      await volume.close();
      const again = await open(directory);
      await writing.expectContent(again.device);
      expect(again.tracking.replicas?.list()).toEqual([]);
      await again.close();
    });
  });

  it('has what is written from then on durable on both sides, where a replica is to be synchronous', async () => {
    const { volume, second } = await opened(members);
    await enableTracking(volume);
    expect(volume.tracking.isSynchronous).toBe(false);
    await volume.tracking.replicas!.add({ ...HOW, to: second, mode: 'sync' });
    await volume.tracking.replicas!.sync('replica-1', SIGNAL());
    await volume.device.write(5, new Uint8Array(3000).fill(7));
    expect(cacheOf(volume.device)!.statistics.dirtyBytes).toBe(0);
  });
});

describe('one image', { timeout: 120_000 }, () => {
  it('is as before where there is no memory for a cache', async () => {
    const { volume, directory } = await opened(1);
    const taken: Arena[] = [];
    try {
      for (let bytes = 2 ** 30; bytes >= 2 ** 20; bytes /= 2)
        for (;;) {
          try {
            taken.push(BufferPool.shared().arena('taken', bytes));
          } catch {
            break;
          }
        }
      await expect(enableTracking(volume)).rejects.toMatchObject({ code: 'REFUSED' });
    } finally {
      for (const arena of taken) arena.close();
    }
    expect(await readdir(directory)).not.toContain('replication');
    await volume.device.write(3, new Uint8Array(5).fill(9));
    expect([volume.tracking.replicas, cacheOf(volume.device)]).toEqual([null, null]);
    await enableTracking(volume);
    expect((await contentOf(volume.device)).subarray(0, 10)).toEqual(
      Buffer.from([0, 0, 0, 9, 9, 9, 9, 9, 0, 0]),
    );
  });
});

describe.each(['1', '3'])('a volume of files on %s members', { timeout: 120_000 }, (members) => {
  it('is tracked while its files are written', async () => {
    await withSeed(async (random) => {
      const folder = await scratchDirectory();
      const [directory, second] = [join(folder, 'v'), join(folder, 'second.img')];
      await makeExtents(directory, ['--members', members, '--size', '24MiB']);
      const volume = await open(directory);
      const store = await volume.files!.store();
      await store.files.create('a', { sizeBytes: 1024 * 1024 });
      const file = await store.openFile('a', { access: 'write' });
      const content = Buffer.alloc(1024 * 1024);
      let isEnding = false;
      const write = async (): Promise<void> => {
        while (!isEnding) {
          const bytes = random.bytes(random.between(1, 20_000));
          const offset = random.below(content.length - bytes.length);
          await file.write(offset, bytes);
          content.set(bytes, offset);
          if (random.chance(0.3)) await file.commit({});
        }
      };
      const writing = write();
      await enableTracking(volume);
      await volume.tracking.replicas!.add({ ...HOW, to: second });
      await volume.tracking.replicas!.sync('replica-1', SIGNAL());
      isEnding = true;
      await writing;
      await file.commit({});
      await volume.close();
      const raw = await openVolume([directory], { access: 'read', asRaw: members === '1', warn: () => {} });
      const bytes = await contentOf(raw.device);
      await raw.close();
      expect(Buffer.compare((await readFile(second)).subarray(0, bytes.length), bytes)).toBe(0);
    });
  });
});
