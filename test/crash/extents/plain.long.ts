/** As plain.test.ts, for minutes. */
import { PLAIN } from '../../support/crash/extents-stand.js';
import { describeLongRun } from './long-run.js';

describeLongRun(PLAIN);
