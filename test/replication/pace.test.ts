/** How fast a resync goes, and what becomes of writes that outpace it (coordinated dirty block tracking, paragraph 94). */
import { describe, expect, it } from 'vitest';
import { Pace, type PaceSettings } from '../../src/replication/resync/pace.js';
import { DEFAULT_SETTINGS } from '../../src/replication/settings.js';
import { TurnClock } from './support/stage.js';

const { signal } = new AbortController();

function paced(settings: Partial<PaceSettings>) {
  const clock = new TurnClock();
  const writes = { gates: new Set<() => Promise<void>>() };
  const pace = new Pace(writes, { ...DEFAULT_SETTINGS.pace, ...settings }, clock);
  return { clock, writes, pace };
}

/** Sweeps that leave as much as they found. */
function outpace(pace: Pace, sweeps: number): void {
  for (let sweep = 0; sweep <= sweeps; sweep++) pace.swept(100);
}

describe('a rate', () => {
  it('has so many bytes a second copied, and what begins is never late', async () => {
    const { clock, pace } = paced({ bytesPerSecond: 1000 });
    for (let piece = 0; piece < 5; piece++) {
      await pace.ready(signal);
      pace.charge(500);
    }
    expect(clock.ms).toBe(2000);
  });

  it('that is not said waits for nothing', async () => {
    const { clock, pace } = paced({ bytesPerSecond: null });
    for (let piece = 0; piece < 5; piece++) {
      await pace.ready(signal);
      pace.charge(500);
    }
    expect(clock.ms).toBe(0);
  });
});

describe('writes that outpace a resync', () => {
  it('are left alone while sweeps get shorter', () => {
    const { pace, writes } = paced({ whenOutpaced: 'hold', patientSweeps: 2 });
    for (let left = 20; left > 0; left--) pace.swept(left);
    expect([pace.isOutpaced, writes.gates.size]).toEqual([false, 0]);
  });

  it('hold: wait until the resync has ended', async () => {
    const { pace, writes, clock } = paced({ whenOutpaced: 'hold', patientSweeps: 2, holdMs: 1e9 });
    // Its limit never comes.
    clock.wait = () => new Promise(() => {});
    outpace(pace, 2);
    const [gate] = [...writes.gates];
    let isThrough = false;
    const write = gate!().then(() => {
      isThrough = true;
    });
    for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
    expect(isThrough).toBe(false);
    pace.ended();
    await write;
    expect(writes.gates.size).toBe(0);
  });

  it('hold: wait no longer than the limit', async () => {
    const { pace, writes } = paced({ whenOutpaced: 'hold', patientSweeps: 2, holdMs: 10 });
    outpace(pace, 2);
    const [gate] = [...writes.gates];
    await gate!();
    expect([pace.isOutpaced, writes.gates.size]).toEqual([true, 0]);
  });

  it('throttle: are put off, each', async () => {
    const { pace, writes, clock } = paced({ whenOutpaced: 'throttle', patientSweeps: 2, throttleMs: 7 });
    outpace(pace, 2);
    const [gate] = [...writes.gates];
    await gate!();
    await gate!();
    expect(clock.ms).toBe(14);
    pace.ended();
    expect(writes.gates.size).toBe(0);
  });

  it('report: are left alone, and it is said', () => {
    const { pace, writes } = paced({ whenOutpaced: 'report', patientSweeps: 2 });
    outpace(pace, 2);
    expect([pace.isOutpaced, writes.gates.size]).toEqual([true, 0]);
    pace.ended();
    expect(pace.isOutpaced).toBe(false);
  });
});
