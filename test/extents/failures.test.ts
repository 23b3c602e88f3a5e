/** Targets that fail, by the cases of paragraph 51 (data journaling); and a lease that ends (paragraph 48). */
import { describe, expect, it } from 'vitest';
import type { BlockDevice } from '../../src/device/contract.js';
import { UserError } from '../../src/errors.js';
import { withCalls } from '../../src/lab/self/with-calls.js';
import { FaultyDevice } from '../support/devices/faulty-device.js';
import { contentOf, EXTENT_BYTES, filled, Stage, type StageOptions } from './support/stage.js';

/** Two targets of 32 extents each. A clock that goes when it is waited for. */
async function twoTargets(options: StageOptions = {}) {
  const faulty: FaultyDevice[] = [];
  const waits: number[] = [];
  let nowMs = 0;
  const clock = {
    nowMs: () => nowMs,
    wait: async (ms: number) => {
      if (ms > 2000) return new Promise<void>(() => {});
      waits.push(ms);
      nowMs += ms;
      await new Promise((resolve) => setImmediate(resolve));
    },
  };
  const stage = await Stage.make({
    splitAt: 32,
    wrap: (device: BlockDevice) => {
      faulty.push(new FaultyDevice(device));
      return faulty.at(-1)!;
    },
    ...options,
    store: { journalShares: false, clock, waitForTargetMs: 5000, ...options.store },
  });
  const { store, file } = await stage.openWithFile();
  return { stage, store, file, waits, faulty: faulty as [FaultyDevice, FaultyDevice] };
}

describe('paragraph 51: the target of the journal fails before the commit', () => {
  it.each([
    ['a write that passes by the buffers', 16 * EXTENT_BYTES, 'write'],
    ['a write of what was buffered', 100, 'write'],
    ['the flush of the commit', 100, 'flush'],
    ['the flush, of what is in no buffer', 16 * EXTENT_BYTES, 'flush'],
  ] as const)('%s: another journal extent takes it', async (_, length, operation) => {
    const { stage, file, faulty } = await twoTargets({ blockBytes: 4096 });
    faulty[0].addRule({ operations: [operation], latch: true });
    await file.write(0, filled(length, 7));
    expect((await contentOf(file)).subarray(0, length)).toEqual(filled(length, 7));
    await file.commit();
    expect(file.statistics.movedJournalExtents).toBeGreaterThan(0);
    expect(stage.warnings.join()).toContain('is replaced by');
    expect(faulty[1].counts.writtenBytes).toBeGreaterThanOrEqual(length);
    await stage.crash(1, 'none');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    expect((await contentOf(again)).subarray(0, length)).toEqual(filled(length, 7));
  });

  it('and so does every other: the commit fails, names the file, and the file is as of the last commit', async () => {
    const { store, file, faulty, stage } = await twoTargets();
    await file.write(0, filled(100, 1));
    await file.commit();
    for (const device of faulty) device.addRule({ operations: ['write'], latch: true });
    await file.write(0, filled(100, 2));
    await expect(file.commit()).rejects.toMatchObject({
      code: 'IO_ERROR',
      message: expect.stringContaining('disk: '),
      details: { file: 'disk' },
    });
    // Later ones have the same cause: no commit may pass over what was lost.
    await expect(file.write(0, filled(1, 3))).rejects.toMatchObject({ code: 'IO_ERROR' });
    await expect(file.commit()).rejects.toMatchObject({ code: 'IO_ERROR' });
    for (const device of faulty) device.clearRules();
    await file.close();
    const again = await store.openFile('disk', { access: 'write' });
    expect((await contentOf(again))[0]).toBe(1);
    await again.write(0, filled(100, 4));
    await again.commit();
    await stage.crash(1, 'none');
    const after = await (await stage.open()).openFile('disk', { access: 'read' });
    expect((await contentOf(after))[0]).toBe(4);
  });
});

