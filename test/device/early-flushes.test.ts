/** Flushes that begin while more is written: one at a time, and what fails of them is left to the one at the end. */
import { expect, it } from 'vitest';
import { EarlyFlushes } from '../../src/device/early-flushes.js';

const MIB = 1024 ** 2;

it('begins one for each 32 MiB, none while one is under way, and waits for it at the end', async () => {
  const ends: (() => void)[] = [];
  const early = new EarlyFlushes({ flush: () => new Promise((resolve) => ends.push(resolve)) });
  for (let count = 0; count < 31; count++) early.wrote(MIB);
  expect(ends).toHaveLength(0);
  early.wrote(MIB);
  expect(ends).toHaveLength(1);
  for (let count = 0; count < 100; count++) early.wrote(MIB);
  expect(ends).toHaveLength(1);
  let hasEnded = false;
  const end = early.end().then(() => {
    hasEnded = true;
  });
  await Promise.resolve();
  expect(hasEnded).toBe(false);
  ends[0]!();
  await end;
  early.wrote(MIB);
  expect(ends).toHaveLength(2);
});

it('goes on after one that failed, and throws nothing', async () => {
  let flushes = 0;
  const early = new EarlyFlushes({ flush: () => Promise.reject(new Error(`flush ${++flushes}`)) });
  early.wrote(32 * MIB);
  await early.end();
  early.wrote(32 * MIB);
  await early.end();
  expect(flushes).toBe(2);
});
