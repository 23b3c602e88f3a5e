/**
 * What is known of one secondary: its dirty map, the updates in flight to it, and its mode (coordinated dirty block tracking,
 * figures 3, 4 and 6). Map, lists and mode are its own: one that is away makes no other one dirty.
 *
 * Modes
 * - `listed`: in sync. What is written is in the transaction log before it is in the map on disk, and the map is not
 *   written down at all (paragraphs 61 and 89).
 * - `mapped`: unsynchronized, or catching up. What is written is in the map on disk before it is written (paragraph 98).
 *
 * Invariants
 * - A block is dirty while an update of it is in flight, and for as long as not both sides have flushed what they have of it.
 * - While it leans on the log, a block that is dirty and not durable in the map's file is listed there. It does so until its
 *   whole map is on disk.
 */
import type { BlockRange } from '../blocks.js';
import type { BlockMapFile, BlockTracker } from '../contract.js';
import { BlockMap } from '../map/block-map.js';
import type { UncopiedBlocks } from './uncopied-blocks.js';
import { UpdateLists } from './update-lists.js';

export class SecondaryTracking implements BlockTracker {
  readonly lists = new UpdateLists();
  mode: 'listed' | 'mapped' = 'mapped';
  leansOnLog = false;
  /** Its last loss, to its end: its map is durable, and it leans on the log no more. */
  losing: Promise<void> = Promise.resolve();
  /** That has failed, and it leans on the log still. */
  isLossStuck = false;
  /**
   * Of the resync that runs: what of the map it has still to copy. What it has copied stays in the map until both sides have
   * it. null: none runs, or it was lost since.
   */
  todo: BlockMap | null = null;
  /** The map on disk takes nothing any more: until it is opened again, there is no resync. */
  mapFailure: { readonly cause: unknown } | null = null;
  readonly map: BlockMap;
  /** null: there are none. */
  uncopied: UncopiedBlocks | null = null;

  constructor(
    /** For messages. */
    readonly name: string,
    readonly file: BlockMapFile,
    /** Blocks that were reset: what they are in of transactions may be done. */
    private readonly onReset: (range: BlockRange) => void,
  ) {
    this.map = file.map;
  }

  /** All blocks that it could have. */
  get everything(): BlockRange {
    return { from: 0, count: this.map.blocks };
  }

  insert(sequence: number, range: BlockRange): void {
    this.lists.insert({ sequence, range });
    this.map.set(range);
  }

  remove(sequence: number): readonly BlockRange[] {
    return this.lists.delete(sequence);
  }

  /** Written to while it is not in sync. */
  mark(range: BlockRange): void {
    this.map.set(range);
    this.todo?.set(range);
  }

  /** In one turn: what was in flight to it is dirty, and so is what a resync has copied and not settled. */
  lose(): void {
    this.mode = 'mapped';
    this.lists.clear();
    this.todo = null;
  }

  /** All of the map is to be copied, each block as a whole. */
  beginResync(): BlockMap {
    this.todo = new BlockMap(this.map.blocks);
    this.todo.add(this.map);
    return this.todo;
  }

  /**
   * These were copied, and both sides have flushed them since; those that were written to again stay dirty. All of them where
   * it was lost since the resync: nobody knows any more which were.
   */
  settle(range: BlockRange): void {
    if (this.todo === null) return;
    for (const unsent of this.lists.emptyWithin(range))
      for (const copied of this.todo.gapsWithin(unsent)) this.map.clear(copied);
  }

  /** See UncopiedBlocks. What fails is final. */
  async releaseUncopied(): Promise<void> {
    try {
      await this.uncopied?.release();
    } catch (cause) {
      this.mapFailure ??= { cause };
      throw cause;
    }
  }

  reset(ranges: readonly BlockRange[]): void {
    if (this.mode === 'mapped') return;
    for (const range of ranges) {
      for (const clean of this.lists.emptyWithin(range)) {
        this.map.clear(clean);
        this.onReset(clean);
      }
    }
  }
}
