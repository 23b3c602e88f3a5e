/** What is kept until a flush: its order, what takes it away, and how much memory it may have. */
import { describe, expect, it } from 'vitest';
import { copyOf } from '../../../src/device/buffers.js';
import { type Change, UnflushedWrites } from '../../../src/nbd/client/unflushed.js';

const LIMIT = 64 * 1024;

function write(offset: number, length: number, value: number): Change {
  return { kind: 'write', offset, length, data: new Uint8Array(length).fill(value) };
}

/** A change that was sent and answered. */
async function kept(writes: UnflushedWrites, change: Change): Promise<void> {
  writes.keep(await writes.admit(change));
}

function told(writes: UnflushedWrites): [number, number, number | undefined][] {
  return writes
    .entries()
    .map(({ offset, length, data }) => [offset, length, data === undefined ? undefined : copyOf(data)[0]]);
}

describe('entries', () => {
  it('are copies, in the order of the answers', async () => {
    const writes = new UnflushedWrites(LIMIT);
    const first = write(0, 512, 1);
    const rooms = [await writes.admit(first), await writes.admit(write(512, 512, 2))] as const;
    expect(writes.isEmpty).toBe(true);
    writes.keep(rooms[1]);
    writes.keep(rooms[0]);
    (first.data as Uint8Array).fill(9);
    await kept(writes, { kind: 'write-zeroes', offset: 0, length: 4096 });
    expect(told(writes)).toEqual([
      [512, 512, 2],
      [0, 512, 1],
      [0, 4096, undefined],
    ]);
  });

  it('leave by a flush that was sent after their answer', async () => {
    const writes = new UnflushedWrites(LIMIT);
    await kept(writes, write(0, 512, 1));
    const inFlight = await writes.admit(write(512, 512, 2));
    const mark = writes.mark();
    writes.keep(inFlight);
    await kept(writes, write(1024, 512, 3));
    writes.flushed(mark);
    expect(told(writes)).toEqual([
      [512, 512, 2],
      [1024, 512, 3],
    ]);
    writes.flushed(mark);
    expect(told(writes)).toHaveLength(2);
    writes.flushed(writes.mark());
    expect(writes.isEmpty).toBe(true);
    expect(writes.usedBytes).toBe(0);
  });

  it('lose what a durable write lies on, and nothing beside it', async () => {
    const writes = new UnflushedWrites(LIMIT);
    await kept(writes, write(0, 3072, 1));
    await kept(writes, write(4096, 512, 2));
    await kept(writes, { kind: 'trim', offset: 1024, length: 8192 });
    const durable = await writes.admit(write(1024, 1024, 3));
    writes.durable(durable);
    expect(told(writes)).toEqual([
      [0, 1024, 1],
      [2048, 1024, 1],
      [4096, 512, 2],
      [2048, 7168, undefined],
    ]);
    writes.durable(await writes.admit(write(0, 16384, 4)));
    expect(writes.isEmpty).toBe(true);
    expect(writes.usedBytes).toBe(0);
  });

  it('are not made by a durable write', async () => {
    const writes = new UnflushedWrites(LIMIT);
    writes.durable(await writes.admit(write(0, 512, 1)));
    expect(writes.isEmpty).toBe(true);
    expect(writes.usedBytes).toBe(0);
  });
});

describe('ranges', () => {
  it('are those of entries and of changes in flight, joined', async () => {
    const writes = new UnflushedWrites(LIMIT);
    await kept(writes, write(512, 512, 1));
    await kept(writes, { kind: 'trim', offset: 8192, length: 4096 });
    const inFlight = await writes.admit(write(1024, 512, 2));
    expect(writes.ranges()).toEqual([
      { start: 512, end: 1536 },
      { start: 8192, end: 12288 },
    ]);
    writes.giveUp(inFlight);
    writes.flushed(writes.mark());
    expect(writes.ranges()).toEqual([]);
  });
});

describe('room', () => {
  it('is waited for, in the order of the calls, and given by a flush', async () => {
    const writes = new UnflushedWrites(LIMIT);
    await kept(writes, write(0, LIMIT / 4, 1));
    expect(writes.wantsFlush).toBe(false);
    await kept(writes, write(0, LIMIT / 4, 1));
    expect(writes.wantsFlush).toBe(true);
    await kept(writes, write(0, LIMIT / 4, 1));
    const order: string[] = [];
    const large = writes.admit(write(0, LIMIT / 4, 2)).then((room) => {
      order.push('large');
      return room;
    });
    const small = writes.admit(write(0, 1, 3)).then((room) => {
      order.push('small');
      return room;
    });
    expect(writes.usedBytes).toBeLessThanOrEqual(LIMIT);
    writes.flushed(writes.mark());
    await Promise.all([large, small]);
    expect(order).toEqual(['large', 'small']);
    expect(writes.usedBytes).toBeLessThanOrEqual(LIMIT);
  });

  it('is counted for changes without data too', async () => {
    const writes = new UnflushedWrites(LIMIT);
    let count = 0;
    for (; !writes.wantsFlush; count++) await kept(writes, { kind: 'trim', offset: 0, length: 512 });
    expect(count).toBeLessThan(LIMIT / 128);
  });

  it('stays taken until the last piece of what was cut has gone', async () => {
    const writes = new UnflushedWrites(LIMIT);
    await kept(writes, write(0, 3072, 1));
    const whole = writes.usedBytes;
    writes.durable(await writes.admit(write(1024, 1024, 2)));
    expect(writes.usedBytes).toBe(whole);
    writes.durable(await writes.admit(write(0, 1024, 2)));
    expect(writes.usedBytes).toBe(whole);
    writes.durable(await writes.admit(write(2048, 1024, 2)));
    expect(writes.usedBytes).toBe(0);
  });

  it('is refused to those who wait and those who come when there will be no flush', async () => {
    const writes = new UnflushedWrites(LIMIT);
    for (let i = 0; i < 3; i++) await kept(writes, write(0, LIMIT / 4, 1));
    const waiting = writes.admit(write(0, LIMIT / 4, 1));
    writes.refuse(new Error('the flush failed'));
    await expect(waiting).rejects.toThrow('the flush failed');
    await expect(writes.admit(write(0, 1, 1))).rejects.toThrow('the flush failed');
  });
});
