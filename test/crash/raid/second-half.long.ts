/** As second-half.test.ts, for minutes. */
import { SECOND_HALF } from '../../support/crash/raid-workloads.js';
import { describeHalf } from './long-run.js';

describeHalf(SECOND_HALF);
