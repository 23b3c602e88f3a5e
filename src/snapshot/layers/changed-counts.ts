/**
 * How many blocks were changed since each moment of a chain: what the layers from it on have between them.
 *
 * To count costs a map of the whole volume (of 1 TiB, 268 million blocks: up to 32 MiB), and a look at each layer (a third of a
 * second for one that has something everywhere in 1 TiB), all in one turn. So it is done once, from the newest moment to the oldest, when somebody asks for the first time: nobody does of marks. From then on each
 * first write of a block adds to the counts: a look into one layer after the other, until one has the block.
 */
import type { BlockRange } from '../../replication/blocks.js';
import { BlockMap } from '../../replication/map/block-map.js';

/** As far as it matters here. */
interface CountedMoment {
  readonly id: string;
  readonly layers: readonly { readonly blocks: BlockMap }[];
}

export class ChangedCounts {
  /** One for each moment; null: nobody has asked. */
  #counts: number[] | null = null;

  constructor(
    /** From the oldest on; who changes them says so. */
    private readonly moments: readonly CountedMoment[],
    private readonly blocks: number,
  ) {}

  /** 0 where there is no such moment. */
  of(id: string): number {
    this.#counts ??= this.#counted();
    return this.#counts[this.moments.findIndex((moment) => moment.id === id)] ?? 0;
  }

  /** A newest one has come. What its layers have already nobody has counted. */
  pushed({ layers }: CountedMoment): void {
    if (layers.every(({ blocks }) => blocks.isEmpty)) this.#counts?.push(0);
    else this.#counts = null;
  }

  /** Its layers are gone, where it was the oldest, or another's: no other moment has more or less behind it. */
  removed(at: number): void {
    this.#counts?.splice(at, 1);
  }

  /** Before the newest moment has these blocks in one of its layers. */
  changing(range: BlockRange): void {
    const counts = this.#counts;
    if (counts === null) return;
    /** Those that were not changed since the moment. */
    let fresh = [range];
    for (let at = this.moments.length - 1; at >= 0 && fresh.length > 0; at--) {
      for (const { blocks } of this.moments[at]!.layers)
        fresh = fresh.flatMap((one) => [...blocks.gapsWithin(one)]);
      counts[at]! += fresh.reduce((sum, { count }) => sum + count, 0);
    }
  }

  #counted(): number[] {
    const changed = new BlockMap(this.blocks);
    const counts: number[] = [];
    for (const { layers } of this.moments.toReversed()) {
      for (const { blocks } of layers) changed.add(blocks);
      counts.unshift(changed.count);
    }
    return counts;
  }
}
