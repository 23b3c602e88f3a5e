/** Conformance: what is refused, what moves, what is in flight at once, and closing. */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { type Bench, errorOf, expectSame, pattern, readAt, SMALLEST_SIZE } from './block-device.js';

const RANGED = ['read', 'write', 'write-zeroes', 'trim', 'extents'] as const;
type Ranged = (typeof RANGED)[number];

function call(device: BlockDevice, operation: Ranged, offset: number, length: number): Promise<unknown> {
  // A buffer has no negative or broken length: for those calls the offset has to be wrong.
  const buffer = () => new Uint8Array(Math.max(0, Math.floor(length)));
  if (operation === 'read') return device.read(offset, buffer());
  if (operation === 'write') return device.write(offset, buffer());
  if (operation === 'write-zeroes') return device.writeZeroes(offset, length);
  if (operation === 'trim') return device.trim(offset, length);
  return device.extents(offset, length);
}

export function describeCalls(bench: Bench): void {
  describe('calls', () => {
    describeRefusals(bench);
    describeTransfers(bench);
    describeConcurrency(bench);
    describeClosing(bench);
  });
}

function describeRefusals(bench: Bench): void {
  it('has a name and a size in whole blocks', () => {
    const { device } = bench;
    expect(device.name).not.toBe('');
    expect(device.size).toBeGreaterThanOrEqual(SMALLEST_SIZE);
    expect(device.size % device.blockSize).toBe(0);
    expect(device.readOnly).toBe(false);
  });

  it.each(RANGED)('refuses a %s that is out of range or misaligned, and moves nothing', async (operation) => {
    const { device } = bench;
    const { size, blockSize } = device;
    await device.write(0, pattern(bench.blocks(8192), 1));
    await device.write(size - blockSize, pattern(blockSize, 2));
    const wrong: [number, number][] = [
      [size, blockSize],
      [size - blockSize, 2 * blockSize],
      [size + blockSize, 0],
      [-blockSize, blockSize],
      [Number.NaN, blockSize],
      [Number.POSITIVE_INFINITY, blockSize],
      [2 ** 60, blockSize],
      [0.5, blockSize],
    ];
    if (blockSize > 1) wrong.push([1, blockSize], [0, blockSize - 1], [blockSize - 1, 0]);
    const hasLength = operation !== 'read' && operation !== 'write';
    if (hasLength) wrong.push([0, -blockSize], [0, Number.NaN], [0, size + blockSize], [0, 2 ** 60]);
    for (const [offset, length] of wrong) {
      const error = await errorOf(call(device, operation, offset, length));
      expect([offset, length, error.code]).toEqual([offset, length, 'OUT_OF_RANGE']);
      expect(error.fault).toMatchObject({ device: device.name, operation, offset });
    }
    expectSame(await readAt(device, 0, bench.blocks(8192)), pattern(bench.blocks(8192), 1));
    expectSame(await readAt(device, size - blockSize, blockSize), pattern(blockSize, 2));
  });

  it('tells device, operation, offset and length of a refused call, and says them', async () => {
    const { device } = bench;
    const { size, blockSize } = device;
    const error = await errorOf(device.read(size - blockSize, new Uint8Array(2 * blockSize)));
    const place = { device: device.name, operation: 'read', offset: size - blockSize, length: 2 * blockSize };
    expect(error.fault).toMatchObject(place);
    expect(error.message).toContain(device.name);
    expect(error.message).toContain(String(size - blockSize));
    expect(error.details).toMatchObject({
      image: device.name,
      offsetBytes: place.offset,
      lengthBytes: place.length,
    });
  });

  it('takes length 0 anywhere, and does nothing', async () => {
    const { device } = bench;
    const block = device.blockSize;
    await device.write(0, pattern(2 * block, 3));
    for (const offset of [0, block, device.size]) {
      await device.read(offset, new Uint8Array(0));
      await device.read(offset, []);
      await device.write(offset, new Uint8Array(0));
      await device.write(offset, [new Uint8Array(0), new Uint8Array(0)], { fua: true });
      await device.writeZeroes(offset, 0);
      await device.trim(offset, 0);
      expect(await device.extents(offset, 0)).toEqual([]);
    }
    expectSame(await readAt(device, 0, 2 * block), pattern(2 * block, 3));
  });
}

