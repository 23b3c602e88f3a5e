/**
 * Faults of the RAID layer, planted one by one: the explorer has to find each by the workloads in which it finds
 * nothing otherwise (first-half.test.ts, second-half.test.ts).
 */
import { describe, expect, it } from 'vitest';
import type { Workload } from '../../../src/lab/self/raid/recording.js';
import { exploreWorkload, type RaidRunOptions } from '../../../src/lab/self/raid/run.js';
import { FIRST_HALF, SECOND_HALF } from '../../../src/lab/self/raid/workloads.js';
import { forgetAtOnce, nothing, unflushedDuring, writeOneCopy } from '../../support/planted-faults.js';

function workload(name: string): Workload {
  return [...FIRST_HALF, ...SECOND_HALF].find((each) => each.name === name)!;
}

interface Fault {
  readonly name: string;
  readonly workload: string;
  readonly plant: Pick<RaidRunOptions, 'mutate' | 'mutateRecovery'>;
  /** The invariant that breaks. */
  readonly breaks: RegExp;
  /** Only a cut amid recovery shows it. */
  readonly isSecondCut?: boolean;
}

const FAULTS: readonly Fault[] = [
  {
    name: 'a flush does not reach the members',
    workload: 'writes, flushes and fua',
    plant: {
      mutate: ({ metadata }) => {
        metadata.flushMembers = nothing;
      },
    },
    breaks: /^[123]:/,
  },
  {
    name: 'data is written before its record is durable',
    workload: 'one stripe after another, in no order',
    plant: {
      mutate: ({ metadata: { intent } }) => {
        intent.durable = nothing;
      },
    },
    breaks: /^[23]:/,
  },
  {
    name: "an entry leaves at its write's completion, not after a flush",
    workload: 'one stripe after another, in no order',
    plant: { mutate: forgetAtOnce },
    breaks: /^[23]:/,
  },
  {
    name: 'a generation has one copy',
    workload: 'several writers on the same stripes',
    plant: { mutate: writeOneCopy },
    breaks: /^3:/,
  },
  {
    name: 'superblocks say clean before the flush',
    workload: 'rests when nobody writes, and is written again',
    plant: { mutate: (array) => unflushedDuring(array, 'deactivate') },
    breaks: /^[123]:/,
  },
  {
    name: 'recovery clears entries before its parity is flushed',
    workload: 'several writers on the same stripes',
    plant: {
      mutateRecovery: ({ core }) => {
        for (const { device } of core.slotMembers()) device.flush = nothing;
      },
    },
    breaks: /^2:/,
    isSecondCut: true,
  },
];

describe('the explorer finds that', () => {
  it.each(FAULTS)('$name', { timeout: 600_000 }, async (fault) => {
    const { report } = await exploreWorkload(workload(fault.workload), {
      seed: 1,
      maxStates: 200_000,
      maxImagesPerCut: 200,
      ...fault.plant,
    });
    expect(report.failures.map(({ invariant }) => invariant).join()).toMatch(fault.breaks);
    expect(report.failures[0]!.recovered !== null).toBe(fault.isSecondCut === true);
  });
});
