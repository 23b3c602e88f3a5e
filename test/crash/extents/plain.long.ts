/** As plain.test.ts, for minutes. */
import { describeFiles } from './long-run.js';

describeFiles('plain');
