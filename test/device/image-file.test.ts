import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it, onTestFinished } from 'vitest';
import { type FileCalls, systemCalls } from '../../src/device/file-calls.js';
import { ImageFile } from '../../src/device/image-file.js';
import { errorOf, expectSame, pattern, readAt } from '../conformance/block-device.js';
import { scratchDirectory } from '../support/devices/scratch.js';

const MIB = 1024 * 1024;

async function imageWith(calls: Partial<FileCalls>, size = MIB): Promise<ImageFile> {
  const path = join(await scratchDirectory(), 'image');
  const device = await ImageFile.open(path, {
    readOnly: false,
    create: { size },
    calls: { ...systemCalls, ...calls },
  });
  onTestFinished(() => device.close());
  return device;
}

function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}

/** Fails with the codes in turn, then does what `call` does. */
function failing<A extends unknown[], T>(codes: string[], call: (...args: A) => Promise<T>) {
  return async (...args: A): Promise<T> => {
    const code = codes.shift();
    if (code !== undefined) throw systemError(code);
    return call(...args);
  };
}

describe('transfers', () => {
  it('go on after calls that moved less than asked, over every border', async () => {
    const short = (buffers: readonly Uint8Array[]) => [buffers[0]!.subarray(0, 300)];
    const device = await imageWith({
      read: (fd, buffers, at) => systemCalls.read(fd, short(buffers), at),
      write: (fd, buffers, at) => systemCalls.write(fd, short(buffers), at),
    });
    const bytes = pattern(8192, 1);
    await device.write(512, [bytes.subarray(0, 100), bytes.subarray(100, 900), bytes.subarray(900)]);
    const into = [new Uint8Array(700), new Uint8Array(300), new Uint8Array(7192)];
    await device.read(512, into);
    expectSame(Buffer.concat(into), bytes);
  });

  it('are made again when they were interrupted', async () => {
    const device = await imageWith({
      read: failing(['EINTR', 'EAGAIN'], systemCalls.read),
      write: failing(['EAGAIN', 'EINTR', 'EINTR'], systemCalls.write),
      fdatasync: failing(['EINTR'], systemCalls.fdatasync),
    });
    await device.write(0, pattern(512, 2));
    await device.flush();
    expectSame(await readAt(device, 0, 512), pattern(512, 2));
  });

  it('of a write that moves nothing end', async () => {
    const device = await imageWith({ write: async () => 0 });
    expect((await errorOf(device.write(0, new Uint8Array(512)))).code).toBe('IO_ERROR');
  });

  it.each([
    ['ENOSPC', 'NO_SPACE'],
    ['EDQUOT', 'NO_SPACE'],
    ['EFBIG', 'NO_SPACE'],
    ['EACCES', 'PERMISSION_DENIED'],
    ['EPERM', 'PERMISSION_DENIED'],
    ['EROFS', 'PERMISSION_DENIED'],
    ['EIO', 'IO_ERROR'],
    ['ESTALE', 'IO_ERROR'],
  ])('say %s as %s, with the place', async (system, code) => {
    const device = await imageWith({ write: failing([system], systemCalls.write) });
    const error = await errorOf(device.write(1024, new Uint8Array(2048)));
    expect(error.code).toBe(code);
    expect(error.fault).toMatchObject({
      device: device.name,
      operation: 'write',
      offset: 1024,
      length: 2048,
    });
    expect(error.message).toContain(`${device.name}: write of 2048 bytes at offset 1024`);
    // A plain write that failed is not final: the layer above decides what becomes of the device.
    await device.write(1024, new Uint8Array(2048));
    await device.flush();
  });
});

