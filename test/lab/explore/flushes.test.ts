/** Which flushes of a recorded program matter. */
import { expect, it } from 'vitest';
import { recordedStore } from '../../support/lab/recorded-store.js';
import { runHoldfast, runJson } from '../../support/run-holdfast.js';

interface Flush {
  readonly flush: number;
  readonly afterMark: string | null;
  readonly kind: string | null;
}

const PROFILE = ['--profile', 'atomic-write'];

it('each of a store that flushes all matters, and says what it is for', async () => {
  const { trace, check } = await recordedStore({ letters: 'AB' });
  const { json, exitCode } = await runJson([
    'crash',
    'explore',
    trace,
    '--check',
    check,
    '--each-flush',
    ...PROFILE,
  ]);
  const { flushes } = json.result as unknown as { flushes: readonly Flush[] };
  expect(exitCode).toBe(0);
  expect(flushes.map(({ flush, afterMark, kind }) => [flush, afterMark, kind])).toEqual([
    [1, null, 'check exit 3'],
    [2, null, 'check exit 5'],
    [3, 'A', 'check exit 3'],
    [4, 'A', 'check exit 5'],
  ]);
  const { stdout } = await runHoldfast([
    'crash',
    'explore',
    trace,
    '--check',
    'true',
    '--each-flush',
    ...PROFILE,
  ]);
  expect(stdout.split('\n')[2]).toMatch(
    /^flush 3 of disk, event \d+, after "A": no state fails without it \(all looked at\)$/,
  );
});

it('one alone, and one that there is not', async () => {
  const { trace, check } = await recordedStore({ letters: 'AB' });
  const without = (number: number) =>
    runHoldfast(['crash', 'explore', trace, '--check', check, '--without-flush', `${number}`, ...PROFILE]);
  const third = await without(3);
  expect([third.exitCode, third.stdout]).toEqual([4, expect.stringContaining('letter B is torn')]);
  const fifth = await without(5);
  expect([fifth.exitCode, fifth.stderr]).toEqual([1, expect.stringContaining('the trace has 4')]);
});
