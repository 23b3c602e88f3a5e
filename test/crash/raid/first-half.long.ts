/** As first-half.test.ts, for minutes. */
import { describeHalf } from './long-run.js';

describeHalf('first');