describe('durability', () => {
  it('a fua write that failed is final', async () => {
    const device = await imageWith({ write: failing(['EIO'], systemCalls.write) });
    await errorOf(device.write(0, new Uint8Array(512), { fua: true }));
    expect((await errorOf(device.flush())).message).toContain('final');
    await errorOf(device.write(0, new Uint8Array(512)));
  });

  it('a fua write that found no room is not: it can be tried again when there is some', async () => {
    const device = await imageWith({ write: failing(['ENOSPC'], systemCalls.write) });
    const error = await errorOf(device.write(0, new Uint8Array(512), { fua: true }));
    expect(error.code).toBe('NO_SPACE');
    await device.write(0, new Uint8Array(512), { fua: true });
    await device.flush();
  });

  it('fua does not sync the whole file, a flush does', async () => {
    let syncs = 0;
    const descriptors = new Set<number>();
    const device = await imageWith({
      async fdatasync(fd) {
        syncs += 1;
        await systemCalls.fdatasync(fd);
      },
      write(fd, buffers, at) {
        descriptors.add(fd);
        return systemCalls.write(fd, buffers, at);
      },
    });
    await device.write(0, new Uint8Array(512));
    await device.write(512, new Uint8Array(512), { fua: true });
    await device.write(1024, new Uint8Array(512), { fua: true });
    expect([syncs, descriptors.size]).toEqual([0, 2]);
    await device.flush();
    expect(syncs).toBe(1);
  });

  it('flushes at the same time share, and none is answered by a sync that began before it', async () => {
    const { device, syncs, release } = await imageWithHeldSyncs();
    const first = device.flush();
    // It has ended before the other flushes are asked for, and after the first sync began.
    await device.write(0, new Uint8Array(512));
    const others = Array.from({ length: 49 }, () => device.flush());
    await release();
    await release();
    await Promise.all([first, ...others]);
    expect(syncs()).toBe(2);
  });

  it('a flush asks the disk for what was taken since the last one, and for nothing else', async () => {
    let syncs = 0;
    let fails = false;
    const device = await imageWith({
      async fdatasync(fd) {
        syncs += 1;
        await systemCalls.fdatasync(fd);
      },
      write: (fd, buffers, at) =>
        fails ? Promise.reject(systemError('EIO')) : systemCalls.write(fd, buffers, at),
    });
    const asked = async () => {
      await device.flush();
      return syncs;
    };
    // Who had the file open before may have been killed: its dirty pages are read here as if they were on disk.
    expect(await asked()).toBe(1);
    expect(await asked()).toBe(1);
    await device.write(0, new Uint8Array(512));
    expect(await asked()).toBe(2);
    await device.write(512, new Uint8Array(512), { fua: true });
    expect(await asked()).toBe(2);
    // Of a write that fails some may have been taken.
    fails = true;
    await errorOf(device.write(0, new Uint8Array(512)));
    fails = false;
    expect(await asked()).toBe(3);
    await device.writeZeroes(0, 8192);
    expect(await asked()).toBe(4);
    await device.trim(0, 8192);
    expect(await asked()).toBe(5);
    await device.writeZeroes(0, 8192, { fua: true });
    expect(syncs).toBe(6);
    expect(await asked()).toBe(6);
  });

  it('a flush is not answered while the sync of what was taken before it runs, and fails if that fails', async () => {
    for (const outcome of ['well', 'EIO'] as const) {
      const { device, syncs, release } = await imageWithHeldSyncs();
      const outcomes = [device.flush(), device.flush()].map((flush) =>
        flush.then(
          () => 'well',
          () => 'failed',
        ),
      );
      let isAnswered = false;
      outcomes[1]!.then(() => {
        isAnswered = true;
      });
      for (let turn = 0; turn < 10; turn++) await setImmediate();
      expect(isAnswered).toBe(false);
      await release(outcome === 'well' ? undefined : outcome);
      expect(await Promise.all(outcomes)).toEqual(
        outcome === 'well' ? ['well', 'well'] : ['failed', 'failed'],
      );
      expect(syncs()).toBe(1);
    }
  });
});

/** Its syncs run until they are released, one after the other, well or with an error. */
async function imageWithHeldSyncs() {
  const held: ((error?: string) => void)[] = [];
  let syncs = 0;
  const device = await imageWith({
    async fdatasync(fd) {
      syncs += 1;
      await new Promise<void>((resolve, reject) => {
        held.push((code) => (code === undefined ? resolve() : reject(systemError(code))));
      });
      await systemCalls.fdatasync(fd);
    },
  });
  const release = async (error?: string): Promise<void> => {
    while (held.length === 0) await setImmediate();
    held.shift()!(error);
  };
  return { device, syncs: () => syncs, release };
}

