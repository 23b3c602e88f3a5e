/** A primary with several secondaries, as test/replication/pair/several.test.ts, for minutes. */
import { describeReplicas } from './long-run.js';

describeReplicas('a primary and several secondaries', 'several');
