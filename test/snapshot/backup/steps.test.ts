/**
 * Online backup by an intermediate container, step by step: figures 8 to 12 of the document, each with what a write has to wait
 * for, and what not.
 */
import { setImmediate } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import { BlockMap } from '../../../src/replication/map/block-map.js';
import { HeldDevice } from '../../support/devices/held-device.js';
import {
  atTheDoor,
  BackupBench,
  CHUNK_BLOCKS,
  contentFor,
  firstDifference,
  LAST,
} from '../../support/snapshot/backup-bench.js';

/** Whether it has ended after many turns of the event loop. */
async function hasEnded(call: Promise<unknown>): Promise<boolean> {
  let ended = false;
  void call.then(
    () => {
      ended = true;
    },
    () => {
      ended = true;
    },
  );
  for (let turn = 0; turn < 50 && !ended; turn++) await setImmediate();
  return ended;
}

describe('figure 8: two requests', () => {
  it('to what is copied already goes on (470), to what is not waits for its copy alone (480)', async () => {
    const { bench, open, run } = await atTheDoor({ slots: null });
    expect(await hasEnded(bench.write(0, 2))).toBe(true);
    const second = bench.write(LAST, 2);
    expect(await hasEnded(second)).toBe(false);
    open();
    await run;
    await second;
    expect(firstDifference(bench.target.content, bench.moment!)).toBe(null);
  });
});

describe('figure 9', () => {
  it('steps 900 and 905: what is dirty goes down, and the moment is between two requests', async () => {
    let held!: HeldDevice;
    const bench = new BackupBench({ lower: (base) => (held = new HeldDevice(base)) });
    await bench.fill();
    held.hold('write');
    const before = bench.write(3, 2, 4);
    await held.arrived(1);
    const run = bench.run();
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    const after = bench.write(4, 3);
    expect(await hasEnded(after)).toBe(false);
    expect(bench.moment).toBe(null);
    held.release('write');
    await Promise.all([before, after, run]);
    // Wholly in, and wholly out.
    for (const block of [3, 4, 5, 6])
      expect(bench.target.content.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)).toEqual(
        contentFor(block, 2),
      );
  });

  it('step 910: while the list is made every block counts as unsaved', async () => {
    let list!: (map: BlockMap) => void;
    const listed = new Promise<BlockMap>((resolve) => {
      list = resolve;
    });
    const bench = new BackupBench({ used: () => listed });
    await bench.fill();
    const run = bench.run();
    for (let turn = 0; turn < 20; turn++) await setImmediate();
    await bench.write(1, 2);
    await bench.write(500, 2);
    expect(bench.backup.status()).toMatchObject({
      phase: 'listing',
      container: { usedBytes: 2 * BLOCK_BYTES },
    });
    const used = new BlockMap(3 * CHUNK_BLOCKS);
    used.set({ from: 0, count: 10 });
    list(used);
    await run;
    expect(firstDifference(bench.target.content, bench.moment!, used)).toBe(null);
    // What is not on the list is in no backup, also where it was kept.
    expect(bench.target.covered.equals(used)).toBe(true);
  });

  it('steps 915, 920, 940 and 945: each listed block once, in one pass, in order', async () => {
    const bench = new BackupBench();
    await bench.fill();
    await bench.run();
    const chunks = bench.target.order.filter((block) => block % CHUNK_BLOCKS === 0);
    expect(chunks).toEqual([...chunks].sort((a, b) => a - b));
    expect(bench.target.order).toHaveLength(3 * CHUNK_BLOCKS);
  });

  it('steps 925 and 930: when it has ended, nothing is kept and nobody waits', async () => {
    const bench = new BackupBench();
    await bench.fill();
    await bench.run();
    await bench.write(5, 2);
    expect(bench.container!.keptEver).toBe(0);
  });

  it('step 925: cancelled, the gate is open at once and the target is marked', async () => {
    const { bench, run } = await atTheDoor({ slots: null });
    const waiting = bench.write(LAST, 2);
    expect(await hasEnded(waiting)).toBe(false);
    bench.cancel.abort(new Error('somebody wants it so'));
    // Though the target takes nothing still.
    expect(await hasEnded(waiting)).toBe(true);
    await expect(run).rejects.toThrow('somebody wants it so');
    expect(bench.target).toMatchObject({ end: 'cancelled', reason: 'somebody wants it so' });
  });

  it('steps 935 and 955: a write to what is not listed goes on at once', async () => {
    const { bench, open, run } = await atTheDoor({
      slots: null,
      used: (blocks) => {
        const map = new BlockMap(blocks);
        map.set({ from: 0, count: 7 * CHUNK_BLOCKS });
        return map;
      },
    });
    expect(await hasEnded(bench.write(LAST, 2))).toBe(true);
    open();
    await run;
  });

  it('a write waits for a read of its block by the pass, and for no other', async () => {
    let held!: HeldDevice;
    const bench = new BackupBench({
      blocks: 8 * CHUNK_BLOCKS,
      lower: (base) => (held = new HeldDevice(base)),
    });
    await bench.fill();
    held.hold('read');
    const run = bench.run();
    await held.arrived(4);
    const waiting = bench.write(0, 2);
    expect(await hasEnded(waiting)).toBe(false);
    held.release('read');
    await Promise.all([run, waiting]);
    expect(firstDifference(bench.target.content, bench.moment!)).toBe(null);
  });
});

