import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { OverlayDevice } from '../../src/device/overlay.js';
import { errorOf, expectSame, pattern, readAt } from '../conformance/block-device.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';

const TIB = 2 ** 40;

describe('MemoryDevice', () => {
  it('costs what was written, at any size', async () => {
    const device = new MemoryDevice(8 * TIB);
    await device.write(5 * TIB, pattern(4096, 1));
    await device.write(8 * TIB - 512, pattern(512, 2));
    expect(device.allocatedBytes).toBe(2 * 4096);
    expect(await device.extents(0, 8 * TIB)).toEqual([
      { offset: 0, length: 5 * TIB, kind: 'hole' },
      { offset: 5 * TIB, length: 4096, kind: 'data' },
      { offset: 5 * TIB + 4096, length: 3 * TIB - 8192, kind: 'hole' },
      { offset: 8 * TIB - 4096, length: 4096, kind: 'data' },
    ]);
    await device.writeZeroes(0, 8 * TIB - 512);
    expect(device.allocatedBytes).toBe(4096);
    expectSame(await readAt(device, 8 * TIB - 512, 512), pattern(512, 2));
  });

  it('has whole blocks of any size', async () => {
    const device = new MemoryDevice(10_000, { blockSize: 520 });
    expect(device.size).toBe(19 * 520);
    await device.write(520 * 7, pattern(520 * 3, 3));
    expectSame(await readAt(device, 520 * 7, 520 * 3), pattern(520 * 3, 3));
  });

  it('can be read only', async () => {
    const device = new MemoryDevice(4096, { readOnly: true });
    expect((await errorOf(device.write(0, new Uint8Array(512)))).code).toBe('PERMISSION_DENIED');
  });
});

describe('OverlayDevice', () => {
  it('never changes its base, and merges what is above it', async () => {
    const base = new FaultyDevice(new MemoryDevice(65_536));
    await base.write(0, pattern(65_536, 1));
    base.resetCounts();
    const overlay = new OverlayDevice(base);
    await overlay.write(1024, pattern(512, 2));
    await overlay.write(4096, pattern(8192, 3));
    await overlay.writeZeroes(8192, 1024);
    await overlay.trim(32_768, 512);
    await overlay.flush();
    const wanted = pattern(65_536, 1);
    wanted.set(pattern(512, 2), 1024);
    wanted.set(pattern(8192, 3), 4096);
    wanted.fill(0, 8192, 9216);
    wanted.fill(0, 32_768, 33_280);
    expectSame(await readAt(overlay, 0, 65_536), wanted);
    expect(base.counts).toMatchObject({ writes: 0, fuaWrites: 0, zeroings: 0, trims: 0, flushes: 0 });
    expectSame(await readAt(base, 0, 65_536), pattern(65_536, 1));
    expect(overlay.changedBytes).toBe(512 + 8192 + 512);
  });

  it('shows the extents of both', async () => {
    const base = new MemoryDevice(TIB);
    await base.write(65_536, pattern(4096, 1));
    const overlay = new OverlayDevice(base);
    await overlay.write(0, pattern(4096, 2));
    await overlay.writeZeroes(65_536, TIB - 65_536);
    expect(await overlay.extents(0, TIB)).toEqual([
      { offset: 0, length: 4096, kind: 'data' },
      { offset: 4096, length: TIB - 4096, kind: 'hole' },
    ]);
  });

  it('reports what the base cannot read, and reads the rest', async () => {
    const base = new FaultyDevice(new MemoryDevice(65_536, { name: 'disk 3' }));
    base.addRule({ operations: ['read'], range: { offset: 4096, length: 512 } });
    const overlay = new OverlayDevice(base);
    expect((await errorOf(overlay.read(0, new Uint8Array(8192)))).fault.device).toBe('disk 3');
    await overlay.write(4096, pattern(512, 4));
    expectSame((await readAt(overlay, 0, 8192)).subarray(4096, 4608), pattern(512, 4));
  });
});
