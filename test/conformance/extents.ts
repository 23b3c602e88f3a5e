/** Conformance: what a device says about data, zeroes and holes. */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { type Bench, pattern, readAt } from './block-device.js';

/** Extents cover the range in order, without gaps, joined, in whole blocks; zeroes and holes read as zeroes. */
export async function checkExtents(device: BlockDevice, offset: number, length: number): Promise<void> {
  const extents = await device.extents(offset, length);
  let at = offset;
  let previous = '';
  for (const extent of extents) {
    expect(extent.offset).toBe(at);
    expect(extent.length).toBeGreaterThan(0);
    expect(extent.length % device.blockSize).toBe(0);
    expect(['data', 'zero', 'hole']).toContain(extent.kind);
    expect(extent.kind).not.toBe(previous);
    if (extent.kind !== 'data') {
      const bytes = await readAt(device, extent.offset, extent.length);
      expect(bytes.findIndex((byte) => byte !== 0)).toBe(-1);
    }
    at += extent.length;
    previous = extent.kind;
  }
  expect(at).toBe(offset + length);
}

export function describeExtents(bench: Bench, showsHoles: boolean): void {
  describe('extents', () => {
    it('cover any range, joined, and are truthful', async () => {
      const { device } = bench;
      const piece = bench.blocks(65_536);
      await device.write(piece, pattern(piece, 1));
      await device.writeZeroes(2 * piece, piece);
      await device.write(4 * piece, pattern(device.blockSize, 2));
      await device.trim(5 * piece, piece);
      await checkExtents(device, 0, bench.blocks(1024 * 1024));
      await checkExtents(device, piece + device.blockSize, 2 * piece);
      await checkExtents(device, 4 * piece, device.blockSize);
      await checkExtents(device, device.size - piece, piece);
    });

    it('never call data a hole', async () => {
      const { device } = bench;
      const piece = bench.blocks(65_536);
      await device.writeZeroes(0, 4 * piece);
      await device.write(piece, pattern(device.blockSize, 3));
      await device.write(3 * piece - device.blockSize, pattern(device.blockSize, 4));
      for (const at of [piece, 3 * piece - device.blockSize]) {
        expect(await device.extents(at, device.blockSize)).toEqual([
          { offset: at, length: device.blockSize, kind: 'data' },
        ]);
      }
    });

    if (showsHoles) {
      it('show what was zeroed as zeroes or a hole', async () => {
        const { device } = bench;
        const piece = bench.blocks(131_072);
        await device.write(0, pattern(3 * piece, 5));
        await device.writeZeroes(piece, piece);
        const inside = await device.extents(piece + bench.blocks(8192), piece - 2 * bench.blocks(8192));
        expect(inside).toHaveLength(1);
        expect(inside[0]!.kind).not.toBe('data');
        expect(await device.extents(0, bench.blocks(8192))).toMatchObject([{ kind: 'data' }]);
      });
    }
  });
}
