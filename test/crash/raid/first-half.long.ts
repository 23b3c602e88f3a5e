/** As first-half.test.ts, for minutes. */
import { FIRST_HALF } from '../../support/crash/raid-workloads.js';
import { describeLongRun } from './long-run.js';

describeLongRun(FIRST_HALF);
