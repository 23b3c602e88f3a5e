/** Where the extents of a volume lie: in one region of the volume, and in one of its journal image if it has one. */
import type { BlockDevice } from '../../device/contract.js';
import type { ClientPool, PoolTarget } from '../contract.js';
import type { ExtentSizes } from './sizes.js';
import type { PoolRegion } from './superblock.js';

export interface PlacedRegion extends PoolRegion {
  readonly device: BlockDevice;
}

export class PoolRegions implements ClientPool {
  readonly blockBytes: number;
  readonly extentBytes: number;
  /** Which extents lie on which device: what is lost with it. */
  readonly targets: readonly PoolTarget[];

  /** `regions` follow one another in the numbers of their extents, from 0 on. */
  constructor(
    { blockBytes, extentBytes }: ExtentSizes,
    private readonly regions: readonly PlacedRegion[],
  ) {
    let next = 0;
    for (const { first, extents } of regions) {
      if (first !== next) throw new Error(`a region begins with extent ${first}, not ${next}`);
      next += extents;
    }
    this.blockBytes = blockBytes;
    this.extentBytes = extentBytes;
    this.targets = regions.map(({ device, first, extents }) => ({ device, from: first, count: extents }));
  }

  /** How many there are. */
  get extents(): number {
    return this.regions.reduce((sum, { extents }) => sum + extents, 0);
  }

  locate(extent: number): { readonly device: BlockDevice; readonly offsetBytes: number } {
    for (const { device, offset, extents, first } of this.regions) {
      if (extent >= first && extent < first + extents)
        return { device, offsetBytes: offset + (extent - first) * this.extentBytes };
    }
    throw new RangeError(`there is no extent ${extent}: the pool has ${this.extents}`);
  }
}
