/** As plain.test.ts, on RAID-5, with each member missing after the cut too. */
import { RAID } from '../../../src/lab/self/extents/stand.js';
import { describeExtents } from './workload-tests.js';

describeExtents(RAID, 10_000);
