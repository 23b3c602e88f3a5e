/** A second replica is added while the volume is written and the first one is in sync, before the power of any of the three goes. */
import type { PairBench } from './pair-bench.js';
import { BLANK_FROM, type PairWorkload } from './pair-recording.js';
import { SYNCHRONOUS } from './pair-workloads.js';

/** Blocks, and sectors of one. */
const FREE = { from: 6, count: 2 };
const BLOCK_SECTORS = 8;

const JOINING = { secondaries: 2, joins: { free: [FREE] } } as const;
const USED = { blocks: FREE.from };
const BLANK = { from: BLANK_FROM, blocks: 3 };

/** Of what was free a block is written as a whole, as somebody does who begins to use it. */
function use(bench: PairBench): Promise<void> {
  const block = FREE.from + bench.random.below(FREE.count);
  return bench.write('data', block * BLOCK_SECTORS, BLOCK_SECTORS);
}

/** Until that is answered somebody writes, to what is used, to what is free, and to holes. */
async function joinAmidWrites(bench: PairBench, { turns = 3, uses = true } = {}): Promise<void> {
  let isOver = false;
  const early = bench.changes(2, BLANK);
  const joining = bench.join().finally(() => {
    isOver = true;
  });
  // Whoever waits for it is told.
  joining.catch(() => {});
  await early;
  for (let count = 0; !isOver; count++) {
    await bench.change(count % 2 === 0 ? BLANK : USED);
    if (uses && count % 3 === 1) await use(bench);
    if (count % 4 === 3) await bench.flush();
    await bench.turns(bench.random.below(turns));
  }
  await joining;
}

async function inSyncAmidWrites(bench: PairBench): Promise<void> {
  for (let count = 0; count < 4; count++) {
    await bench.change(count % 2 === 0 ? USED : BLANK);
    await bench.turns(bench.random.below(4));
  }
  await bench.inSync(bench.third);
}

export const JOINING_WORKLOADS: readonly PairWorkload[] = [
  {
    name: 'a second replica is added, and nobody writes',
    shape: JOINING,
    async run(bench) {
      await bench.inSync();
      await bench.changes(2, USED);
      await bench.join();
      await bench.inSync(bench.third);
      await bench.change(USED);
      await bench.drained(bench.third);
    },
  },
  {
    name: 'a second replica is added amid writes',
    shape: JOINING,
    async run(bench) {
      await bench.inSync();
      await bench.changes(2, USED);
      await joinAmidWrites(bench);
      await inSyncAmidWrites(bench);
      await use(bench);
      await bench.drained(bench.third);
      await bench.flush();
      await bench.change(BLANK);
    },
  },
  {
    name: 'a second replica is added while writes to holes are under way',
    shape: JOINING,
    async run(bench) {
      await bench.inSync();
      let writing = bench.change(USED);
      await bench.join(() => {
        writing = bench.changes(4, { ...BLANK, most: 2 });
      });
      await writing;
      await bench.inSync(bench.third);
      await bench.drained();
      await bench.flush();
      await bench.drained(bench.third);
    },
  },
  {
    name: 'a second replica is added while the first is away, which comes back amid its first copy',
    shape: JOINING,
    async run(bench) {
      await bench.inSync();
      bench.second.disconnect();
      await bench.change(USED);
      await bench.lost();
      await joinAmidWrites(bench);
      bench.second.reconnect();
      await inSyncAmidWrites(bench);
      await bench.inSync();
      await bench.change(USED);
      await Promise.all([bench.drained(), bench.drained(bench.third)]);
    },
  },
  {
    name: 'the first replica is lost while a second is added, which is lost amid its first copy',
    shape: JOINING,
    async run(bench) {
      await bench.inSync();
      const joining = joinAmidWrites(bench, { turns: 5 });
      await bench.turns(bench.random.between(3, 12));
      bench.second.disconnect();
      await joining;
      await bench.until('it is reached', () => bench.third.isUp, bench.third);
      await bench.turns(bench.random.between(2, 10));
      bench.third.disconnect();
      await bench.change(USED);
      await bench.lost(bench.third);
      bench.third.reconnect();
      await bench.inSync(bench.third);
      bench.second.reconnect();
      await bench.inSync();
    },
  },
  {
    name: 'the primary is killed while a second replica is added, and it is added then',
    shape: JOINING,
    async run(bench) {
      await bench.inSync();
      // Whether a write to what is free has come down, and is to be copied, nobody could tell then.
      const joining = joinAmidWrites(bench, { uses: false }).catch(() => undefined);
      await bench.turns(bench.random.between(10, 60));
      await bench.kill();
      await joining;
      await bench.change(USED);
      if (bench.life.links.length === 1) await joinAmidWrites(bench, { uses: false });
      await bench.inSync();
      await bench.inSync(bench.third);
      await bench.change(USED);
      await bench.drained(bench.third);
    },
  },
  {
    name: 'a second replica is added to a small log, and is lost when it is in sync',
    shape: { ...JOINING, logSectors: 5 },
    async run(bench) {
      await bench.inSync();
      await joinAmidWrites(bench);
      await inSyncAmidWrites(bench);
      for (let round = 0; round < 3; round++) {
        await bench.change(USED);
        await bench.drained(bench.third);
        await bench.drained();
        await bench.flush();
      }
      bench.third.disconnect();
      await bench.changes(2, USED);
      await bench.lost(bench.third);
      bench.third.reconnect();
      await bench.inSync(bench.third);
    },
  },
  {
    name: 'a second replica is added, and writes are durable on all three from then on',
    shape: JOINING,
    settings: SYNCHRONOUS,
    async run(bench) {
      await bench.inSync();
      await bench.change({ ...USED, fua: true });
      await joinAmidWrites(bench);
      await bench.inSync(bench.third);
      await Promise.all([bench.change({ ...USED, fua: true }), bench.change({ ...BLANK, fua: true })]);
      await bench.change(USED);
      await bench.flush();
    },
  },
];
