/** A secondary that has a secondary itself, before the power of any of the three goes. */
import type { PairBench } from './pair-bench.js';
import {
  changeDurably,
  killAmidWrites,
  loseAmidResync,
  loseAmidWrites,
  resyncAmidWrites,
} from './pair-moves.js';
import type { PairWorkload } from './pair-recording.js';
import { SYNCHRONOUS } from './pair-workloads.js';

const CHAIN = { secondaries: 2, isChain: true } as const;

async function bothInSync(bench: PairBench): Promise<void> {
  await bench.inSync(bench.second);
  await ownInSync(bench);
}

/** Its link is another one when the second has been opened anew. */
async function ownInSync(bench: PairBench): Promise<void> {
  await bench.until('the place is open', () => bench.third !== undefined);
  await bench.inSync(bench.third);
}

/** It goes from one to the next. */
async function drainedThrough(bench: PairBench): Promise<void> {
  await bench.drained(bench.second);
  if (bench.third !== undefined) await bench.drained(bench.third);
}

export const CHAIN_WORKLOADS: readonly PairWorkload[] = [
  {
    name: 'a chain in sync',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 4; round++) {
        await bench.changes(3);
        if (round % 2 === 1) await bench.flush();
        await drainedThrough(bench);
        await bench.change({ fua: true });
      }
      await drainedThrough(bench);
    },
  },
  {
    name: 'one epoch after another goes down a chain, and nobody waits for them',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 5; round++) {
        await bench.changes(3, { blocks: 4 });
        void bench.drained(bench.second);
        if (round % 2 === 1) await bench.flush();
      }
      await drainedThrough(bench);
      await bench.flush();
    },
  },
  {
    name: 'the last of a chain is lost amid writes, and comes back amid others',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      await bench.changes(2);
      await drainedThrough(bench);
      bench.third.disconnect();
      await bench.changes(2);
      await bench.drained();
      await bench.lost(bench.third);
      await bench.changes(2);
      await bench.drained();
      bench.third.reconnect();
      for (let count = 0; count < 4; count++) {
        await bench.change();
        await bench.drained();
      }
      await ownInSync(bench);
      await drainedThrough(bench);
    },
  },
  {
    name: 'the last of a chain is late, and epochs go on',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      bench.third.hanging = 'flush';
      for (let round = 0; round < 3; round++) {
        await bench.changes(2);
        await bench.drained();
        await bench.flush();
      }
      bench.third.disconnect();
      await bench.lost(bench.third);
      bench.third.reconnect();
      await ownInSync(bench);
      await bench.change();
      await drainedThrough(bench);
    },
  },
  {
    name: 'the middle of a chain is lost and resynced',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      await bench.changes(2);
      await drainedThrough(bench);
      await loseAmidWrites(bench);
      await bench.changes(2);
      await resyncAmidWrites(bench, 3);
      await ownInSync(bench);
      await bench.change();
      await drainedThrough(bench);
    },
  },
  {
    name: 'the middle of a chain is lost amid its resync, and again',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      await loseAmidWrites(bench);
      await bench.changes(3);
      for (let round = 0; round < 2; round++) await loseAmidResync(bench, 4, 20);
      await resyncAmidWrites(bench, 2);
      await ownInSync(bench);
      await bench.flush();
    },
  },
  {
    name: 'both of a chain are away, and the middle is resynced first',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      bench.third.disconnect();
      await bench.changes(2);
      await bench.drained();
      await bench.lost(bench.third);
      await loseAmidWrites(bench);
      await bench.changes(2);
      await resyncAmidWrites(bench, 2);
      await ownInSync(bench);
      await drainedThrough(bench);
    },
  },
  {
    name: 'the log in the middle of a chain goes round',
    shape: { ...CHAIN, logSectors: 5 },
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 7; round++) {
        await bench.change({ from: round, blocks: 2 });
        await drainedThrough(bench);
        if (round % 2 === 1) await bench.flush();
      }
    },
  },
  {
    name: 'each write is durable on the middle of a chain',
    shape: CHAIN,
    settings: (name) => (name === 'second' ? SYNCHRONOUS : {}),
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 3; round++) {
        await changeDurably(bench);
        if (round === 1) await bench.drained(bench.third);
      }
      await drainedThrough(bench);
    },
  },
  {
    name: 'the primary of a chain is killed amid writes, and opened again',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 2; round++) {
        await killAmidWrites(bench);
        await bothInSync(bench);
        await bench.change();
        if (round === 0) await drainedThrough(bench);
      }
    },
  },
  {
    name: 'the server in the middle of a chain is killed amid writes, and comes back',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      for (let round = 0; round < 2; round++) {
        const writing = bench.changes(3);
        if (round === 0) void bench.drained();
        await bench.turns(bench.random.below(12));
        await bench.killHost();
        await writing;
        await bench.change();
        await bench.lost();
        await resyncAmidWrites(bench, 2);
        await ownInSync(bench);
        await bench.change();
        if (round === 0) await drainedThrough(bench);
      }
    },
  },
  {
    name: 'the server in the middle of a chain is killed amid a resync of it',
    shape: CHAIN,
    async run(bench) {
      await bothInSync(bench);
      await loseAmidWrites(bench);
      await bench.changes(3);
      bench.second.reconnect();
      await bench.until('it is reached', () => bench.second.isUp);
      await bench.turns(bench.random.between(4, 20));
      await bench.killHost();
      await bench.change();
      await bench.lost();
      await resyncAmidWrites(bench, 2);
      await ownInSync(bench);
      await drainedThrough(bench);
    },
  },
];
