/** Snapshots and marks of which a layer is full, or something fails that they stand on. */
import { describeSnapshots } from './long-run.js';

describeSnapshots('lossy');
