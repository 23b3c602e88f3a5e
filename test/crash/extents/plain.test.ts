/** Power cuts of files on extents, explored: on one plain image. */
import { PLAIN } from '../../../src/lab/self/extents/stand.js';
import { describeExtents } from './workload-tests.js';

describeExtents(PLAIN, 10_000);
