/** Who waits for whom: by hand, and against the plain rule with many claims. */
import { describe, expect, it } from 'vitest';
import { type Claim, RangeLock } from '../../src/device/range-lock.js';
import { withSeed } from '../support/devices/seeded-random.js';

const MIB = 1024 * 1024;

describe('a claim', () => {
  it('waits for those that overlap, not for others; readers share', () => {
    const lock = new RangeLock();
    const write = lock.enter(0, 4096, true);
    expect(lock.enter(4096, 8192, true).blocked).toBe(false);
    const [first, second] = [lock.enter(4095, 4096, false), lock.enter(0, 1, false)];
    expect([first.blocked, second.blocked]).toEqual([true, true]);
    lock.leave(write);
    expect([first.blocked, second.blocked]).toEqual([false, false]);
  });

  it('has its turn in the order in which it came', async () => {
    const lock = new RangeLock();
    const order: string[] = [];
    const reader = lock.enter(0, 512, false);
    const writer = lock.enter(0, 512, true);
    const late = lock.enter(0, 512, false);
    const ended = [writer, late].map((claim, i) => claim.turn().then(() => order.push(`${i}`)));
    lock.leave(reader);
    await ended[0];
    expect(order).toEqual(['0']);
    lock.leave(writer);
    await ended[1];
    expect(order).toEqual(['0', '1']);
  });

  it.each([1, 3, 4, 5, 100])('of %i MiB meets small ones wherever they lie in it', (mebibytes) => {
    const lock = new RangeLock();
    const small = lock.enter((mebibytes - 1) * MIB + 512, (mebibytes - 1) * MIB + 1024, false);
    const large = lock.enter(0, mebibytes * MIB, true);
    expect(large.blocked).toBe(true);
    expect(lock.enter(0, 512, false).blocked).toBe(true);
    lock.leave(small);
    expect(large.blocked).toBe(false);
  });
});

it('many claims: each is blocked exactly while an earlier one that conflicts is there', () =>
  withSeed(async (random) => {
    const lock = new RangeLock();
    let there: Claim[] = [];
    for (let step = 0; step < 5000; step++) {
      if (there.length < 60 && random.chance(0.55)) {
        const start = random.below(12 * MIB);
        const length = random.chance(0.1) ? random.between(1, 10 * MIB) : random.between(1, 64 * 1024);
        there.push(lock.enter(start, start + length, random.chance(0.5)));
      } else if (there.length > 0) {
        const free = there.filter((claim) => !claim.blocked);
        const leaving = random.pick(free);
        lock.leave(leaving);
        there = there.filter((claim) => claim !== leaving);
      }
      for (const [i, claim] of there.entries()) {
        const waits = there.slice(0, i).some((earlier) => earlier.conflictsWith(claim));
        if (claim.blocked !== waits) throw new Error(`step ${step}: claim ${i} is blocked: ${claim.blocked}`);
      }
    }
  }));
