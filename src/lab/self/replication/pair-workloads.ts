/** What is done to a primary and its secondary before the power of either goes. */
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import { CONTENT_OFFSET } from '../../../replication/file-header.js';
import {
  changeDurably,
  failAmidWrites,
  killAmidWrites,
  leaveAmidDurableWrites,
  loseAmidResync,
  loseAmidWrites,
  resyncAmidWrites,
  spoilLogAmidWrites,
} from './pair-moves.js';
import type { PairWorkload } from './pair-recording.js';
import { SECTOR_BYTES } from './replica-list.js';

export const SYNCHRONOUS = { mode: 'sync' } as const;

export const PAIR_WORKLOADS: readonly PairWorkload[] = [
  {
    name: 'writes and flushes in sync',
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 4; round++) {
        await bench.changes(2);
        await bench.change({ fua: true });
        if (round % 2 === 1) await bench.flush();
        await bench.drained();
      }
    },
  },
  {
    name: 'the same blocks again and again, sent without waiting',
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 5; round++) {
        await bench.changes(2, { blocks: 2 });
        if (round % 2 === 0) void bench.drained();
        if (round === 3) await bench.flush();
      }
      await bench.drained();
      await bench.flush();
      await bench.changes(2, { blocks: 2 });
    },
  },
  {
    name: 'one epoch after another, and nobody waits for them',
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 6; round++) {
        await bench.changes(2);
        await bench.flush();
      }
      await bench.drained();
    },
  },
  {
    name: 'blocks that were told of before, and some are never written',
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 4; round++) {
        bench.tell(round, 3);
        bench.tell(8, 2);
        await bench.changes(2);
        if (round === 2) await loseAmidWrites(bench);
        if (round === 2) await resyncAmidWrites(bench, 3);
      }
      await bench.flush();
      await bench.drained();
    },
  },
  {
    name: 'each write is durable on both sides',
    settings: SYNCHRONOUS,
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 3; round++) {
        await changeDurably(bench);
      }
    },
  },
  {
    name: 'each write is durable on both sides, and the secondary is lost and comes back',
    settings: SYNCHRONOUS,
    async run(bench) {
      await bench.inSync();
      await bench.change({ fua: true });
      await leaveAmidDurableWrites(bench);
      await resyncAmidWrites(bench, 3);
      await bench.change({ fua: true });
      await bench.flush();
    },
  },
  {
    name: 'it is lost amid writes, and comes back amid others',
    async run(bench) {
      await bench.inSync();
      await bench.changes(2);
      await loseAmidWrites(bench);
      await bench.changes(2);
      await bench.flush();
      await resyncAmidWrites(bench);
      await bench.drained();
      await bench.flush();
      await bench.change();
    },
  },
  {
    name: 'it is lost amid a resync, and again',
    async run(bench) {
      await bench.inSync();
      await loseAmidWrites(bench);
      await bench.changes(3);
      for (let round = 0; round < 2; round++) await loseAmidResync(bench, 4, 14);
      await resyncAmidWrites(bench, 2);
      await bench.flush();
    },
  },
  {
    name: 'nobody writes while it comes back',
    async run(bench) {
      await bench.inSync();
      await loseAmidWrites(bench);
      await bench.changes(4);
      bench.second.reconnect();
      await bench.inSync();
      await bench.change();
      await bench.drained();
    },
  },
  {
    name: 'the log goes round',
    shape: { logSectors: 5 },
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 7; round++) {
        await bench.change({ from: round, blocks: 2 });
        if (round % 2 === 0) continue;
        await bench.drained();
        await bench.flush();
      }
    },
  },
  {
    name: 'the log becomes full of what the primary alone has not flushed',
    shape: { logSectors: 5 },
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 9; round++) {
        await bench.change({ from: round, blocks: 2 });
        await bench.drained();
      }
    },
  },
  {
    name: 'the log becomes full',
    shape: { logSectors: 4 },
    async run(bench) {
      await bench.inSync();
      bench.second.hanging = 'flush';
      let left = 5;
      const writing = Array.from({ length: left }, async (_, block) => {
        await bench.turns(3 * block);
        await bench.change({ from: 2 * block, blocks: 2 });
        left -= 1;
      });
      await bench.until('all is written', () => left === 0);
      await Promise.all(writing);
      await bench.lost();
      await resyncAmidWrites(bench, 3);
    },
  },
  {
    name: 'the queue becomes full',
    settings: { queue: { bytes: 8 * SECTOR_BYTES, entries: 3 } },
    async run(bench) {
      await bench.inSync();
      bench.second.hanging = 'write';
      // Writes alone get no answer: zeroes and trims would leave the queue.
      for (let count = 0; count < 5; count++) await bench.write('data', 9 * count, 3);
      await bench.lost();
      await resyncAmidWrites(bench, 3);
      await bench.drained();
      await bench.flush();
    },
  },
  {
    name: 'acknowledgements are late',
    async run(bench) {
      await bench.inSync();
      bench.second.hanging = 'flush';
      await bench.changes(2);
      await bench.flush();
      bench.life.clock.advance(50_000);
      bench.second.replica.checkDeadline();
      await bench.lost();
      await bench.change();
      await resyncAmidWrites(bench, 2);
      await bench.drained();
    },
  },
  {
    name: 'a write of the primary fails, and a part of it is there',
    async run(bench) {
      await bench.inSync();
      await bench.changes(2);
      await bench.flush();
      await failAmidWrites(bench, false);
      await bench.change();
      await bench.drained();
      await bench.flush();
    },
  },
  {
    name: 'each write is durable on both sides, and one of the primary fails',
    settings: SYNCHRONOUS,
    async run(bench) {
      await bench.inSync();
      await bench.change({ fua: true });
      await failAmidWrites(bench, true);
      await bench.change({ fua: true });
      await bench.flush();
    },
  },
  {
    name: 'it is paused, and goes on',
    async run(bench) {
      const { replication } = bench.life;
      const { replica } = bench.second;
      await bench.inSync();
      const writing = bench.changes(3);
      await bench.turns(2);
      await replica.pause();
      await writing;
      await bench.changes(2);
      await replication.resume(replica);
      await bench.change();
      await bench.inSync();
      await bench.change();
      await bench.drained();
    },
  },
  {
    name: 'the primary is killed amid writes, and opened again',
    async run(bench) {
      await bench.inSync();
      for (let round = 0; round < 2; round++) {
        await killAmidWrites(bench);
        await bench.inSync();
        await bench.change();
        if (round === 0) await bench.drained();
      }
    },
  },
  {
    name: 'the primary is killed amid a resync, and opened again',
    async run(bench) {
      await bench.inSync();
      await loseAmidWrites(bench);
      await bench.changes(3);
      bench.second.reconnect();
      const writing = bench.changes(2).catch(() => undefined);
      await bench.turns(bench.random.between(5, 15));
      await bench.kill();
      await writing;
      await bench.inSync();
      await bench.flush();
    },
  },
  {
    name: 'it is promoted amid a resync',
    async run(bench) {
      await bench.inSync();
      await bench.changes(2);
      await bench.drained();
      await loseAmidWrites(bench);
      await bench.changes(3);
      await loseAmidResync(bench, 8, 16);
      await bench.promote();
      bench.second.reconnect();
      await bench.until('it is known', () => bench.second.replica.state === 'diverged');
      await bench.change();
    },
  },
  {
    name: 'the primary is killed before what it writes to the log is durable, and opened again',
    async run(bench) {
      await bench.inSync();
      await bench.change();
      await bench.drained();
      bench.diesAtLog = true;
      await Promise.allSettled([bench.change({ from: 4, blocks: 2 }), bench.change({ from: 8, blocks: 2 })]);
      await bench.kill();
      await bench.inSync();
      await bench.changes(2);
      await bench.drained();
    },
  },
  {
    name: 'the log is damaged',
    async run(bench) {
      await bench.inSync();
      await spoilLogAmidWrites(bench);
      await bench.inSync();
      await bench.changes(2);
      await bench.drained();
    },
  },
  {
    name: 'a page of its map is damaged',
    async run(bench) {
      await bench.inSync();
      await loseAmidWrites(bench);
      const writing = bench.changes(2).catch(() => undefined);
      await bench.turns(2);
      await bench.kill(() => bench.spoil('map', CONTENT_OFFSET + bench.random.below(2) * BLOCK_BYTES));
      await writing;
      await bench.change();
      await bench.inSync();
      await bench.change();
    },
  },
  {
    name: 'a first copy, of what is used',
    shape: { uncopied: [{ from: 3, count: 3 }] },
    async run(bench) {
      await bench.change({ from: 0, blocks: 3 });
      await bench.inSync();
      await bench.write('data', 4 * 8, 8);
      await bench.changes(2, { from: 6, blocks: 5 });
      await bench.drained();
      await bench.flush();
      await bench.write('data', 5 * 8, 8);
    },
  },
  {
    name: 'a part of a block that was never copied is written',
    shape: { uncopied: [{ from: 3, count: 3 }] },
    async run(bench) {
      await bench.inSync();
      await bench.write('data', 4 * 8 + 2, 2);
      await bench.drained();
      await bench.flush();
      await bench.change({ from: 6, blocks: 5 });
      await bench.flush();
    },
  },
];
