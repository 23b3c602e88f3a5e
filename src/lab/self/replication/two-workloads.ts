/** What is done to a primary and two secondaries, which share its log, before the power of any of the three goes. */
import type { PairBench } from './pair-bench.js';
import type { PairLink } from './pair-link.js';
import {
  changeDurably,
  killAmidWrites,
  leaveAmidDurableWrites,
  loseAmidWrites,
  resyncAmidWrites,
  spoilLogAmidWrites,
} from './pair-moves.js';
import type { PairWorkload } from './pair-recording.js';
import { SYNCHRONOUS } from './pair-workloads.js';
import { SECTOR_BYTES } from './replica-list.js';

const TWO = { secondaries: 2 } as const;

async function bothInSync(bench: PairBench): Promise<void> {
  await bench.inSync(bench.second);
  await bench.inSync(bench.third);
}

async function bothDrained(bench: PairBench): Promise<void> {
  await Promise.all([bench.drained(bench.second), bench.drained(bench.third)]);
}

/** One has all, and nothing of it is dirty for that one any more. */
async function cleanFor(link: PairLink, bench: PairBench): Promise<void> {
  await bench.changes(2);
  await bench.drained(link);
  await bench.flush();
}

export const TWO_WORKLOADS: readonly PairWorkload[] = [
  {
    name: 'two in sync, and one is waited for after the other',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 4; round++) {
        await bench.changes(2);
        await bench.drained(round % 2 === 0 ? bench.second : bench.third);
        if (round % 2 === 1) await bench.flush();
        await bench.change({ fua: true });
      }
      await bothDrained(bench);
    },
  },
  {
    name: 'one of two is late, the other has all, and the late one is lost',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      bench.third.hanging = 'flush';
      await cleanFor(bench.second, bench);
      await cleanFor(bench.second, bench);
      bench.life.clock.advance(50_000);
      bench.third.replica.checkDeadline();
      await bench.lost(bench.third);
      await cleanFor(bench.second, bench);
      await resyncAmidWrites(bench, 2, bench.third);
      await bothDrained(bench);
      await bench.flush();
    },
  },
  {
    name: 'one of two is late, and writes of the same blocks go on',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      bench.second.hanging = 'flush';
      for (let round = 0; round < 4; round++) {
        await bench.changes(2, { blocks: 3 });
        await bench.drained(bench.third);
        await bench.flush();
      }
      bench.second.disconnect();
      await bench.lost();
      await bench.change({ blocks: 3 });
      await resyncAmidWrites(bench, 2);
    },
  },
  {
    name: 'one of two is lost and resynced, and the other goes on',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      await bench.changes(2);
      await loseAmidWrites(bench);
      await cleanFor(bench.third, bench);
      await resyncAmidWrites(bench, 4);
      await bothDrained(bench);
      await bench.flush();
      await bench.change();
    },
  },
  {
    name: 'both of two are lost, and one comes back before the other',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      await loseAmidWrites(bench, bench.third);
      await bench.changes(2);
      await loseAmidWrites(bench);
      await bench.changes(2);
      await resyncAmidWrites(bench, 2, bench.third);
      await bench.flush();
      await resyncAmidWrites(bench, 2);
      await bothDrained(bench);
    },
  },
  {
    name: 'both of two are resynced at the same time, and one is lost amid it',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      await loseAmidWrites(bench);
      await loseAmidWrites(bench, bench.third);
      await bench.changes(3);
      for (const link of [bench.second, bench.third]) link.reconnect();
      await bench.until('it is reached', () => bench.second.isUp);
      await bench.change();
      await bench.turns(bench.random.between(2, 10));
      bench.second.disconnect();
      await bench.change();
      await bench.inSync(bench.third);
      await cleanFor(bench.third, bench);
      await resyncAmidWrites(bench, 2);
    },
  },
  {
    name: 'the log of two goes round',
    shape: { ...TWO, logSectors: 5 },
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 7; round++) {
        await bench.change({ from: round, blocks: 2 });
        if (round % 2 === 0) continue;
        await bothDrained(bench);
        await bench.flush();
      }
    },
  },
  {
    name: 'the log becomes full of what one of two alone has not acknowledged',
    shape: { ...TWO, logSectors: 4 },
    async run(bench) {
      await bothInSync(bench);
      bench.third.hanging = 'flush';
      let left = 5;
      const writing = Array.from({ length: left }, async (_, block) => {
        await bench.turns(6 * block);
        await bench.change({ from: 2 * block, blocks: 2 });
        await bench.flush();
        left -= 1;
      });
      await bench.until('all is written', () => left === 0);
      await Promise.all(writing);
      await bench.lost(bench.third);
      await bench.drained();
      await resyncAmidWrites(bench, 2, bench.third);
      await bothDrained(bench);
    },
  },
  {
    name: 'the queue of one of two becomes full',
    shape: TWO,
    settings: (name) => (name === 'third' ? { queue: { bytes: 8 * SECTOR_BYTES, entries: 3 } } : {}),
    async run(bench) {
      await bothInSync(bench);
      bench.third.hanging = 'write';
      for (let count = 0; count < 5; count++) await bench.write('data', 9 * count, 3);
      await bench.lost(bench.third);
      await cleanFor(bench.second, bench);
      await resyncAmidWrites(bench, 2, bench.third);
    },
  },
  {
    name: 'each write is durable on one of two as well, and the other is as fast as it can',
    shape: TWO,
    settings: (name) => (name === 'second' ? SYNCHRONOUS : {}),
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 3; round++) {
        await changeDurably(bench);
        if (round === 1) await loseAmidWrites(bench, bench.third);
      }
      await resyncAmidWrites(bench, 2, bench.third);
      await bench.flush();
    },
  },
  {
    name: 'each write is durable on all three, and one of two is lost and comes back',
    shape: TWO,
    settings: SYNCHRONOUS,
    async run(bench) {
      await bothInSync(bench);
      await leaveAmidDurableWrites(bench, bench.third);
      await resyncAmidWrites(bench, 2, bench.third);
      await bench.change({ fua: true });
      await bench.flush();
    },
  },
  {
    name: 'a write of the primary of two fails, and a part of it is there',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      await bench.changes(2);
      bench.failsNext = true;
      const others = bench.changes(2, { from: 4 });
      await Promise.allSettled([bench.write('data', 8, 6), others]);
      await bench.change();
      await bothInSync(bench);
      await bench.change();
      await bothDrained(bench);
    },
  },
  {
    name: 'the primary of two is killed while one is away, and opened again',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 2; round++) {
        await loseAmidWrites(bench, round === 0 ? bench.second : bench.third);
        await killAmidWrites(bench);
        await bothInSync(bench);
        await bench.change();
        if (round === 0) await bothDrained(bench);
      }
    },
  },
  {
    name: 'the log of two is damaged',
    shape: TWO,
    async run(bench) {
      await bothInSync(bench);
      await spoilLogAmidWrites(bench);
      await bothInSync(bench);
      await bench.changes(2);
      await bothDrained(bench);
    },
  },
];
