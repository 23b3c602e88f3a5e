/** As raid.test.ts, for minutes. */
import { describeFiles } from './long-run.js';

describeFiles('raid');
