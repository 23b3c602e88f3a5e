/** As raid.test.ts, for minutes. */
import { RAID } from '../../support/crash/extents-stand.js';
import { describeFiles } from './long-run.js';

describeFiles(RAID);
