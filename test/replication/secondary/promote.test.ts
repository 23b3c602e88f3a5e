/** Promote, state by state: which point it gives, what it refuses, and who is refused afterwards. */
import { describe, expect, it } from 'vitest';
import {
  contentOf,
  create,
  FIRST,
  lent,
  memoryParts,
  SECOND,
} from '../../../src/lab/self/replication/secondary-parts.js';
import {
  openSecondary,
  promote,
  readMarks,
  type SecondaryDevice,
} from '../../../src/replication/secondary/index.js';
import { expectSame, pattern } from '../../conformance/block-device.js';

const SIZES = { imageBytes: 64 * 1024, logBytes: 8192 + 64 * 1024 };
const PROMOTE = { newGeneration: SECOND };

async function opened(state: 'initial' | 'consistent', keptBytes?: number) {
  const parts = memoryParts(keptBytes === undefined ? SIZES : { ...SIZES, keptBytes });
  await create(parts, SIZES.imageBytes, state);
  return { parts, device: await openSecondary(lent(parts), { nowMs: () => 1234 }) };
}

async function epoch(device: SecondaryDevice, offset: number, tag: number, atMs?: number): Promise<void> {
  await device.write(offset, pattern(8192, tag));
  await device.endEpoch(atMs === undefined ? {} : { atMs });
}

describe('promote', () => {
  it('of one that is consistent gives the last epoch, and starts a generation', async () => {
    const { parts, device } = await opened('consistent');
    await epoch(device, 0, 1, 777);
    await device.write(16_384, pattern(4096, 2));
    await device.close();
    const promoted = await promote(parts, PROMOTE);
    expect(promoted).toMatchObject({ point: { epoch: 1, atMs: 777 }, restoredBlocks: 0, wasPromoted: false });
    expect([promoted.generation, promoted.parent]).toEqual([SECOND, FIRST]);
    const wanted = new Uint8Array(SIZES.imageBytes);
    wanted.set(pattern(8192, 1));
    expectSame(await contentOf(parts.image), wanted);
    expect(await promote(parts, { newGeneration: FIRST })).toMatchObject({
      generation: SECOND,
      wasPromoted: true,
    });
  });

  it('amid a resync goes back to where that began, over what was zeroed and what was a hole too', async () => {
    const { parts, device } = await opened('consistent');
    await epoch(device, 0, 1);
    const wanted = await contentOf(device);
    await device.beginResync();
    await epoch(device, 4096, 2);
    await device.trim(0, SIZES.imageBytes);
    await device.flush();
    await epoch(device, 40_960, 3);
    await device.settle();
    expect(device.status()).toMatchObject({
      state: 'resyncing',
      consistentPoint: { epoch: 1 },
      keptBlocks: 16,
    });
    await device.close();
    expect(await promote(parts, PROMOTE)).toMatchObject({
      point: { epoch: 1, atMs: 1234 },
      restoredBlocks: 16,
    });
    expectSame(await contentOf(parts.image), wanted);
  });

  it('after a resync gives what came with it, and nothing of the container', async () => {
    const { parts, device } = await opened('consistent');
    await epoch(device, 0, 1);
    await device.beginResync();
    await epoch(device, 0, 2);
    await device.endResync({ generation: SECOND, parent: FIRST });
    const wanted = await contentOf(device);
    await device.close();
    expect(await readMarks(parts.marks)).toMatchObject({
      state: 'consistent',
      generation: SECOND,
      parent: FIRST,
    });
    expect((await promote(parts, { newGeneration: FIRST })).point?.epoch).toBe(2);
    expectSame(await contentOf(parts.image), wanted);
  });

  it('is refused where nothing was ever consistent, and takes it as it is with force', async () => {
    const { parts, device } = await opened('initial');
    await device.beginResync();
    await epoch(device, 0, 1);
    expect(device.status()).toMatchObject({ state: 'initial', consistentPoint: null });
    await device.close();
    await expect(promote(parts, PROMOTE)).rejects.toMatchObject({ code: 'DATA_UNAVAILABLE' });
    expect((await readMarks(parts.marks)).state).toBe('initial');
    expect((await promote(parts, { ...PROMOTE, force: true })).point).toBeNull();
    expect(await readMarks(parts.marks)).toMatchObject({ state: 'promoted', isForced: true });
  });

  it('is refused where not all could be kept; the resync went on', async () => {
    const { parts, device } = await opened('consistent', 4096);
    await epoch(device, 0, 1);
    await device.beginResync();
    await epoch(device, 0, 2);
    await device.settle();
    expect(device.status()).toMatchObject({ consistentPoint: null });
    expect(device.status().keptFailure).toContain('full');
    await epoch(device, 8192, 3);
    await device.close();
    await expect(promote(parts, PROMOTE)).rejects.toMatchObject({ code: 'DATA_UNAVAILABLE' });
    const again = await openSecondary(lent(parts));
    await again.endResync({ generation: FIRST });
    await again.close();
    expect((await promote(parts, PROMOTE)).point?.epoch).toBe(3);
  });

  it('is final for the primary: it is refused, and whoever looks sees the volume', async () => {
    const { parts, device } = await opened('consistent');
    await epoch(device, 0, 1);
    await device.close();
    await promote(parts, PROMOTE);
    await expect(openSecondary(lent(parts))).rejects.toMatchObject({
      code: 'REFUSED',
      details: { generation: 8 },
    });
    await parts.image.write(0, pattern(4096, 9));
    const looked = await openSecondary(lent(parts), { readOnly: true });
    expectSame(await contentOf(looked), await contentOf(parts.image));
  });
});
