/** What the files of a store share. */

import type { Completions } from './completions.js';
import type { ClientPool } from './contract.js';
import type { WriteMemory } from './epoch.js';
import type { FlagPlaces } from './flags/places.js';
import type { JournalReserve } from './journal-reserve.js';
import type { ReadsInFlight } from './reads-in-flight.js';
import type { Session } from './session.js';
import type { Settings } from './settings.js';

/** Sizes of blocks and extents. */
export interface Shape {
  readonly blockBytes: number;
  readonly blocksPerExtent: number;
  readonly extentBytes: number;
}

export interface ClientContext {
  readonly session: Session;
  readonly client: string;
  readonly pool: ClientPool;
  readonly shape: Shape;
  readonly settings: Settings;
  readonly memory: WriteMemory;
  readonly reads: ReadsInFlight;
  readonly reserve: JournalReserve;
  readonly completions: Completions;
  /** Where flags of what is not committed are kept. */
  readonly flags: FlagPlaces;
  /** Early commits of all other files that want that where journal space is short; false: there was nothing. */
  commitOthers(file: number): Promise<boolean>;
}