describe('holes', () => {
  it('are punched by zeroing and by trim, and are shown', async () => {
    const device = await imageWith({});
    await device.write(0, pattern(MIB, 3));
    await device.flush();
    const full = (await stat(device.name)).blocks;
    await device.writeZeroes(65_536, 65_536);
    await device.trim(262_144 - 512, 65_536 + 1024);
    await device.flush();
    expect(full - (await stat(device.name)).blocks).toBe((2 * 65_536) / 512);
    expect(await device.extents(0, MIB)).toEqual([
      { offset: 0, length: 65_536, kind: 'data' },
      { offset: 65_536, length: 65_536, kind: 'hole' },
      { offset: 131_072, length: 131_072, kind: 'data' },
      { offset: 262_144, length: 65_536, kind: 'hole' },
      { offset: 327_680, length: MIB - 327_680, kind: 'data' },
    ]);
  });

  it('zeroes are written where there are none, trim does nothing, and the answer is remembered', async () => {
    let asked = 0;
    const device = await imageWith({
      async punchHole() {
        asked += 1;
        throw systemError('EOPNOTSUPP');
      },
    });
    await device.write(0, pattern(65_536, 4));
    await device.writeZeroes(512, 4096);
    await device.trim(8192, 8192);
    await device.writeZeroes(32_768, 512);
    expectSame(
      await readAt(device, 0, 65_536),
      pattern(65_536, 4)
        .fill(0, 512, 512 + 4096)
        .fill(0, 32_768, 32_768 + 512),
    );
    expect(asked).toBe(1);
  });

  it('a range that the filesystem does not take is zeroed by hand, and the next is asked for again', async () => {
    const device = await imageWith({ punchHole: failing(['EINVAL'], systemCalls.punchHole) });
    await device.write(0, pattern(65_536, 5));
    await device.writeZeroes(0, 32_768);
    await device.writeZeroes(32_768, 32_768);
    expectSame(await readAt(device, 0, 65_536), new Uint8Array(65_536));
    expect(await device.extents(0, 65_536)).toEqual([
      { offset: 0, length: 32_768, kind: 'data' },
      { offset: 32_768, length: 32_768, kind: 'hole' },
    ]);
  });

  it('a failure of punching is an error of the call', async () => {
    const device = await imageWith({ punchHole: failing(['EIO', 'EIO'], systemCalls.punchHole) });
    expect((await errorOf(device.writeZeroes(0, 4096))).fault.operation).toBe('write-zeroes');
    expect((await errorOf(device.trim(0, 4096))).fault.operation).toBe('trim');
  });

  it('everything is data where lseek cannot be called or does not know', async () => {
    const all = [{ offset: 0, length: MIB, kind: 'data' }];
    const without = await imageWith({ loadSeek: async () => null });
    expect(await without.extents(0, MIB)).toEqual(all);
    const clueless = await imageWith({ loadSeek: async () => () => 'EINVAL' });
    expect(await clueless.extents(0, MIB)).toEqual(all);
    expect(await clueless.extents(0, MIB)).toEqual(all);
    const broken = await imageWith({ loadSeek: async () => () => 'EIO' });
    expect((await errorOf(broken.extents(0, MIB))).fault.operation).toBe('extents');
  });

  it('blocks that are data in part are data', async () => {
    // Data in bytes 700 to 2000 of the file, as no common filesystem would have it.
    const seek = (_fd: number, at: number, whence: number) => {
      if (whence === 3) return at < 700 ? 700 : at < 2000 ? at : 'ENXIO';
      return at < 700 || at >= 2000 ? at : 2000;
    };
    const device = await imageWith({ loadSeek: async () => seek });
    expect(await device.extents(0, 4096)).toEqual([
      { offset: 0, length: 512, kind: 'hole' },
      { offset: 512, length: 1536, kind: 'data' },
      { offset: 2048, length: 2048, kind: 'hole' },
    ]);
  });
});
