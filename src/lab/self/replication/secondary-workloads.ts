/** What is done to a secondary before its power is cut. */
import { withCalls } from '../with-calls.js';
import type { SecondaryBench, SecondaryWorkload } from './secondary-recording.js';

const SECTORS = 64;

/** Some writes, one after another or all at once; sector 0 is the mark of the epoch. */
async function epoch(
  { random, write }: SecondaryBench,
  { most = 3, sectors = 6, isAtOnce = false } = {},
): Promise<void> {
  const calls: Promise<void>[] = [];
  for (let count = random.between(1, most); count > 0; count--) {
    const length = random.between(1, sectors);
    const kind = random.pick(['data', 'data', 'data', 'zeroes', 'trim'] as const);
    const call = write(kind, random.between(1, SECTORS - length), length);
    if (isAtOnce) calls.push(call);
    else await call;
  }
  await Promise.all(calls);
}

const all: SecondaryWorkload[] = [
  {
    name: 'one epoch after another',
    async run(bench) {
      for (let count = 0; count < 5; count++) {
        await epoch(bench);
        await bench.flush();
      }
      await bench.device.settle();
    },
  },
  {
    name: 'epochs called without waiting',
    async run(bench) {
      const calls: Promise<void>[] = [];
      for (let count = 0; count < 6; count++) {
        calls.push(epoch(bench, { isAtOnce: true }));
        calls.push(bench.flush());
      }
      await Promise.all(calls);
    },
  },
  {
    name: 'the log goes round',
    async run(bench) {
      for (let count = 0; count < 8; count++) {
        await bench.write('data', 1 + bench.random.below(40), 22);
        await bench.flush();
      }
    },
  },
  {
    name: 'it is left and opened anew',
    async run(bench) {
      for (let opening = 0; opening < 3; opening++) {
        await epoch(bench);
        await bench.flush();
        await epoch(bench, { most: 2 });
        await bench.reopen();
      }
      await epoch(bench);
      await bench.flush();
    },
  },
  {
    name: 'it is killed before an epoch is durable, and opened anew',
    async run(bench) {
      await epoch(bench);
      await bench.flush();
      await epoch(bench);
      bench.failFlush('epochs');
      if ((await Promise.allSettled([bench.flush()]))[0]!.status === 'fulfilled')
        throw new Error('a flush did not fail');
      await bench.reopen();
      await epoch(bench);
      await bench.flush();
    },
  },
  {
    name: 'a resync',
    async run(bench) {
      // Two together may be longer than an epoch can be.
      await epoch(bench);
      await bench.flush();
      await bench.write('data', 30, 20);
      await bench.flush();
      await bench.beginResync();
      for (let count = 0; count < 3; count++) {
        await epoch(bench, { isAtOnce: true });
        await bench.flush();
      }
      await bench.device.settle();
      await bench.endResync();
      await epoch(bench);
      await bench.flush();
    },
  },
  {
    name: 'a resync, left and opened anew, and another one',
    async run(bench) {
      await bench.write('data', 1, 20);
      await bench.flush();
      await bench.beginResync();
      await epoch(bench);
      await bench.flush();
      await bench.reopen();
      await bench.beginResync();
      await epoch(bench);
      await bench.endResync();
      await bench.beginResync();
      await epoch(bench);
      await bench.flush();
    },
  },
  {
    name: 'it is killed before what it keeps is durable, and opened anew',
    async run(bench) {
      await bench.write('data', 1, 20);
      await bench.flush();
      await bench.write('data', 30, 20);
      await bench.flush();
      await bench.beginResync();
      bench.failFlush('kept');
      await bench.write('data', 10, 20);
      await bench.flush();
      await Promise.allSettled([bench.device.settle()]);
      await bench.reopen();
      await epoch(bench);
      await bench.flush();
      await bench.device.settle();
    },
  },
  {
    name: 'a resync of which the container becomes full',
    sizes: { keptBytes: 12 * 1024 },
    async run(bench) {
      await bench.write('data', 1, 20);
      await bench.flush();
      await bench.write('data', 30, 20);
      await bench.flush();
      await bench.device.settle();
      await bench.beginResync();
      for (let count = 0; count < 4; count++) {
        await bench.write('data', 1 + 14 * count, 6);
        await bench.flush();
      }
    },
  },
];

export const SECONDARY_WORKLOADS: readonly SecondaryWorkload[] = all.map(({ run, ...rest }) => ({
  ...rest,
  // So that its calls can be taken out of it.
  run: (bench) => run(withCalls(bench, {})),
}));
