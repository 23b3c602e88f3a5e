/** Snapshots and marks that come and go, with all that they stand on whole. */
import { describeSnapshots } from './long-run.js';

describeSnapshots('whole');
