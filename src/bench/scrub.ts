/**
 * The scrub of an array of four members, beside dd reading the same bytes of every member to /dev/null, all at
 * once: on two processors that is four processes against one thread and its helpers.
 */
import type { Bench, BenchContext, Comparison, Contender } from './bench.js';
import { type BenchArray, MEMBERS, MIB, makeArray, openBenchArray } from './bench-array.js';
import { measured } from './counting-device.js';
import { runDd, whyNoDd } from './dd.js';
import { prepareInSteps } from './prepare.js';

export const scrub: Bench = scrubOf(128 * MIB);

/** `memberBytes`: of each member's data; whole MiB. */
export function scrubOf(memberBytes: number): Bench {
  return {
    name: 'scrub',
    title: `Scrub of an array of ${MEMBERS} members against dd reading the same bytes`,
    prepare: ({ directory }: BenchContext) =>
      prepareInSteps(async (onOpened) => {
        const missing = await whyNoDd();
        const images = await makeArray(directory, 'array', memberBytes);
        const opened = await openBenchArray(images, { readOnly: true });
        onOpened(opened.close);
        const ours = scrubbing(opened);
        const dd: Contender = {
          name: 'dd',
          run: () => runDd(images.map((from) => ({ from, bytes: memberBytes }))),
        };
        const comparison: Comparison = {
          title: `scrub of ${MEMBERS} x ${memberBytes / MIB} MiB`,
          roundBytes: MEMBERS * memberBytes,
          operations: memberBytes / MIB,
          baseline: missing === null ? 'dd' : null,
          contenders: missing === null ? [dd, ours] : [ours],
        };
        return { comparisons: () => [comparison], notes: notesOf(missing) };
      }),
  };
}

function notesOf(missing: string | null): string[] {
  return [
    missing ?? `dd: ${MEMBERS} at once, bs=1M, to /dev/null.`,
    'Speeds count the bytes of all members. Page cache: all that is read is in it.',
    'An operation is 1 MiB of every member.',
  ];
}

function scrubbing({ array, tally }: BenchArray): Contender {
  return {
    name: 'scrub',
    run: () =>
      measured(tally, async () => {
        const { mismatchCount } = await array.scrub({ repair: false });
        if (mismatchCount > 0) throw new Error(`the scrub found ${mismatchCount} sectors that do not match`);
      }),
  };
}
