/** A restore writes what differs, reads no holes, and goes on where an earlier one stopped. */
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { UserError } from '../../../src/errors.js';
import { BackupReader, openSet, restoreBackup } from '../../../src/snapshot/set/index.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { allOf, BLOCK_BYTES, makeBackup } from './sets.js';

const folder = await temporaryFolder();
const MIB = 1024 ** 2;
const sizeBytes = 8 * MIB;
let count = 0;
const readers: BackupReader[] = [];

afterAll(async () => {
  for (const reader of readers) await reader.close();
});

/** A backup of the model, open. */
async function backupOf(model: Uint8Array): Promise<BackupReader> {
  const directory = join(folder, `set-${count++}`);
  await makeBackup(
    directory,
    { name: 'all', sizeBytes: model.length },
    allOf(model, new SeededRandom(count)),
  );
  const reader = await BackupReader.open(await openSet(directory), 'all');
  readers.push(reader);
  return reader;
}

/** Half of it is content, and in that are blocks of zeroes. */
function modelOf(fill = 1): Uint8Array {
  const model = new Uint8Array(sizeBytes);
  for (let at = 0; at < sizeBytes / 2; at += BLOCK_BYTES) {
    if (at % (3 * BLOCK_BYTES) !== 0) model.fill(fill + ((at / BLOCK_BYTES) % 200), at, at + BLOCK_BYTES);
  }
  return model;
}

async function contentOf(device: MemoryDevice): Promise<Uint8Array> {
  const bytes = new Uint8Array(device.size);
  await device.read(0, bytes);
  return bytes;
}

function expectSame(found: Uint8Array, wanted: Uint8Array): void {
  expect(Buffer.compare(found, wanted)).toBe(0);
}

describe('a restore', () => {
  it('to what is empty reads nothing of it, and makes no zeroes', async () => {
    const model = modelOf();
    const memory = new MemoryDevice(sizeBytes);
    const target = new FaultyDevice(memory);
    const result = await restoreBackup(await backupOf(model), target);
    expectSame(await contentOf(memory), model);
    expect(target.counts).toMatchObject({ reads: 0, zeroings: 0, flushes: 1 });
    expect(result).toMatchObject({
      restoredBytes: sizeBytes,
      writtenBytes: target.counts.writtenBytes,
      equalBytes: sizeBytes - target.counts.writtenBytes,
    });
    expect(target.counts.writtenBytes).toBeLessThan(sizeBytes / 2);
    expect(memory.allocatedBytes).toBe(target.counts.writtenBytes);
    expect(target.overlaps).toEqual([]);
  });

  it('writes nothing the second time', async () => {
    const reader = await backupOf(modelOf());
    const target = new FaultyDevice(new MemoryDevice(sizeBytes));
    await restoreBackup(reader, target);
    target.resetCounts();
    expect(await restoreBackup(reader, target)).toMatchObject({ writtenBytes: 0, equalBytes: sizeBytes });
    expect(target.counts).toMatchObject({ writes: 0, writtenBytes: 0, zeroings: 0 });
    expect(target.counts.readBytes).toBeLessThanOrEqual(sizeBytes / 2 + MIB);
  });

  it('writes the blocks that differ, and zeroes where something else is', async () => {
    const model = modelOf();
    const reader = await backupOf(model);
    const memory = new MemoryDevice(sizeBytes);
    await restoreBackup(reader, memory);
    await memory.write(7 * BLOCK_BYTES + 512, new Uint8Array(512).fill(0xee));
    await memory.write(sizeBytes - 5 * BLOCK_BYTES, new Uint8Array(2 * BLOCK_BYTES).fill(0xee));
    const target = new FaultyDevice(memory);
    expect(await restoreBackup(reader, target)).toMatchObject({ writtenBytes: 3 * BLOCK_BYTES });
    expect(target.counts).toMatchObject({ writes: 1, writtenBytes: BLOCK_BYTES, zeroings: 1 });
    expectSame(await contentOf(memory), model);
  });

  it('makes any device like the backup, whatever it held', () =>
    withSeed(async (random) => {
      const model = random.bytes(sizeBytes / 4);
      model.fill(0, MIB / 2, MIB);
      const reader = await backupOf(model);
      for (const byDifference of [true, false]) {
        const memory = new MemoryDevice(model.length);
        for (let n = 0; n < 20; n++) {
          const length = 512 * random.between(1, 64);
          await memory.write(512 * random.below((model.length - length) / 512), random.bytes(length));
        }
        await restoreBackup(
          reader,
          new FaultyDevice(memory, { maxDelayTurns: 3, seed: random.below(1000) }),
          {
            byDifference,
          },
        );
        expectSame(await contentOf(memory), model);
      }
    }));

  it('as a whole reads nothing of the target, and writes all', async () => {
    const model = modelOf();
    const memory = new MemoryDevice(sizeBytes);
    await memory.write(sizeBytes - MIB, new Uint8Array(MIB).fill(0xee));
    const target = new FaultyDevice(memory);
    const result = await restoreBackup(await backupOf(model), target, { byDifference: false });
    expect(result).toMatchObject({ writtenBytes: sizeBytes, equalBytes: 0 });
    expect(target.counts.reads).toBe(0);
    expectSame(await contentOf(memory), model);
  });

  it('that is only tried counts the same, and writes nothing', async () => {
    const target = new FaultyDevice(new MemoryDevice(sizeBytes));
    const reader = await backupOf(modelOf());
    const tried = await restoreBackup(reader, target, { dryRun: true });
    expect(target.counts).toMatchObject({ writes: 0, zeroings: 0, flushes: 0 });
    expect(tried.writtenBytes).toBe((await restoreBackup(reader, target)).writtenBytes);
  });

  it('leaves what lies behind the backup alone, and does not begin where it cannot fit', async () => {
    const model = modelOf();
    const reader = await backupOf(model);
    const larger = new MemoryDevice(sizeBytes + MIB);
    await larger.write(sizeBytes, new Uint8Array(MIB).fill(9));
    await restoreBackup(reader, larger);
    const found = await contentOf(larger);
    expectSame(found.subarray(0, sizeBytes), model);
    expect(found.subarray(sizeBytes).every((byte) => byte === 9)).toBe(true);
    const smaller = new FaultyDevice(new MemoryDevice(sizeBytes - 512));
    await expect(restoreBackup(reader, smaller)).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
    expect(smaller.counts).toMatchObject({ writes: 0, reads: 0 });
  });
});

