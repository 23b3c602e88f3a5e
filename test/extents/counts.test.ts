/** What the goals of the document come down to, counted exactly (data journaling, paragraphs 44 and 45). */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { filled, Stage } from './support/stage.js';

const MIB = 1024 * 1024;
const COMMIT_BYTES = 10 * MIB;

async function stageOf(extentBytes: number, fileBytes: number) {
  const faulty: FaultyDevice[] = [];
  const stage = await Stage.make({
    blockBytes: 4096,
    blocks: extentBytes / 4096,
    extents: (3 * fileBytes) / extentBytes,
    wrap: (device: BlockDevice) => {
      faulty.push(new FaultyDevice(device));
      return faulty.at(-1)!;
    },
  });
  const { store, file } = await stage.openWithFile(fileBytes);
  return { stage, store, file, device: faulty[0]! };
}

describe('aligned sequential writes of whole extents, with a commit every 10 MiB', () => {
  it('cost one device write each, and no block is copied: twice over the file', async () => {
    const { store, file, device } = await stageOf(MIB, 2 * COMMIT_BYTES);
    for (let round = 1; round <= 2; round++) {
      device.resetCounts();
      for (let at = 0; at < 2 * COMMIT_BYTES; at += MIB) {
        await file.write(at, filled(MIB, round));
        if ((at + MIB) % COMMIT_BYTES === 0) await file.commit();
      }
      await store.settled();
      expect(device.counts).toMatchObject({
        writes: 20,
        writtenBytes: 2 * COMMIT_BYTES,
        flushes: 2,
        reads: 0,
      });
    }
    expect(file.statistics).toMatchObject({
      commits: 4,
      writtenBlocks: (4 * COMMIT_BYTES) / 4096,
      copiedBlocks: 0,
      copiedHomeBlocks: 0,
      swappedExtents: 40,
      committedExtents: 0,
    });
    await store.close();
  });

  it('in writes of 10 MiB go down as one device write', async () => {
    const { store, file, device } = await stageOf(MIB, COMMIT_BYTES);
    device.resetCounts();
    await file.write(0, filled(COMMIT_BYTES, 1));
    const result = await file.commit({ isComplete: true });
    expect(device.counts).toMatchObject({ writes: 1, writtenBytes: COMMIT_BYTES, flushes: 1 });
    expect(result).toMatchObject({ extents: 10, swappedExtents: 10, copiedBlocks: 0, isComplete: true });
    await store.close();
  });

  it('in small writes go down together, behind the writes (paragraph 46)', async () => {
    const { store, file, device } = await stageOf(MIB, COMMIT_BYTES);
    device.resetCounts();
    for (let at = 0; at < COMMIT_BYTES; at += 40_960) await file.write(at, filled(40_960, 2));
    expect(device.counts.writes).toBe(0);
    await file.commit();
    await store.settled();
    expect(device.counts).toMatchObject({ writes: 1, writtenBytes: COMMIT_BYTES, flushes: 1, reads: 0 });
    await store.close();
  });
});

describe('what is copied', () => {
  it('is the blocks that stay, where more is marked; and those marked, where not (paragraphs 32 to 37)', async () => {
    const { store, file } = await stageOf(65_536, MIB);
    await file.write(0, filled(65_536 * 2, 1));
    await file.commit({ isComplete: true });
    // 9 of 16 blocks, and 8 of 16.
    await file.write(0, filled(9 * 4096, 2));
    await file.write(65_536, filled(8 * 4096, 3));
    const result = await file.commit({ isComplete: true });
    expect(result).toMatchObject({
      extents: 2,
      writtenBlocks: 17,
      swappedExtents: 1,
      copiedBlocks: 7,
      committedExtents: 1,
      copiedHomeBlocks: 8,
    });
    await store.close();
  });

  it('never lies home where a snapshot shares it (paragraph 53)', async () => {
    const { store, file } = await stageOf(65_536, MIB);
    await file.write(0, filled(65_536, 1));
    await file.commit();
    await store.files.snapshot('disk', 'yesterday');
    await file.write(4096, filled(4096, 2));
    const result = await file.commit({ isComplete: true });
    expect(result).toMatchObject({ swappedExtents: 1, copiedBlocks: 15, committedExtents: 0 });
    const snapshot = await store.openFile('yesterday', { access: 'read' });
    const [old, now] = [new Uint8Array(8192), new Uint8Array(8192)];
    await snapshot.read(0, old);
    await file.read(0, now);
    expect([old[4096], now[4096], now[0]]).toEqual([1, 2, 1]);
    await expect(store.openFile('yesterday', { access: 'write' })).rejects.toMatchObject({
      code: 'PERMISSION_DENIED',
    });
    await store.close();
  });
});
