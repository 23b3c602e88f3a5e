/** As raid.test.ts, for minutes. */
import { RAID } from '../../support/crash/extents-stand.js';
import { describeLongRun } from './long-run.js';

describeLongRun(RAID);
