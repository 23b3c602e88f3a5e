/** The places for flags by their names, and what is asked for where nothing is said. */
import type { FlagPlace } from '../../metadata/flag-places.js';
import { FlagsAtMetadata } from './at-metadata.js';
import type { FlagsOptions, FlagsPlace } from './contract.js';
import { DataFlags, type DataFlagsParts } from './data.js';
import { LocalFlags } from './local.js';

export interface FlagPlacesParts extends DataFlagsParts {
  readonly client: string;
  readonly blocksPerExtent: number;
  /** Of the pool. */
  readonly extents: number;
  readonly options: FlagsOptions;
}

export class FlagPlaces {
  readonly #places: Readonly<Record<FlagPlace, FlagsPlace>>;
  /** Where nothing else is said. */
  readonly where: FlagPlace;

  constructor({ client, blocksPerExtent, extents, options, ...parts }: FlagPlacesParts) {
    const { volumeUuid, where, local } = options;
    const owner = { volumeUuid, client, blocksPerExtent };
    this.where = where;
    this.#places = {
      metadata: new FlagsAtMetadata(parts.session, client),
      local: new LocalFlags(owner, extents, local),
      data: new DataFlags(owner, parts),
    };
  }

  at(where: FlagPlace): FlagsPlace {
    return this.#places[where];
  }
}
