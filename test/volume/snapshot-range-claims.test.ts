/** Ranges of a volume that are containers: what the order of their taking and giving back is for, with what is below slow or failing. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { bufferList } from '../../src/device/buffers.js';
import { ClaimingDevice } from '../../src/device/claiming-device.js';
import type { BlockDevice } from '../../src/device/contract.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { contentOf } from '../../src/lab/self/snapshot/kept-snapshots.js';
import { withCalls } from '../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import type { Located } from '../../src/volume/locate.js';
import { FileStore } from '../../src/volume/snapshots/file-store.js';
import { RangeWatch } from '../../src/volume/snapshots/range-watch.js';
import type { StampSource } from '../../src/volume/snapshots/stamp.js';
import { VolumeSnapshots } from '../../src/volume/snapshots/volume-snapshots.js';
import { gated } from '../../src/volume/stack.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const SIZE = 256 * BLOCK_BYTES;
const RANGE = { offset: 64 * BLOCK_BYTES, length: 64 * BLOCK_BYTES };
const PLACE = `range:${RANGE.offset}+${RANGE.length}`;
const STAMP = {
  ...{ kind: 'image' as const, file: '1:1', sizeBytes: SIZE, changedNs: '1' },
};
const SOURCE = { read: async () => STAMP, tag: () => {}, leave: async () => {} } as unknown as StampSource;

interface Stand {
  readonly device: BlockDevice;
  readonly snapshots: VolumeSnapshots;
  readonly moments: ReturnType<typeof gated>['moments'];
  create(name: string, place?: string): Promise<unknown>;
  list(): Promise<{ ranges: unknown[]; moments: { unusable: string | null }[] }>;
}

async function open(folder: string, below: BlockDevice): Promise<Stand> {
  const located = { directory: folder, images: [], label: 'v' } as unknown as Located;
  const asked = { source: SOURCE, sizeBytes: SIZE, readOnly: false, warn: () => {} };
  return VolumeSnapshots.during(located, asked, async (snapshots) => {
    const claims = new ClaimingDevice(below);
    const { device, moments } = gated(claims);
    await snapshots.open({ label: 'v', device: claims, moments, warn: () => {} });
    const current = await snapshots.begin({ isDurable: true });
    onTestFinished(() => snapshots.close());
    const watched = async (name: string) => {
      const watch = new RangeWatch(RANGE, SIZE);
      snapshots.ranges!.enter(watch);
      await moments.choose(watch);
      try {
        return await current.create({
          ...{ name, kind: 'snapshot', onOverflow: 'drop', place: PLACE, layerBytes: RANGE.length },
        });
      } finally {
        moments.gate.remove(watch);
        snapshots.ranges!.leave(watch);
      }
    };
    return {
      ...{ device, snapshots, moments },
      create: (name, place = PLACE) =>
        place === PLACE
          ? watched(name)
          : current.create({ name, kind: 'snapshot', onOverflow: 'grow', place, layerBytes: null }),
      list: async () => JSON.parse(await readFile(join(folder, 'snapshots', 'snapshots.json'), 'utf8')),
    };
  });
}

const later = (ms: number) => new Promise((done) => setTimeout(done, ms));
const blocks = (count: number, value: number) => new Uint8Array(count * BLOCK_BYTES).fill(value);
const at = (block: number) => block * BLOCK_BYTES;

/** As slow as disks are. */
function slow(below: BlockDevice): BlockDevice {
  return withCalls(below, {
    flush: async () => {
      await later(50);
      await below.flush();
    },
    writeZeroes: async (offset, length) => {
      await later(50);
      await below.writeZeroes(offset, length);
    },
  });
}

describe.each([
  ['deleted', (stand: Stand) => stand.snapshots.current!.delete('one')],
  [
    'full',
    async ({ device }: Stand) => {
      await device.write(0, blocks(60, 1));
      await device.write(at(130), blocks(60, 1));
    },
  ],
  ['overwritten', ({ device }: Stand) => device.write(at(100), blocks(1, 3))],
] as const)('while the range of a snapshot that is %s is given back', (_, go) => {
  it('what is written there waits, and stays', async () => {
    const below = new MemoryDevice(SIZE);
    const stand = await open(await temporaryFolder(), slow(below));
    await stand.create('one');
    await stand.device.write(at(200), blocks(1, 1));
    const going = go(stand);
    const writes = [70, 71, 127].map(async (block) => {
      await later(20);
      await stand.device.write(at(block), blocks(1, 7));
      // Answered: nobody takes it back.
      expect(await contentOf(below)).toSatisfy((content: Uint8Array) => content[at(block)] === 7);
    });
    await Promise.all([going, ...writes]);
    const content = await contentOf(below);
    for (const block of [70, 71, 127]) expect(content[at(block)]).toBe(7);
    expect(content.subarray(at(72), at(100)).every((byte) => byte === 0)).toBe(true);
    expect((await stand.list()).ranges).toEqual([]);
  });
});

