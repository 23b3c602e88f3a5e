/** The other half of first-half.test.ts, so that both processors are used. */
import { SECOND_HALF } from '../../../src/lab/self/raid/workloads.js';
import { describeWorkloads } from './workload-tests.js';

describeWorkloads(SECOND_HALF);
