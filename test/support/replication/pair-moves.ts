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