describe('paragraph 51: a target fails after the commit has started', () => {
  it('is waited for, and completion goes on when it comes back', async () => {
    const { store, file, faulty, waits } = await twoTargets();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit();
    // A block is copied home: three attempts fail.
    const away = faulty.map((device) => device.addRule({ operations: ['read'], latch: true }));
    await file.write(0, filled(512, 2));
    const committing = file.commit();
    while (waits.length < 3) await new Promise((resolve) => setImmediate(resolve));
    for (const back of away) back();
    expect(await committing).toMatchObject({ committedExtents: 1, copiedHomeBlocks: 1 });
    await store.settled();
    expect(waits.slice(0, 3)).toEqual([50, 100, 200]);
    await store.close();
  });

  it('and does not come back: nothing was copied home, so the commit is aborted and fails', async () => {
    const { store, file, faulty, stage } = await twoTargets();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit();
    for (const device of faulty) device.addRule({ operations: ['read'], latch: true });
    await file.write(0, filled(512, 2));
    await expect(file.commit()).rejects.toMatchObject({ message: expect.stringContaining('aborted') });
    await expect(file.write(0, filled(1, 3))).rejects.toMatchObject({ code: 'IO_ERROR' });
    for (const device of faulty) device.clearRules();
    await file.close();
    const again = await store.openFile('disk', { access: 'write' });
    expect((await contentOf(again))[0]).toBe(1);
    await again.write(0, filled(512, 4));
    await again.commit({ isComplete: true });
    expect((await contentOf(again))[0]).toBe(4);
    await store.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('and does not come back: what was written on top of it is not kept either', async () => {
    let nowMs = 0;
    let giveUp!: () => void;
    const waited = new Promise<void>((resolve) => {
      giveUp = resolve;
    });
    const wait = async (ms: number) => {
      if (ms > 2000) return new Promise<void>(() => {});
      await waited;
      nowMs += 6000;
    };
    const { file, faulty } = await twoTargets({ store: { clock: { nowMs: () => nowMs, wait } } });
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit();
    for (const device of faulty) device.addRule({ operations: ['read'], latch: true });
    await file.write(0, filled(512, 2));
    const outcome = file.commit().catch((error: unknown) => error);
    while (file.statistics.commits < 2) await new Promise((resolve) => setImmediate(resolve));
    await file.write(EXTENT_BYTES, filled(EXTENT_BYTES, 3));
    const keeping = file.keep();
    giveUp();
    await expect(keeping).rejects.toMatchObject({ code: 'IO_ERROR' });
    expect(await outcome).toMatchObject({ message: expect.stringContaining('aborted') });
    await file.close();
  });

  it('when blocks may have been copied home: nothing is lost, commits are refused until it is recovered', async () => {
    const { store, file, faulty, stage } = await twoTargets();
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit();
    await file.write(0, filled(512, 2));
    // The second write is the one home.
    for (const device of faulty) device.addRule({ operations: ['flush'], nth: 2, latch: true });
    await expect(file.commit()).rejects.toMatchObject({ hint: expect.any(String) });
    await expect(store.settled()).rejects.toMatchObject({
      message: expect.stringContaining('cannot be completed'),
    });
    await stage.crash(1, 'all');
    const again = await stage.open();
    expect(again.recovery).toMatchObject({ redoneTransactions: 1, statistics: { copiedHomeBlocks: 1 } });
    expect((await contentOf(await again.openFile('disk', { access: 'read' })))[0]).toBe(2);
  });

  it('where the array it lies on has lost what is to be copied: it is not waited for, as that never comes back', async () => {
    let isLost = false;
    const read = (device: BlockDevice): BlockDevice['read'] => {
      return (offset, into) =>
        isLost
          ? Promise.reject(new UserError('DATA_UNAVAILABLE', `${device.name}: in doubt`))
          : device.read(offset, into);
    };
    const wrap = (device: BlockDevice) => withCalls(device, { read: read(device) });
    const { file, waits } = await twoTargets({ wrap });
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    await file.write(0, filled(512, 2));
    isLost = true;
    await expect(file.commit()).rejects.toMatchObject({ code: 'DATA_UNAVAILABLE' });
    expect(waits).toEqual([]);
  });

  it('where journal and data share it: the commit was acknowledged and stays, whatever happens', async () => {
    const { file, faulty, stage } = await twoTargets({ store: { journalShares: true } });
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    for (const device of faulty) device.addRule({ operations: ['read'], latch: true });
    await file.write(0, filled(512, 2));
    await file.commit();
    await stage.crash(1, 'none');
    const again = await (await stage.open()).openFile('disk', { access: 'read' });
    expect((await contentOf(again))[0]).toBe(2);
  });
});

describe('the lease of a client ends (paragraph 48)', () => {
  it('every later call fails at once, what was committed is there, and what it had is free', async () => {
    const stage = await Stage.make({ leaseMs: 1000 });
    const { store, file } = await stage.openWithFile();
    await file.write(0, filled(100, 1));
    await file.commit({ isComplete: true });
    await file.write(0, filled(100, 2));
    stage.nowMs += 5000;
    const ended = { code: 'REFUSED', details: { reason: 'lease-ended' } };
    await expect(store.space()).rejects.toMatchObject(ended);
    await expect(file.read(0, new Uint8Array(10))).rejects.toMatchObject(ended);
    await expect(file.write(0, filled(10, 3))).rejects.toMatchObject(ended);
    await expect(file.commit()).rejects.toMatchObject(ended);
    await expect(store.openFile('disk', { access: 'write' })).rejects.toMatchObject(ended);
    await file.close();
    await store.close();
    const other = await stage.open({ client: 'b' });
    const again = await other.openFile('disk', { access: 'write' });
    expect((await contentOf(again))[0]).toBe(1);
    await other.close();
    expect(await stage.findings()).toEqual([]);
  });

  it('another client cannot write what one has open, until then', async () => {
    const stage = await Stage.make({ leaseMs: 1000 });
    await stage.openWithFile();
    const other = await stage.open({ client: 'b' });
    await expect(other.openFile('disk', { access: 'write' })).rejects.toMatchObject({ code: 'IN_USE' });
    stage.nowMs += 900;
    await other.space();
    stage.nowMs += 900;
    await other.space();
    const file = await other.openFile('disk', { access: 'write' });
    await file.write(0, filled(10, 1));
    await file.commit();
  });

  it('its transactions are completed by whoever opens next (paragraph 49)', async () => {
    const options = { leaseMs: 1000, store: { journalShares: true } };
    const { store, file, faulty, stage } = await twoTargets(options);
    await file.write(0, filled(EXTENT_BYTES, 1));
    await file.commit({ isComplete: true });
    for (const device of faulty) device.addRule({ operations: ['read'], latch: true });
    await file.write(0, filled(512, 2));
    await file.commit();
    stage.nowMs += 5000;
    await expect(store.space()).rejects.toMatchObject({ code: 'REFUSED' });
    for (const device of faulty) device.clearRules();
    const other = await stage.open({ client: 'b' });
    expect(other.recovery).toMatchObject({ redoneTransactions: 1 });
    expect((await contentOf(await other.openFile('disk', { access: 'read' })))[0]).toBe(2);
  });
});
