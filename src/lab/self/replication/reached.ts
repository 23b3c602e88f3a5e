/** A secondary as its primary has it after it was reached, and who offers it. */
import type { ConnectedSecondary } from '../../../replication/replica-parts.js';
import type { SecondaryDevice } from '../../../replication/secondary/index.js';

/** A secondary that was opened, for its primary. */
export interface Reached extends ConnectedSecondary {
  readonly secondary: SecondaryDevice;
}

/** A place that holds the secondary together with replicas of its own. */
export interface SecondaryHost {
  join(): Promise<Reached>;
}
