/** Races of a sweep, each with what it would cost: writes, reads that carry blocks over, and the moment in which it is over. */
import { describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../src/device/memory.js';
import { BLOCK_BYTES } from '../../src/replication/blocks.js';
import { Pace } from '../../src/replication/resync/pace.js';
import { Sweep } from '../../src/replication/resync/sweep.js';
import { DEFAULT_SETTINGS } from '../../src/replication/settings.js';
import { FaultyDevice, type FaultyDeviceOptions } from '../support/devices/faulty-device.js';
import { withSeed } from '../support/devices/seeded-random.js';
import { BLOCKS, filled, TrackerBench, Turnstile, turns, until } from './support/parts.js';
import { TurnClock } from './support/stage.js';

const { signal } = new AbortController();

describe('a sweep', () => {
  const setUp = (
    pace: Partial<typeof DEFAULT_SETTINGS.pace> = {},
    pieceBlocks = 4,
    delays: FaultyDeviceOptions = {},
  ) => {
    const bench = new TrackerBench();
    const tracking = bench.add();
    tracking.mark(tracking.everything);
    const primary = filled(BLOCKS, 1);
    const secondary = new FaultyDevice(new MemoryDevice(BLOCKS * BLOCK_BYTES), delays);
    const clock = new TurnClock();
    const sweep = new Sweep(
      {
        ...{ tracker: bench.tracker, tracking, primary, secondary, flushPrimary: () => primary.flush() },
        pace: new Pace(bench.tracker, { ...DEFAULT_SETTINGS.pace, ...pace }, clock),
        onCopied: () => {},
      },
      { pieceBytes: pieceBlocks * BLOCK_BYTES, inFlight: 4, settleBytes: 1e9 },
    );
    return { bench, tracking, primary, secondary, sweep };
  };

  it('whose copy fails while the pace is waited for has failed', async () => {
    const { secondary, sweep } = setUp({ bytesPerSecond: 1000 });
    // The last but one: nobody looks at it again but at the end.
    secondary.addRule({ operations: ['write'], nth: 15 });
    await expect(
      sweep.run(signal, () => {
        throw new Error('it is not over');
      }),
    ).rejects.toThrow('write');
  });

  it('that is lost before it is settled leaves dirty what was written since', async () => {
    const { bench, tracking, sweep } = setUp({}, BLOCKS);
    await sweep.run(signal, () => bench.tracker.synchronized(tracking));
    await bench.write(7);
    const settling = sweep.settle();
    await bench.tracker.lose(tracking, 'queue-full', null);
    await settling;
    expect(tracking.map.has(7)).toBe(true);
    expect(bench.map(tracking).disk.has(7)).toBe(true);
  });

  it('is over in one turn: a write after that is listed, one before it is copied', async () => {
    const { bench, tracking, sweep } = setUp();
    let isOver = false;
    const writing = async () => {
      for (let at = 0; !isOver; at = (at + 1) % BLOCKS) {
        await bench.write(at);
        await turns(1);
      }
    };
    const writes = Promise.all([writing(), writing()]);
    await sweep.run(signal, () => {
      bench.tracker.synchronized(tracking);
      isOver = true;
    });
    await writes;
    expect(tracking.mode).toBe('listed');
  });

  it('is over in one turn, whenever after its last copy somebody writes', async () => {
    for (let ticks = 0; ticks < 40; ticks++) {
      const { bench, tracking, secondary, sweep } = setUp({}, BLOCKS);
      let writing: Promise<unknown> = Promise.resolve();
      const write = secondary.write.bind(secondary);
      secondary.write = async (offset, from, options) => {
        secondary.write = write;
        await write(offset, from, options);
        writing = (async () => {
          for (let tick = 0; tick < ticks; tick++) await null;
          await bench.write(9);
        })();
      };
      await sweep.run(signal, () => bench.tracker.synchronized(tracking));
      await writing;
      expect([ticks, tracking.mode]).toEqual([ticks, 'listed']);
    }
  });

  it('has a block on its way once at a time, and none at its end, whatever is written and carried over meanwhile', () =>
    withSeed(async (random) => {
      let carriedInAll = 0;
      for (let round = 0; round < 20; round++) {
        const delays = { maxDelayTurns: 6, seed: random.below(1000) };
        const { bench, tracking, primary, secondary, sweep } = setUp({}, 2, delays);
        let [inFlight, carried, steps] = [0, 0, 120];
        for (const name of ['write', 'writeZeroes'] as const) {
          const call = secondary[name].bind(secondary) as (...args: unknown[]) => Promise<void>;
          secondary[name] = async (...args: unknown[]) => {
            inFlight += 1;
            await call(...args);
            inFlight -= 1;
          };
        }
        const use = async () => {
          for (; steps > 0; steps--) {
            const range = { from: random.below(BLOCKS - 3), count: random.between(1, 3) };
            if (random.chance(0.5)) await bench.write(range.from, range.count);
            const into = [new Uint8Array(range.count * BLOCK_BYTES)];
            const offset = range.from * BLOCK_BYTES;
            await bench.tracker.copy(range, () => {
              const reading = primary.read(offset, into);
              sweep.carry(range, offset, reading, into);
              return reading;
            });
            await turns(random.below(3));
          }
        };
        const users = Promise.all([use(), use()]);
        await sweep.run(signal, () => {
          expect(inFlight).toBe(0);
          bench.tracker.synchronized(tracking);
          carried = sweep.counts.carriedBlocks;
          steps = 0;
        });
        await users;
        expect(secondary.overlaps).toEqual([]);
        expect(sweep.counts.carriedBlocks).toBe(carried);
        carriedInAll += carried;
      }
      expect(carriedInAll).toBeGreaterThan(0);
    }));

  it('is not over while the last block is carried over, which was written amid its last flush', async () => {
    const { bench, tracking, primary, secondary, sweep } = setUp({}, 2);
    const [flush, write] = [secondary.flush.bind(secondary), secondary.write.bind(secondary)];
    const hung = new Turnstile();
    hung.shut();
    secondary.flush = async () => {
      secondary.flush = flush;
      await bench.write(7);
      secondary.write = async (...args) => {
        await hung.pass;
        await write(...args);
      };
      const into = [new Uint8Array(BLOCK_BYTES)];
      const range = { from: 7, count: 1 };
      await bench.tracker.copy(range, () => {
        const reading = primary.read(7 * BLOCK_BYTES, into);
        sweep.carry(range, 7 * BLOCK_BYTES, reading, into);
        return reading;
      });
      await flush();
    };
    let isOver = false;
    const run = sweep.run(signal, () => {
      isOver = true;
      bench.tracker.synchronized(tracking);
    });
    await until('it is carried over', () => sweep.counts.carriedBlocks === 1);
    await turns(20);
    expect(isOver).toBe(false);
    hung.open();
    await run;
    expect([isOver, sweep.counts.copiedBlocks]).toEqual([true, BLOCKS + 1]);
  });

  it('leaves dirty what is carried over while it settles', async () => {
    const { bench, tracking, primary, secondary, sweep } = setUp({}, BLOCKS);
    const write = secondary.write.bind(secondary);
    const hung = new Turnstile();
    hung.shut();
    const range = { from: BLOCKS - 1, count: 1 };
    tracking.map.clear({ from: BLOCKS / 2, count: BLOCKS / 2 });
    secondary.write = async (offset, ...rest) => {
      if (offset === range.from * BLOCK_BYTES) await hung.pass;
      await write(offset, ...rest);
    };
    let isOver = false;
    const run = sweep.run(signal, () => {
      isOver = true;
      bench.tracker.synchronized(tracking);
    });
    tracking.mark(range);
    const into = [new Uint8Array(BLOCK_BYTES)];
    await bench.tracker.copy(range, () => {
      const reading = primary.read(range.from * BLOCK_BYTES, into);
      sweep.carry(range, range.from * BLOCK_BYTES, reading, into);
      return reading;
    });
    await until('the others are copied', () => sweep.counts.copiedBlocks === BLOCKS / 2);
    await sweep.settle();
    expect([isOver, [...tracking.map.runs()]]).toEqual([false, [range]]);
    hung.open();
    await run;
    await sweep.settle();
    expect([isOver, tracking.map.isEmpty]).toEqual([true, true]);
  });

  it('leaves dirty what was copied, is written again and is carried over while that settles', async () => {
    const { bench, tracking, primary, secondary, sweep } = setUp({}, 2);
    const [flush, write] = [secondary.flush.bind(secondary), secondary.write.bind(secondary)];
    const range = { from: 7, count: 1 };
    secondary.flush = async () => {
      secondary.flush = flush;
      await bench.write(range.from);
      secondary.write = async (offset, ...rest) => {
        if (offset === range.from * BLOCK_BYTES) throw new Error('the power is off');
        await write(offset, ...rest);
      };
      const into = [new Uint8Array(BLOCK_BYTES)];
      await bench.tracker.copy(range, () => {
        const reading = primary.read(range.from * BLOCK_BYTES, into);
        sweep.carry(range, range.from * BLOCK_BYTES, reading, into);
        return reading;
      });
      await flush();
    };
    const run = sweep.run(signal, () => {
      throw new Error('it is not over');
    });
    await expect(run).rejects.toThrow('the power is off');
    expect(tracking.map.has(range.from)).toBe(true);
    expect(bench.map(tracking).disk.has(range.from)).toBe(true);
  });

  it('that is to end has ended, also where nothing is left to copy', async () => {
    const { sweep, tracking } = setUp();
    tracking.map.clearAll();
    await expect(
      sweep.run(AbortSignal.abort(new Error('paused')), () => {
        throw new Error('it is not over');
      }),
    ).rejects.toThrow('paused');
  });

  it('has nobody write where it reads, also in the turns in which a copy ends', async () => {
    const bench = new TrackerBench();
    bench.add();
    const reading = new Turnstile();
    reading.shut();
    const range = { from: 5, count: 1 };
    let isReading = true;
    const copy = async () => {
      await bench.tracker.copy(range, () => reading.pass.then(() => undefined));
      // The next one of the same block, as soon as it can.
      await null;
      const begun = bench.tracker.copy(range, async () => {
        isReading = true;
        await turns(3);
        isReading = false;
      });
      return begun;
    };
    const copying = copy();
    const writing = bench.write(5, 1, () => expect(isReading).toBe(false));
    await turns();
    isReading = false;
    reading.open();
    await Promise.all([copying, writing]);
    expect.assertions(1);
  });
});
