/**
 * Blocks of a secondary that were never copied to it, and need not be: no filesystem uses them. Nothing else names them, and they
 * differ.
 *
 * Invariant: a block that was copied is dirty until the file has it no more. Else a crash would have it count as never copied
 * again, and nobody would compare it.
 */
import type { BlockRange } from '../blocks.js';
import type { BlockMapFile } from '../contract.js';
import { BlockMap } from '../map/block-map.js';

export class UncopiedBlocks {
  readonly map: BlockMap;
  /** No more in the map, and still in the file. */
  readonly #surplus: BlockMap;

  constructor(
    readonly file: BlockMapFile,
    /** As an opening finds it. */
    surplus: readonly BlockRange[] = [],
  ) {
    this.map = file.map;
    this.#surplus = new BlockMap(file.map.blocks);
    for (const range of surplus) this.#surplus.set(range);
  }

  /** The secondary is being given all of them, and something else names them until that has ended. */
  copied(range: BlockRange): void {
    for (const gone of [...this.map.runsWithin(range)]) {
      this.map.clear(gone);
      this.#surplus.set(gone);
    }
  }

  /** Of these that were copied, the file has none. */
  isReleased(range: BlockRange): boolean {
    return !this.#surplus.meets(range);
  }

  /** What was copied by now is on disk as such when it returns. */
  async release(): Promise<void> {
    const gone = [...this.#surplus.runs()];
    if (gone.length === 0) return;
    await this.file.release();
    for (const range of gone) this.#surplus.clear(range);
  }
}
