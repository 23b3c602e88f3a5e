/** What `status` adds for a volume that is served: as its server tells it over the control socket. */
import type { CacheStatistics } from '../device/cache/index.js';
import type { ServerStatus } from '../nbd/server/counters.js';
import type { CacheMode } from '../nbd/server/export.js';

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
  readonly inDoubt: readonly { offsetBytes: number; lengthBytes: number }[];
}
