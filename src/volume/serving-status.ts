/** What `status` adds for a volume that is served: as its server tells it over the control socket. */
import type { CacheStatistics } from '../device/cache/index.js';
import type { ServerStatus } from '../nbd/server/counters.js';
import type { CacheMode } from '../nbd/server/export.js';
import type { NbdServer } from '../nbd/server/server.js';
import type { HostStatus } from './replication/secondary/host-status.js';
import type { ReplicaStatus } from './replication/status.js';
import type { SnapshotStatus } from './snapshots/status.js';

/** What the server is asked for. */
export const SERVING_STATUS = 'serving status';

export interface ServingStatus extends ServerStatus {
  readonly pid: number;
  readonly seconds: number;
  readonly cacheMode: CacheMode;
  /** null where there is no cache: the volume is served read only, or is one image file. */
  readonly cache: CacheStatistics | null;
  /** Generations of the dirty-stripe record that were written; null: none is kept. */
  readonly recordWrites: number | null;
  /** As they are now; null: what is written is not tracked. */
  readonly replicas: readonly ReplicaStatus[] | null;
  /** What its snapshots are served by, before the @. */
  readonly volumeName: string;
  readonly snapshots: readonly SnapshotStatus[];
  readonly inDoubt: readonly { offsetBytes: number; lengthBytes: number }[];
  /** Of an image that is served as a place for a secondary; null: it is a volume's own. */
  readonly secondary: HostStatus | null;
}

/** What is served, whatever it is: a volume (serve.ts), or a place for a secondary (serve-secondary.ts). */
export interface Serving {
  /** As the user named it. */
  readonly label: string;
  readonly server: NbdServer;
  /** Of the first export. */
  readonly exportName: string;
  /** Whether clients have to speak TLS. */
  readonly isSecure: boolean;
  status(): ServingStatus;
  /** Stopping twice is allowed. @throws the first failure of a flush or of closing, when all is closed. */
  stop(): Promise<void>;
}
