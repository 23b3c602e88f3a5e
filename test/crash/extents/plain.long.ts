/** As plain.test.ts, for minutes. */
import { PLAIN } from '../../support/crash/extents-stand.js';
import { describeFiles } from './long-run.js';

describeFiles(PLAIN);
