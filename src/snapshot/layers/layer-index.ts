/** What a layer has of which blocks, in memory: its groups are read once, and forgotten. */
import { blocksOf } from '../../replication/blocks.js';
import { entriesOf, type Group } from '../../replication/kept/groups.js';
import { BlockMap } from '../../replication/map/block-map.js';
import { PlaceTable } from './place-table.js';

export class LayerIndex {
  /** All that it has. */
  readonly blocks: BlockMap;
  /** Those that are known to be changed, and no more. */
  readonly without: BlockMap;
  /** Of those of which there is content on the device. */
  readonly places = new PlaceTable();

  /** Of the volume. */
  constructor(readonly sizeBytes: number) {
    this.blocks = new BlockMap(blocksOf(sizeBytes));
    this.without = new BlockMap(this.blocks.blocks);
  }

  enter(group: Group): void {
    for (const { entry, position } of entriesOf(group, this.sizeBytes)) {
      const { block, count, checksum } = entry;
      this.blocks.set({ from: block, count });
      if (entry.kind === 'changed') this.without.set({ from: block, count });
      // Of one that was kept twice both are true: the first flush of it was cut.
      if (position !== null && count === 1) this.places.set(block, { position, checksum });
    }
  }
}
