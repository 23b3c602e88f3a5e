/** What many workloads do with a secondary. */
import type { PairBench } from './pair-bench.js';

/** It goes away amid writes, and is lost. */
export async function loseAmidWrites(bench: PairBench, link = bench.second): Promise<void> {
  const writing = bench.changes(3);
  await bench.turns(bench.random.below(6));
  link.disconnect();
  await writing;
  await bench.change();
  await bench.lost(link);
}

/** Writes are durable, and it goes away amid them. */
export async function leaveAmidDurableWrites(bench: PairBench, link = bench.second): Promise<void> {
  const writing = Promise.all([bench.change({ fua: true }), bench.change({ fua: true }), bench.flush()]);
  await bench.turns(bench.random.below(8));
  link.disconnect();
  await writing;
  await bench.change({ fua: true });
}

/** It comes back, and is lost again before it has all: after so many turns, drawn of these. */
export async function loseAmidResync(bench: PairBench, fewest: number, most: number): Promise<void> {
  bench.second.reconnect();
  await bench.until('it is reached', () => bench.second.isUp);
  await bench.turns(bench.random.between(fewest, most));
  bench.second.disconnect();
  await bench.change();
  await bench.lost();
}

/** Until it is in sync again somebody writes. */
export async function resyncAmidWrites(bench: PairBench, most = 8, link = bench.second): Promise<void> {
  link.reconnect();
  await bench.until('it is reached', () => link.isUp, link);
  for (let count = 0; count < most; count++) {
    await bench.change();
    await bench.turns(bench.random.below(4));
  }
  await bench.inSync(link);
}

/** A write fails amid others, and what is there of it nobody knows: it is lost, and resynced. */
export async function failAmidWrites(bench: PairBench, fua: boolean): Promise<void> {
  const { losses } = bench.second.replica.totals;
  bench.failsNext = true;
  const others = bench.changes(2, { from: 4, fua });
  const failing = await Promise.allSettled([bench.write('data', 8, 6, fua), others]);
  if (failing.every(({ status }) => status === 'fulfilled')) throw new Error('no write has failed');
  await bench.until('it is lost', () => bench.second.replica.totals.losses > losses);
  await bench.change();
  await bench.inSync();
}

/** The primary is killed amid writes, and opened again. `meanwhile` is done between the two. */
export async function killAmidWrites(
  bench: PairBench,
  { fewest = 0, most = 7 } = {},
  meanwhile?: () => Promise<void>,
): Promise<void> {
  const writing = bench.changes(3).catch(() => undefined);
  await bench.turns(bench.random.between(fewest, most));
  await bench.kill(meanwhile);
  await writing;
  await bench.change();
}

/** As `killAmidWrites`, and the log is damaged then. */
export async function spoilLogAmidWrites(bench: PairBench): Promise<void> {
  await killAmidWrites(bench, { fewest: 3, most: 8 }, async () => {
    await bench.spoil('log', 0);
    await bench.spoil('log', 4096);
  });
}

/** Two writes at once that are durable, and one that a flush makes so. */
export async function changeDurably(bench: PairBench): Promise<void> {
  await Promise.all([bench.change({ fua: true }), bench.change({ fua: true })]);
  await bench.change();
  await bench.flush();
}
