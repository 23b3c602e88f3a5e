/** As second-half.test.ts, for minutes. */
import { describeHalf } from './long-run.js';

describeHalf('second');
