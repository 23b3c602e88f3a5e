/** As second-half.test.ts, for minutes. */
import { SECOND_HALF } from '../../support/crash/raid-workloads.js';
import { describeLongRun } from './long-run.js';

describeLongRun(SECOND_HALF);
