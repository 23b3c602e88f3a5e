/** Who gets memory, who waits, and that nobody waits forever. */
import { expect, it } from 'vitest';
import { MemoryBudget } from '../../../src/nbd/server/memory-budget.js';
import { withSeed } from '../../support/devices/seeded-random.js';

it('gives what there is, and what an account may hold', () => {
  const budget = new MemoryBudget(100, 60);
  const [one, other] = [budget.account(), budget.account()];
  expect([one.tryTake(50), one.tryTake(20), one.tryTake(10)]).toEqual([true, false, true]);
  expect([other.tryTake(30), other.tryTake(20), other.tryTake(10)]).toEqual([true, false, true]);
  expect(budget.usedBytes).toBe(100);
  one.give(60);
  other.give(40);
  expect(budget.usedBytes).toBe(0);
});

it('gives to an account that holds nothing, whatever others hold', () => {
  const budget = new MemoryBudget(100, 100);
  const hog = budget.account();
  expect(hog.tryTake(100)).toBe(true);
  const other = budget.account();
  expect([other.tryTake(40), other.tryTake(1)]).toEqual([true, false]);
});

it('serves in order; who waits for himself holds up nobody, and small ones do not overtake', async () => {
  const budget = new MemoryBudget(100, 60);
  const [full, one, other] = [budget.account(), budget.account(), budget.account()];
  const order: string[] = [];
  full.tryTake(60);
  one.tryTake(30);
  other.tryTake(5);
  const waits = [
    full.take(10).then(() => order.push('full')),
    one.take(25).then(() => order.push('one')),
    other.take(1).then(() => order.push('other')),
  ];
  other.give(4);
  await Promise.resolve();
  expect(order).toEqual([]);
  one.give(20);
  await Promise.all(waits.slice(1));
  expect(order).toEqual(['one', 'other']);
  full.give(30);
  await waits[0];
  expect(order).toEqual(['one', 'other', 'full']);
});

it('many accounts: all are served, within the budget and one piece each', () =>
  withSeed(async (random) => {
    const budget = new MemoryBudget(1000, 400);
    const accounts = Array.from({ length: 8 }, () => budget.account());
    let most = 0;
    const work = accounts.map(async (account) => {
      for (let i = 0; i < 200; i++) {
        const bytes = random.between(1, 100);
        await account.take(bytes);
        most = Math.max(most, budget.usedBytes);
        if (random.chance(0.5)) await new Promise(setImmediate);
        account.give(bytes);
      }
    });
    await Promise.all(work);
    expect(budget.usedBytes).toBe(0);
    expect(most).toBeLessThanOrEqual(1000 + 8 * 100);
  }));
