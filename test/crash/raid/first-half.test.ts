/**
 * Power cuts of arrays, explored: every cut of each workload, the states that it may leave as far as the bound goes,
 * each without each member too, and cuts amid recoveries. `npm run test:crash` goes on for longer.
 */
import { FIRST_HALF } from '../../../src/lab/self/raid/workloads.js';
import { describeWorkloads } from './workload-tests.js';

describeWorkloads(FIRST_HALF);