describe('figure 10', () => {
  it('steps 960, 965 and 970: the old content is in the container before the block is written', async () => {
    let held!: HeldDevice;
    const { bench, open, run } = await atTheDoor({
      containerDevice: (base) => (held = new HeldDevice(base)),
    });
    held.hold('write');
    const writing = bench.write(LAST, 2);
    await held.arrived(1);
    expect(await hasEnded(writing)).toBe(false);
    const below = new Uint8Array(BLOCK_BYTES);
    await bench.base.read(LAST * BLOCK_BYTES, below);
    expect(below).toEqual(contentFor(LAST, 1));
    held.release('write');
    await writing;
    open();
    await run;
    expect(firstDifference(bench.target.content, bench.moment!)).toBe(null);
  });

  it('copies blocks, and no more than are overwritten', async () => {
    const { bench, open, run } = await atTheDoor();
    await bench.device.write(LAST * BLOCK_BYTES + 512, new Uint8Array(1024));
    await bench.write(LAST, 3);
    expect(bench.container!.usedBytes).toBe(BLOCK_BYTES);
    open();
    await run;
    expect(bench.container!.keptEver).toBe(1);
  });

  it('without a container the requested block is copied next', async () => {
    const { bench, open, run } = await atTheDoor({ slots: null });
    const writing = bench.write(LAST, 2);
    for (let turn = 0; turn < 5; turn++) await setImmediate();
    open();
    await Promise.all([writing, run]);
    const chunks = bench.target.order.filter((block) => block % CHUNK_BLOCKS === 0);
    expect(chunks.indexOf(7 * CHUNK_BLOCKS)).toBeLessThan(chunks.indexOf(6 * CHUNK_BLOCKS));
  });
});

describe('figure 11', () => {
  it('the container drains after the pass, while every write goes straight through', async () => {
    const { bench, open, run } = await atTheDoor({ slots: 8 * CHUNK_BLOCKS });
    // All of what is not in the pass' hands.
    for (let chunk = 4; chunk < 8; chunk++) await bench.write(chunk * CHUNK_BLOCKS, 2, CHUNK_BLOCKS);
    const before = bench.container!.keptEver;
    expect(before).toBe(4 * CHUNK_BLOCKS);
    for (const block of [0, LAST]) expect(await hasEnded(bench.write(block, 3))).toBe(true);
    expect(bench.container!.keptEver).toBe(before);
    open();
    await run;
    expect(firstDifference(bench.target.content, bench.moment!)).toBe(null);
    expect(bench.container!.usedBytes).toBe(0);
  });
});

describe('figure 12: the container overflows', () => {
  it('writes to unsaved blocks wait (700), writes to saved ones do not (710)', async () => {
    const { bench, open, run } = await atTheDoor({ slots: 2 });
    await bench.write(LAST, 2);
    await bench.write(LAST - 1, 2);
    const waiting = bench.write(LAST - CHUNK_BLOCKS, 2);
    expect(await hasEnded(waiting)).toBe(false);
    expect(await hasEnded(bench.write(1, 2))).toBe(true);
    open();
    await Promise.all([waiting, run]);
    expect(firstDifference(bench.target.content, bench.moment!)).toBe(null);
  });

  it('it is emptied in part (720, 730), and who waits goes on as soon as there is room', async () => {
    const { bench, open, run } = await atTheDoor({ slots: 2, bytesPerSecond: 1 });
    await bench.write(LAST, 2);
    await bench.write(LAST - 1, 2);
    const waiting = bench.write(LAST - CHUNK_BLOCKS, 2);
    for (let turn = 0; turn < 5; turn++) await setImmediate();
    // What nobody waits for is paid for in weeks.
    open();
    expect(await hasEnded(waiting)).toBe(true);
    expect(bench.target.covered.has(LAST)).toBe(true);
    expect(bench.target.covered.has(5 * CHUNK_BLOCKS)).toBe(false);
    bench.cancel.abort(new Error('enough'));
    await expect(run).rejects.toThrow('enough');
  });

  it('a target that takes nothing cancels the backup, and no writer waits for ever', async () => {
    const { bench, run } = await atTheDoor({ slots: 1 });
    await bench.write(LAST, 2);
    const waiting = bench.write(LAST - 1, 2);
    expect(await hasEnded(waiting)).toBe(false);
    bench.clock.advance(10_000);
    expect(await hasEnded(waiting)).toBe(true);
    await expect(run).rejects.toMatchObject({ code: 'IO_ERROR' });
    expect(bench.target.end).toBe('failed');
  });

  it('drop: the backup is given up, and the write goes on', async () => {
    const { bench, run } = await atTheDoor({ slots: 1, onOverflow: 'drop' });
    await bench.write(LAST, 2);
    expect(await hasEnded(bench.write(LAST - 1, 2))).toBe(true);
    await expect(run).rejects.toMatchObject({ code: 'NO_SPACE' });
    expect(bench.target.end).toBe('failed');
  });

  it('fail: the write fails, and the backup goes on', async () => {
    const { bench, open, run } = await atTheDoor({ slots: 1, onOverflow: 'fail' });
    await bench.write(LAST, 2);
    await expect(bench.write(LAST - 1, 2)).rejects.toMatchObject({ code: 'NO_SPACE' });
    open();
    await run;
    await bench.write(LAST - 1, 2);
    expect(firstDifference(bench.target.content, bench.moment!)).toBe(null);
  });

  it('throttle: writes are put off while it is nearly full', async () => {
    const { bench, open, run } = await atTheDoor({ slots: 4, onOverflow: 'throttle' });
    for (const block of [LAST, LAST - 1]) await bench.write(block, 2);
    const slowed = bench.write(LAST - 2, 2);
    expect(await hasEnded(slowed)).toBe(false);
    bench.clock.advance(20);
    expect(await hasEnded(slowed)).toBe(true);
    open();
    await run;
  });
});
