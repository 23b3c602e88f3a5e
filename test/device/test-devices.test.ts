/** The devices that other tests trust: do they lose, and fail, exactly what they say? */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { errorOf, expectSame, pattern, readAt } from '../conformance/block-device.js';
import { FaultyBatchDevice, FaultyDevice } from '../support/devices/faulty-device.js';
import { PowerSupply, VolatileDevice } from '../support/devices/volatile-device.js';

const SECTOR = 512;

function sector(tag: number): Uint8Array {
  return new Uint8Array(SECTOR).fill(tag);
}

/** The first byte of each sector, which is the tag of the write it comes from. */
async function tags(device: MemoryDevice, count: number): Promise<number[]> {
  const bytes = await readAt(device, 0, count * SECTOR);
  return Array.from({ length: count }, (_, i) => bytes[i * SECTOR]!);
}

describe('VolatileDevice', () => {
  it('keeps what was flushed or written with fua, and nothing else has to stay', async () => {
    const device = new VolatileDevice(65_536);
    await device.write(0, sector(1));
    await device.flush();
    await device.write(SECTOR, sector(2), { fua: true });
    await device.write(2 * SECTOR, sector(3));
    expect(device.volatileSectors).toBe(1);
    expect(await tags(device.cutPower(1, 'none'), 3)).toEqual([1, 2, 0]);
    expect(await tags(device.cutPower(1, 'all'), 3)).toEqual([1, 2, 3]);
  });

  it('does not count a write for a flush that was submitted before the write completed', async () => {
    const device = new VolatileDevice(65_536);
    const writing = device.write(0, sector(1));
    const flushing = device.flush();
    await Promise.all([writing, flushing]);
    expect(await tags(device.cutPower(1, 'none'), 1)).toEqual([0]);
  });

  it('never brings back a version older than the durable one', async () => {
    const device = new VolatileDevice(65_536);
    await device.write(0, sector(1));
    await device.write(0, sector(2), { fua: true });
    await device.write(0, sector(3));
    const seen = new Set<number>();
    for (let seed = 0; seed < 64; seed++) seen.add((await tags(device.cutPower(seed), 1))[0]!);
    expect([...seen].sort()).toEqual([2, 3]);
  });

  it('keeps any subset of the sectors of what was not flushed, and the same one for the same seed', async () => {
    const device = new VolatileDevice(65_536);
    await device.write(0, new Uint8Array(2 * SECTOR).fill(1));
    await device.write(0, new Uint8Array(2 * SECTOR).fill(2));
    const seen = new Set<string>();
    for (let seed = 0; seed < 200; seed++) seen.add(String(await tags(device.cutPower(seed, 'sectors'), 2)));
    expect([...seen].sort()).toEqual(['0,0', '0,1', '0,2', '1,0', '1,1', '1,2', '2,0', '2,1', '2,2']);
    expect(await tags(device.cutPower(9), 2)).toEqual(await tags(device.cutPower(9), 2));
  });

  it('treats zeroes and trim as writes', async () => {
    const device = new VolatileDevice(65_536);
    await device.write(0, new Uint8Array(3 * SECTOR).fill(1));
    await device.flush();
    await device.writeZeroes(0, SECTOR);
    await device.trim(SECTOR, SECTOR);
    expect(await tags(device.cutPower(1, 'none'), 3)).toEqual([1, 1, 1]);
    expect(await tags(device.cutPower(1, 'all'), 3)).toEqual([0, 0, 1]);
  });

  it('loses power with all others on the same supply, at the event that was asked for', async () => {
    const power = new PowerSupply();
    const devices = [0, 1].map((i) => new VolatileDevice(65_536, { name: `disk ${i}`, power }));
    power.cutAtEvent(4);
    await devices[0]!.write(0, sector(1), { fua: true });
    // Submitted as the third event; the power goes before it completes.
    const error = await errorOf(devices[1]!.write(0, sector(2), { fua: true }));
    expect(error.message).toContain('power');
    await errorOf(devices[0]!.read(0, new Uint8Array(SECTOR)));
    expect(await tags(devices[0]!.cutPower(1, 'none'), 1)).toEqual([1]);
    expect(await tags(devices[1]!.cutPower(1, 'none'), 1)).toEqual([0]);
    expect(await tags(devices[1]!.cutPower(1, 'all'), 1)).toEqual([2]);
  });
});

describe('FaultyDevice', () => {
  const write = (device: FaultyDevice, offset = 0) => device.write(offset, sector(1));

  it('strikes the nth call that fits, once, or for good with latch', async () => {
    const once = new FaultyDevice(new MemoryDevice(65_536), { rules: [{ operations: ['write'], nth: 2 }] });
    await write(once);
    await errorOf(write(once));
    await write(once);
    const latched = new FaultyDevice(new MemoryDevice(65_536), {
      rules: [{ nth: 2, latch: true, code: 'NO_SPACE' }],
    });
    await write(latched);
    expect((await errorOf(write(latched))).code).toBe('NO_SPACE');
    expect((await errorOf(latched.read(0, sector(0)))).code).toBe('NO_SPACE');
  });

  it('strikes only where the rule says', async () => {
    const device = new FaultyDevice(new MemoryDevice(65_536));
    const remove = device.addRule({ operations: ['write'], range: { offset: 4096, length: 512 } });
    await write(device, 3584);
    await write(device, 4608);
    expect((await errorOf(device.write(0, new Uint8Array(8192)))).fault).toMatchObject({
      offset: 0,
      length: 8192,
    });
    remove();
    await write(device, 4096);
    device.addRule({ fua: true });
    await write(device);
    await errorOf(device.write(0, sector(1), { fua: true }));
  });

  it('tears a write where it is told to', async () => {
    const memory = new MemoryDevice(65_536);
    const device = new FaultyDevice(memory, { rules: [{ operations: ['write'], bytesBefore: 1024 }] });
    await errorOf(device.write(0, pattern(4096, 1)));
    const wanted = new Uint8Array(4096);
    wanted.set(pattern(4096, 1).subarray(0, 1024));
    expectSame(await readAt(memory, 0, 4096), wanted);
  });

  it('counts exactly', async () => {
    const device = new FaultyBatchDevice(new MemoryDevice(65_536));
    await device.write(0, pattern(1024, 1));
    await device.write(0, pattern(512, 1), { fua: true });
    await device.writeBatch([
      { offset: 4096, from: pattern(512, 2) },
      { offset: 8192, from: [pattern(512, 3), pattern(512, 4)] },
    ]);
    await device.read(0, new Uint8Array(2048));
    await device.writeZeroes(0, 512);
    await device.trim(0, 512);
    await device.flush();
    expect(device.counts).toEqual({
      reads: 1,
      writes: 3,
      fuaWrites: 1,
      batches: 1,
      zeroings: 1,
      trims: 1,
      flushes: 1,
      readBytes: 2048,
      writtenBytes: 3072,
    });
  });

  it('notes calls in flight that overlap, and no others', async () => {
    const device = new FaultyDevice(new MemoryDevice(65_536), { seed: 1, maxDelayTurns: 3 });
    await Promise.all([
      write(device, 0),
      write(device, 512),
      device.read(1024, sector(0)),
      device.read(1024, sector(0)),
    ]);
    expect(device.overlaps).toEqual([]);
    await Promise.all([write(device, 0), device.read(0, new Uint8Array(1024))]);
    expect(device.overlaps).toEqual(['read [0, 1024) while write [0, 512) is in flight']);
  });
});