describe('a terabyte', () => {
  it('that is nearly empty is restored for what is in it', async () => {
    const directory = join(folder, 'terabyte');
    const terabyte = 1024 ** 4;
    const content = new Uint8Array(BLOCK_BYTES).fill(5);
    const changes = Array.from({ length: 1000 }, (_, n) => ({
      ...{ offset: n * 1000 * MIB, length: BLOCK_BYTES, content },
    }));
    await makeBackup(directory, { name: 'all', sizeBytes: terabyte }, changes);
    const reader = await BackupReader.open(await openSet(directory), 'all');
    readers.push(reader);
    const target = new FaultyDevice(new MemoryDevice(terabyte));
    const written = 1000 * BLOCK_BYTES;
    expect(await restoreBackup(reader, target)).toMatchObject({
      writtenBytes: written,
      restoredBytes: terabyte,
    });
    expect(target.counts).toMatchObject({ reads: 0, writtenBytes: written });
    target.resetCounts();
    expect(await restoreBackup(reader, target)).toMatchObject({ writtenBytes: 0 });
    expect(target.counts).toMatchObject({ readBytes: written, writes: 0, zeroings: 0 });
  });
});

describe('a restore that is interrupted', () => {
  it('goes on when it is run again: nothing is written twice', async () => {
    const model = modelOf();
    const reader = await backupOf(model);
    const memory = new MemoryDevice(sizeBytes);
    const first = new FaultyDevice(memory, { maxDelayTurns: 2 });
    const stop = new AbortController();
    const reason = new UserError('INTERRUPTED', 'interrupted');
    const onProgress = (doneBytes: number) => {
      if (doneBytes >= 2 * MIB) stop.abort(reason);
    };
    const restored = restoreBackup(reader, first, { signal: stop.signal, onProgress });
    await expect(restored).rejects.toBe(reason);
    expect(first.counts.flushes).toBe(0);
    const second = new FaultyDevice(memory);
    await restoreBackup(reader, second);
    expectSame(await contentOf(memory), model);
    const whole = new FaultyDevice(new MemoryDevice(sizeBytes));
    await restoreBackup(reader, whole);
    expect(first.counts.writtenBytes).toBeGreaterThan(0);
    expect(second.counts.writtenBytes).toBeGreaterThan(0);
    expect(first.counts.writtenBytes + second.counts.writtenBytes).toBe(whole.counts.writtenBytes);
  });

  it.each(['NO_SPACE', 'IO_ERROR'] as const)('by a target that fails with %s, too', async (code) => {
    const model = modelOf();
    const reader = await backupOf(model);
    const memory = new MemoryDevice(sizeBytes);
    const failing = new FaultyDevice(memory, {
      rules: [{ operations: ['write'], nth: 3, latch: true, code }],
    });
    await expect(restoreBackup(reader, failing)).rejects.toMatchObject({ code });
    expect(failing.counts.flushes).toBe(0);
    await restoreBackup(reader, memory);
    expectSame(await contentOf(memory), model);
  });

  it('by a flush that fails is none', async () => {
    const target = new FaultyDevice(new MemoryDevice(sizeBytes), { rules: [{ operations: ['flush'] }] });
    await expect(restoreBackup(await backupOf(modelOf()), target)).rejects.toMatchObject({
      code: 'IO_ERROR',
    });
  });
});
