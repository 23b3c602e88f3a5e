/** What ends a backup, or is told of it: each leaves writers unharmed, and nothing that could be taken for a backup. */
import { setImmediate as oneTurn } from 'node:timers/promises';
import { describe, expect, it, vi } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { withCalls } from '../../../src/lab/self/with-calls.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import {
  atTheDoor,
  BackupBench,
  type BenchOptions,
  CHUNK_BLOCKS,
  contentFor,
  contentOf,
  firstDifference,
  LAST,
} from '../../support/snapshot/backup-bench.js';

const BAD = 300;
const badBlock = {
  operations: ['read'],
  range: { offset: BAD * BLOCK_BYTES, length: BLOCK_BYTES },
  latch: true,
} as const;

describe('a block of the volume that cannot be read', () => {
  it('ends it, and is named', async () => {
    const bench = new BackupBench({ lower: (base) => new FaultyDevice(base, { rules: [badBlock] }) });
    await bench.fill();
    await expect(bench.run()).rejects.toMatchObject({
      code: 'IO_ERROR',
      details: { offsetBytes: BAD * BLOCK_BYTES },
    });
    expect(bench.target.end).toBe('failed');
  });

  it('is left out where that was chosen, and no other is', async () => {
    const bench = new BackupBench({
      skipsUnreadable: true,
      lower: (base) => new FaultyDevice(base, { rules: [badBlock] }),
    });
    await bench.fill();
    const { unreadable } = await bench.run();
    expect(unreadable).toEqual([{ offsetBytes: BAD * BLOCK_BYTES, lengthBytes: BLOCK_BYTES }]);
    expect(bench.target.zeroed.count).toBe(1);
    const expected = bench.moment!.slice();
    expected.fill(0, BAD * BLOCK_BYTES, (BAD + 1) * BLOCK_BYTES);
    expect(firstDifference(bench.target.content, expected)).toBe(null);
  });

  it('amid a long write costs no other block of it', async () => {
    const bad = LAST - 5;
    const rule = {
      operations: ['read'],
      range: { offset: bad * BLOCK_BYTES, length: 1 },
      latch: true,
    } as const;
    const { bench, open, run } = await atTheDoor({
      skipsUnreadable: true,
      lower: (base) => new FaultyDevice(base, { rules: [rule] }),
    });
    await bench.write(LAST - 20, 2, 21);
    open();
    expect(await run).toMatchObject({
      unreadable: [{ offsetBytes: bad * BLOCK_BYTES, lengthBytes: BLOCK_BYTES }],
    });
    const expected = bench.moment!.slice();
    expected.fill(0, bad * BLOCK_BYTES, (bad + 1) * BLOCK_BYTES);
    expect(firstDifference(bench.target.content, expected)).toBe(null);
  });

  it('does not keep it from being written', async () => {
    const bench = new BackupBench({
      blocks: 8 * CHUNK_BLOCKS,
      lower: (base) => {
        const offset = (8 * CHUNK_BLOCKS - 1) * BLOCK_BYTES;
        return new FaultyDevice(base, {
          rules: [{ operations: ['read'], range: { offset, length: 1 }, latch: true }],
        });
      },
    });
    await bench.fill();
    bench.target.door = new Promise(() => {});
    const run = bench.run();
    run.catch(() => {});
    while (bench.moment === null) await new Promise(setImmediate);
    await bench.write(LAST, 2);
    await expect(run).rejects.toMatchObject({ code: 'IO_ERROR' });
    const now = await contentOf(bench.base);
    expect(now.subarray(-BLOCK_BYTES)).toEqual(contentFor(LAST, 2));
  });
});

it('a target that fails ends it', async () => {
  const bench = new BackupBench();
  await bench.fill();
  bench.target.failure = new UserError('NO_SPACE', 'the target is full');
  await expect(bench.run()).rejects.toThrow('the target is full');
  expect(bench.target.end).toBe('failed');
  await bench.write(1, 2);
});

it('a target that fails once ends it at once, though others are waited for', async () => {
  const bench = new BackupBench({ blocks: 16 * CHUNK_BLOCKS, bytesPerSecond: 1 });
  await bench.fill();
  let puts = 0;
  bench.target.put = async () => {
    puts += 1;
    if (puts === 2) throw new UserError('IO_ERROR', 'one sector of the target is broken');
  };
  // The clock stands still: what comes next is paid for in weeks.
  await expect(bench.run()).rejects.toThrow('one sector of the target is broken');
  expect(puts).toBeLessThan(8);
  expect(bench.target.end).toBe('failed');
});

it('what is ended before its moment is there leaves nobody at the gate', async () => {
  let held!: HeldDevice;
  const bench = new BackupBench({ lower: (base) => (held = new HeldDevice(base)) });
  await bench.fill();
  const [add, remove] = [vi.spyOn(bench.gate, 'add'), vi.spyOn(bench.gate, 'remove')];
  held.hold('write');
  const before = bench.write(3, 2);
  await held.arrived(1);
  const run = bench.run();
  run.catch(() => {});
  for (let turn = 0; turn < 20; turn++) await oneTurn();
  bench.cancel.abort(new Error('enough'));
  await expect(run).rejects.toThrow('enough');
  held.release('write');
  await before;
  for (let turn = 0; turn < 20; turn++) await oneTurn();
  expect(add).toHaveBeenCalledOnce();
  expect(remove.mock.invocationCallOrder.at(-1)).toBeGreaterThan(add.mock.invocationCallOrder[0]!);
});

describe('a container', () => {
  const writtenMeanwhile = async (containerDevice: NonNullable<BenchOptions['containerDevice']>) => {
    const { bench, open, run } = await atTheDoor({ containerDevice });
    await bench.write(LAST, 2);
    open();
    return { bench, run };
  };

  it('that takes nothing ends it, and the write goes on', async () => {
    const { bench, run } = await writtenMeanwhile(
      (base) => new FaultyDevice(base, { rules: [{ operations: ['write'], latch: true, code: 'NO_SPACE' }] }),
    );
    await expect(run).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(bench.target.end).toBe('failed');
    expect((await contentOf(bench.base)).subarray(-BLOCK_BYTES)).toEqual(contentFor(LAST, 2));
  });

  it('that gives back what was not kept in it ends it', async () => {
    const { bench, run } = await writtenMeanwhile((base) =>
      withCalls(base, { write: (offset) => base.write(offset, new Uint8Array(BLOCK_BYTES)) }),
    );
    await expect(run).rejects.toMatchObject({ code: 'METADATA_DAMAGED' });
    expect(bench.target.end).toBe('failed');
  });
});
