/** A secondary, as test/replication/secondary/power-cut.test.ts, for minutes. */
import { describeReplicas } from './long-run.js';

describeReplicas('a secondary', 'secondary');