/** Cuts `bytes` at places that are no multiple of anything. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = [new Uint8Array(0)];
  for (let at = 0, size = 1; at < bytes.byteLength; at += size, size = size * 3 + 1) {
    parts.push(bytes.subarray(at, at + size));
  }
  return parts;
}

function describeTransfers(bench: Bench): void {
  it('reads what was written, at the first and the last byte too', async () => {
    const { device } = bench;
    const length = bench.blocks(70_000);
    const far = device.size - length;
    await device.write(0, pattern(length, 1));
    await device.write(far, pattern(length, 2));
    expectSame(await readAt(device, 0, length), pattern(length, 1));
    expectSame(await readAt(device, far, length), pattern(length, 2));
  });

  it('gathers and scatters over buffers of any size', async () => {
    const { device } = bench;
    const length = bench.blocks(50_000);
    const offset = bench.blocks(12_345);
    await device.write(offset, cut(pattern(length, 4)));
    expectSame(await readAt(device, offset, length), pattern(length, 4));
    const into = new Uint8Array(length);
    await device.read(offset, cut(into));
    expectSame(into, pattern(length, 4));
  });

  it('takes more buffers than one system call does', async () => {
    const { device } = bench;
    const block = device.blockSize;
    const bytes = pattern(3000 * Math.min(block, 64), 5).subarray(
      0,
      bench.blocks(3000 * Math.min(block, 64)),
    );
    const pieces = Array.from({ length: Math.ceil(bytes.byteLength / 16) }, (_, i) =>
      bytes.subarray(i * 16, i * 16 + 16),
    );
    await device.write(0, pieces);
    expectSame(await readAt(device, 0, bytes.byteLength), bytes);
    const into = pieces.map((piece) => new Uint8Array(piece.byteLength));
    await device.read(0, into);
    expectSame(Buffer.concat(into), bytes);
  });

  it('leaves the buffers of a write alone, and does not need them when it has returned', async () => {
    const { device } = bench;
    const length = bench.blocks(9000);
    const bytes = pattern(length, 6);
    await device.write(0, bytes);
    expectSame(bytes, pattern(length, 6));
    bytes.fill(0xff);
    expectSame(await readAt(device, 0, length), pattern(length, 6));
    await device.flush();
    expectSame(await readAt(device, 0, length), pattern(length, 6));
  });

  it('reads into the buffer it was given and not beside it', async () => {
    const { device } = bench;
    const length = bench.blocks(5000);
    await device.write(0, pattern(length, 7));
    const around = new Uint8Array(length + 20).fill(0xaa);
    await device.read(0, around.subarray(10, 10 + length));
    expect([...around.subarray(0, 10), ...around.subarray(10 + length)]).toEqual(new Array(20).fill(0xaa));
    expectSame(around.subarray(10, 10 + length), pattern(length, 7));
  });

  it.each([false, true])(
    'reads zeroes where zeroes were written (fua: %s), and its neighbours as they were',
    async (fua) => {
      const { device } = bench;
      const length = bench.blocks(100_000);
      const start = bench.blocks(1000);
      const zeroes = bench.blocks(60_000);
      await device.write(0, pattern(length, 8));
      await device.writeZeroes(start, zeroes, { fua });
      expectSame(await readAt(device, 0, length), pattern(length, 8).fill(0, start, start + zeroes));
    },
  );

  it('after trim reads what was there, or zeroes, and the neighbours as they were', async () => {
    const { device } = bench;
    const length = bench.blocks(100_000);
    const start = bench.blocks(1000);
    const trimmed = bench.blocks(60_000);
    await device.write(0, pattern(length, 9));
    await device.trim(start, trimmed);
    const found = await readAt(device, 0, length);
    const wanted = pattern(length, 9);
    expectSame(found.subarray(0, start), wanted.subarray(0, start));
    expectSame(found.subarray(start + trimmed), wanted.subarray(start + trimmed));
    const strange = found.findIndex((byte, i) => byte !== wanted[i] && byte !== 0);
    expect(strange).toBe(-1);
    await device.write(start, pattern(trimmed, 10));
    expectSame(await readAt(device, start, trimmed), pattern(trimmed, 10));
  });
}

function describeConcurrency(bench: Bench): void {
  it('does hundreds of calls at once that do not overlap', async () => {
    const { device } = bench;
    const length = bench.blocks(Math.max(device.blockSize, 1600));
    const count = Math.floor(Math.min(device.size, SMALLEST_SIZE) / length);
    const wanted = pattern(count * length, 1);
    const before = wanted.slice();
    await device.write(0, before);
    const calls = Array.from({ length: count }, async (_, i) => {
      const offset = i * length;
      if (i % 4 === 0) return device.write(offset, pattern(length, i), { fua: i % 64 === 0 });
      if (i % 4 === 1) return device.writeZeroes(offset, length);
      if (i % 128 === 2) return device.flush();
      return expectSame(await readAt(device, offset, length), before.subarray(offset, offset + length));
    });
    await Promise.all(calls);
    for (let i = 0; i < count; i++) {
      if (i % 4 === 0) wanted.set(pattern(length, i), i * length);
      if (i % 4 === 1) wanted.fill(0, i * length, (i + 1) * length);
    }
    expectSame(await readAt(device, 0, count * length), wanted);
  });
}

function describeClosing(bench: Bench): void {
  it('closes twice, ends what is in flight well, and refuses what comes after', async () => {
    const { device } = bench;
    const block = device.blockSize;
    const before = device.write(0, pattern(block, 2));
    const closing = device.close();
    const late = errorOf(device.read(0, new Uint8Array(block)));
    await before;
    await closing;
    await device.close();
    expect((await late).message).toContain('closed');
    for (const operation of RANGED) {
      const error = await errorOf(call(device, operation, 0, block));
      expect(error.fault).toMatchObject({ device: device.name, operation, offset: 0, length: block });
      await errorOf(call(device, operation, 0, 0));
    }
    expect((await errorOf(device.flush())).fault.operation).toBe('flush');
  });
}