it('a write costs the snapshot, durably, before it goes down', async () => {
  const folder = await temporaryFolder();
  const below = new MemoryDevice(SIZE);
  const listed: unknown[] = [];
  const watched: BlockDevice = withCalls(below, {
    write: async (offset, from) => {
      if (offset === at(70)) listed.push(await stand.list());
      await below.write(offset, from);
    },
  });
  const stand = await open(folder, watched);
  await stand.create('older', '');
  await stand.create('one');
  await stand.create('newer', '');
  await stand.device.write(at(70), blocks(1, 7));
  expect(listed).toMatchObject([
    {
      ranges: [],
      moments: [
        { unusable: expect.any(String) },
        { unusable: `overwritten at offset ${at(70)}` },
        { unusable: null },
      ],
    },
  ]);
});

it('what was there when the range is taken is kept for older snapshots, and is changed for who asks', async () => {
  const below = new MemoryDevice(SIZE);
  const { device, create, snapshots } = await open(await temporaryFolder(), below);
  await device.write(at(60), blocks(20, 5));
  await create('older', '');
  const before = await contentOf(device);
  await create('one');
  await device.write(0, blocks(20, 6));
  const view = snapshots.current!.view('older');
  expect(Buffer.compare(await contentOf(view), before)).toBe(0);
  await view.close();
  expect([...snapshots.current!.changedSince('older').runs()]).toEqual([
    { from: 0, count: 20 },
    { from: 64, count: 64 },
  ]);
  expect((await contentOf(device)).subarray(at(64), at(128)).every((byte) => byte === 0)).toBe(true);
});

it('is refused where somebody has written to the range while it was looked at', async () => {
  const { device, create, list, snapshots, moments } = await open(
    await temporaryFolder(),
    new MemoryDevice(SIZE),
  );
  const watch = new RangeWatch(RANGE, SIZE);
  snapshots.ranges!.enter(watch);
  await moments.choose(watch);
  await device.write(at(127), blocks(2, 4));
  await expect(create('one')).rejects.toMatchObject({ code: 'IN_USE' });
  expect((await contentOf(device))[at(127)]).toBe(4);
  expect(await list()).toMatchObject({ ranges: [], moments: [] });
});

it('where the list cannot be written a write to the range fails, and a later one can', async () => {
  const folder = await temporaryFolder();
  const below = new MemoryDevice(SIZE);
  const { device, create, list } = await open(folder, below);
  await create('one');
  await device.write(0, blocks(1, 1));
  const { prototype } = FileStore;
  const { save } = prototype;
  prototype.save = async () => {
    throw new Error('the disk of the list is full');
  };
  try {
    await expect(device.write(at(70), blocks(1, 7))).rejects.toThrow('still');
  } finally {
    prototype.save = save;
  }
  // Nothing of it is zeroed while the list says that it is good.
  expect((await contentOf(below)).subarray(at(64), at(128)).some((byte) => byte !== 0)).toBe(true);
  expect((await list()).moments).toMatchObject([{ unusable: null }]);
  await device.write(at(70), blocks(1, 7));
  expect((await contentOf(device))[at(70)]).toBe(7);
  expect((await list()).moments).toMatchObject([{ unusable: expect.stringContaining('overwritten') }]);
});

describe.each([
  ['deleted', (stand: Stand) => stand.snapshots.current!.delete('one')],
  ['full', ({ device }: Stand) => device.write(at(130), blocks(100, 1))],
] as const)('a copy that is under way while its snapshot is %s', (_, go) => {
  it.each([5, 20])('does not land on what a client has written there since, %i ms later', async (gap) => {
    const below = new MemoryDevice(SIZE);
    const isClients = (bytes: Uint8Array) => bytes[0] === 7;
    const slowCopies = withCalls(below, {
      write: async (offset, from) => {
        const isThere = offset >= RANGE.offset && offset < RANGE.offset + RANGE.length;
        if (isThere && !isClients(bufferList(from)[0]!)) await later(200);
        await below.write(offset, from);
      },
    });
    const stand = await open(await temporaryFolder(), slowCopies);
    await stand.device.write(0, blocks(60, 9));
    await stand.create('one');
    const copied = stand.device.write(0, blocks(20, 1));
    await later(gap);
    const gone = go(stand);
    await later(50);
    const own = Array.from({ length: RANGE.length / BLOCK_BYTES }, (_, block) => 64 + block);
    await Promise.all([
      ...[copied, gone],
      ...own.map((block) => stand.device.write(at(block), blocks(1, 7))),
    ]);
    await later(300);
    const content = await contentOf(below);
    expect(
      own.filter((block) => content.subarray(at(block), at(block + 1)).some((byte) => byte !== 7)),
    ).toEqual([]);
  });
});
