/** Half of the workloads of arrays, explored for minutes. */
import { ARRAYS } from '../../../src/lab/self/layers.js';
import { describeLongRun, statesOr } from '../long-run.js';

export function describeHalf(half: keyof typeof ARRAYS): void {
  describeLongRun({
    title: 'an array',
    workloads: ARRAYS[half],
    states: statesOr(5_700_000) / (ARRAYS.first.length + ARRAYS.second.length),
  });
}
