/**
 * Groups of kept blocks, opened again: after a cut all that was settled is there, and whatever was torn is dropped; of what rots
 * that was settled nothing is dropped in silence.
 */
import { randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { byteLength } from '../../../src/device/buffers.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { type Group, KeptGroups, type KeptPart } from '../../../src/replication/kept/groups.js';
import { withSeed } from '../../support/devices/seeded-random.js';

const SECTOR = 512;
const SIZE_BYTES = 1024 * BLOCK_BYTES;

function block(number: number): KeptPart {
  return {
    run: { block: number, count: 1, kind: 'data' },
    content: new Uint8Array(randomBytes(BLOCK_BYTES)),
  };
}

function changed(number: number): KeptPart {
  return { run: { block: number, count: 3, kind: 'changed' }, content: null };
}

async function twoGroups(): Promise<{ device: MemoryDevice; keptId: Uint8Array; groups: KeptGroups }> {
  const device = new MemoryDevice(4 * 1024 * 1024);
  const keptId = new Uint8Array(randomBytes(16));
  const groups = KeptGroups.empty(device, keptId, SIZE_BYTES);
  await groups.append([block(7), block(9), changed(20)]);
  await groups.append([block(8)]);
  await groups.settle();
  return { device, keptId, groups };
}

async function reopened(device: BlockDevice, keptId: Uint8Array, sureGroups = 0) {
  return KeptGroups.open(device, { keptId, sizeBytes: SIZE_BYTES, sureGroups });
}

async function flip(device: MemoryDevice, offset: number): Promise<void> {
  const sector = new Uint8Array(SECTOR);
  const start = Math.floor(offset / SECTOR) * SECTOR;
  await device.read(start, sector);
  sector[offset - start]! ^= 0x10;
  await device.write(start, sector);
}

describe('groups of kept blocks', () => {
  it('are as they were written when they are opened again, and go on behind', async () => {
    const { device, keptId, groups } = await twoGroups();
    const again = await reopened(device, keptId);
    expect(again.damage).toBeNull();
    expect(again.groups.list).toEqual(groups.list);
    await again.groups.append([block(1)]);
    await again.groups.settle();
    expect((await reopened(device, keptId)).groups.list.map(({ number, sure }) => [number, sure])).toEqual([
      [0, 0],
      [1, 0],
      [2, 2],
    ]);
  });

  it('that somebody else takes are his, one after another, and are gone on behind all the same', async () => {
    const { device, keptId, groups } = await twoGroups();
    const taken: Group[] = [];
    const sink = (group: Group) => taken.push(group);
    const options = { keptId, sizeBytes: SIZE_BYTES, sureGroups: 1, sink };
    const again = await KeptGroups.open(device, options);
    expect(taken).toEqual(groups.list);
    const appended = await again.groups.append([block(1)]);
    expect([taken.length, again.groups.count]).toEqual([2, 2]);
    await again.groups.settle();
    expect(taken.at(-1)).toBe(appended);
    expect(again.groups).toMatchObject({ list: [], count: 3 });
    expect((await reopened(device, keptId)).groups.list).toEqual(taken);
  });

  it('of another container in the same place do not count', async () => {
    const { device } = await twoGroups();
    const other = await reopened(device, new Uint8Array(randomBytes(16)));
    expect(other).toMatchObject({ damage: null, groups: { usedBytes: 0 } });
  });

  it('are believed where a later one knows them to be durable: only what was settled last is read when they are opened', async () => {
    const device = new MemoryDevice(4 * 1024 * 1024);
    const keptId = new Uint8Array(randomBytes(16));
    const groups = KeptGroups.empty(device, keptId, SIZE_BYTES);
    for (let round = 0; round < 50; round++) {
      for (let count = 0; count < 3; count++)
        await groups.append(Array.from({ length: 4 }, (_, at) => block(20 * round + 5 * count + at)));
      await groups.settle();
    }
    let contentReads = 0;
    const counting = withCalls(device, {
      read: async (offset, into) => {
        if (byteLength(into) >= BLOCK_BYTES) contentReads += 1;
        await device.read(offset, into);
      },
    });
    const again = await reopened(counting, keptId);
    expect(again).toMatchObject({ damage: null, groups: { count: 150 } });
    expect(contentReads).toBe(3 * 4);
  });

  it('one that was torn is dropped, and what is behind it that was not settled either', async () => {
    const { device, keptId, groups } = await twoGroups();
    const torn = await groups.append([block(30)]);
    await groups.append([block(31)]);
    await flip(device, torn.offset + torn.indexBytes + 100);
    const again = await reopened(device, keptId);
    expect(again.damage).toBeNull();
    expect(again.groups.list).toHaveLength(2);
  });

  it('whatever rots of a group behind which one was settled is told, or is found when it is read', async () => {
    await withSeed(async (random) => {
      const { device, keptId, groups } = await twoGroups();
      const last = await groups.append([block(40)]);
      await groups.settle();
      const at = random.below(last.offset);
      await flip(device, at);
      const again = await reopened(device, keptId);
      if (again.damage === null) expect(await goodOnes(again.groups)).toBeLessThan(3);
      else expect(again.damage.why).toMatch(/groups were kept, and number [01] is no good/);
    });
  });

  it('fewer than are sure are damage', async () => {
    const { device, keptId, groups } = await twoGroups();
    await flip(device, groups.list[1]!.offset + 9);
    expect((await reopened(device, keptId)).damage).toBeNull();
    expect((await reopened(device, keptId, 2)).damage).toEqual({
      offset: groups.list[1]!.offset,
      why: '2 groups were kept, and number 1 is no good',
    });
  });

  it('the end of the device refuses one more, and leaves what is there', async () => {
    const device = new MemoryDevice(3 * BLOCK_BYTES);
    const keptId = new Uint8Array(randomBytes(16));
    const groups = KeptGroups.empty(device, keptId, SIZE_BYTES);
    await groups.append([block(1), block(2)]);
    await expect(groups.append([block(3)])).rejects.toMatchObject({ code: 'NO_SPACE' });
    await groups.settle();
    expect((await reopened(device, keptId)).groups.list).toHaveLength(1);
  });
});

async function goodOnes(groups: KeptGroups): Promise<number> {
  const good = await Promise.all(groups.list.map((group: Group) => groups.isContentGood(group)));
  return good.filter(Boolean).length;
}
