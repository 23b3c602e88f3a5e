/** A primary with its secondary, as test/replication/pair/power-cut.test.ts, for minutes. */
import { describeReplicas } from './long-run.js';

describeReplicas('a primary and its secondary', 'pair');
