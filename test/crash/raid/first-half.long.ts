/** As first-half.test.ts, for minutes. */
import { FIRST_HALF } from '../../support/crash/raid-workloads.js';
import { describeHalf } from './long-run.js';

describeHalf(FIRST_HALF);
