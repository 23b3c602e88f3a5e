/**
 * Moments of one volume that are kept as long as somebody wants them, in the order of time: each first write of a block after the
 * newest moment is kept once, in a layer of that one, for all. What an earlier moment had is what its own layers have, else those
 * of the moments after it, in their order, else what is there now.
 *
 * So a moment that is given up leaves its layers to the one before it, where there is one: what that one has not kept itself
 * is in them.
 *
 * Invariants
 * - A block is pending as long as no layer of the newest moment has it.
 * - Whoever changes a block waits until what was kept of it is durable, or until all who needed it are given up, durably
 *   (`onLost`). Where neither can be had the write fails.
 */
import { allEnded } from '../../device/all-ended.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange, blocksOf } from '../../replication/blocks.js';
import { type Clock, realClock } from '../../replication/clock.js';
import { BlockMap } from '../../replication/map/block-map.js';
import type { Keeper } from '../gate.js';
import type { KeptBlocks } from '../view.js';
import { ChangedCounts } from './changed-counts.js';
import type { Layer } from './layer.js';
import { runsOfAny } from './union.js';

/**
 * When a container is full: `grow` never is; `drop` gives the moment up; `throttle` does that too, and slows writers down from half
 * full on; `fail` fails writes to what is not kept yet.
 */
export type ChainPolicy = 'grow' | 'throttle' | 'drop' | 'fail';

export interface Moment {
  readonly id: string;
  readonly onOverflow: ChainPolicy;
  /** Its own, and those of moments after it that were given up, in the order of time. */
  readonly layers: readonly Layer[];
}

export interface ChainOptions {
  /** For people: the volume's. */
  readonly label: string;
  readonly sizeBytes: number;
  /** False: it is only noted which blocks are changed. */
  readonly keepsContent: boolean;
  /**
   * They cannot be kept any more, and are marked so, durably, when it returns: which have been, from the oldest on; there may be
   * others. Throws where that cannot be done: then the write that asked fails.
   */
  readonly onLost: (ids: readonly string[], cause: unknown) => Promise<readonly string[]>;
  /** Nobody needs them any more. */
  readonly onUnneeded: (layers: readonly Layer[]) => Promise<void>;
  readonly clock?: Clock;
}

/** `throttle`: a writer is put off by so much where the container is nearly full, and by less before. */
const LONGEST_THROTTLE_MS = 20;

interface Held extends Moment {
  readonly layers: Layer[];
}

export class Chain implements Keeper {
  readonly pending: BlockMap;
  readonly note?: (range: BlockRange) => void;
  readonly keepZeroes?: (range: BlockRange) => Promise<void>;
  /** From the oldest on. */
  readonly #moments: Held[] = [];
  readonly #counts: ChangedCounts;
  /** Blocks that writes are about to keep. */
  #reserved = 0;
  /** What was lost could not be marked so: nothing may be changed before that is done. */
  #stuck: { readonly cause: unknown } | null = null;
  /** One after another: several writes may find it out at once. */
  #losing: Promise<void> = Promise.resolve();

  constructor(private readonly options: ChainOptions) {
    this.pending = new BlockMap(blocksOf(options.sizeBytes));
    this.#counts = new ChangedCounts(this.#moments, this.pending.blocks);
    if (options.keepsContent) this.keepZeroes = (range) => this.#keepZeroes(range);
    else this.note = (range) => this.#note(range);
  }

  /** From the oldest on. */
  get moments(): readonly Moment[] {
    return this.#moments;
  }

  /** In the turn in which the moment is: nothing goes through the gate meanwhile. */
  push({ id, onOverflow, layers }: Moment): void {
    this.#moments.push({ id, onOverflow, layers: [...layers] });
    this.#counts.pushed(this.#moments.at(-1)!);
    this.#recount();
  }

  /** Its layers are those of the moment before it from now on; where there is none they are unneeded. */
  async remove(id: string): Promise<void> {
    const at = this.#moments.findIndex((moment) => moment.id === id);
    const [gone] = at < 0 ? [] : this.#moments.splice(at, 1);
    if (gone === undefined) return;
    this.#counts.removed(at);
    const before = this.#moments[at - 1];
    before?.layers.push(...gone.layers);
    this.#recount();
    if (before === undefined) await this.options.onUnneeded(gone.layers);
  }

  /** What the moment held, of blocks that were changed since. */
  keptSince(id: string): KeptBlocks {
    return {
      within: (range) => numbersWithin(range, mapsOf(this.#layersFrom(id, null))),
      read: async (block, into) => {
        const layer = this.#layersFrom(id, null).find(({ blocks }) => blocks.has(block));
        if (layer === undefined) throw new Error(`block ${block} is not kept`);
        await layer.read(block, into);
      },
    };
  }

  /** How many blocks were changed since the moment; what it costs: changed-counts.ts. */
  changedBlocks(id: string): number {
    return this.#counts.of(id);
  }

  /** As `changedSince`, of a range alone: runs, ascending. */
  changedWithin(id: string, until: string | null, range: BlockRange): Iterable<BlockRange> {
    return runsOfAny(mapsOf(this.#layersFrom(id, until)), range);
  }

  /**
   * Blocks that were changed from the moment on, up to the moment `until`; null: up to now. A map of the whole volume, in one turn: of
   * 1 TiB up to 32 MiB, and a third of a second for each layer that has something everywhere. For who goes through all of it.
   */
  changedSince(id: string, until: string | null = null): BlockMap {
    const changed = new BlockMap(this.pending.blocks);
    for (const { blocks } of this.#layersFrom(id, until)) changed.add(blocks);
    return changed;
  }

  reserve(blocks: number): boolean {
    if (this.#stuck !== null) return false;
    const layer = this.#roomiest();
    if (this.options.keepsContent && layer !== null && layer.roomBlocks - this.#reserved < blocks)
      return false;
    this.#reserved += blocks;
    return true;
  }

  unreserve(blocks: number): void {
    this.#reserved -= blocks;
  }

  async keep(range: BlockRange, content: Uint8Array): Promise<void> {
    this.#reserved -= range.count;
    // Somebody may have been given up meanwhile, whose layers are another's now: that one has some of them perhaps.
    for (const run of [...this.pending.runsWithin(range)]) {
      const at = (run.from - range.from) * BLOCK_BYTES;
      await this.#keepRun(run, content.subarray(at, at + run.count * BLOCK_BYTES));
    }
    await this.#throttled();
  }

  /** Nobody can have what it held: who reads it there is told so. */
  unreadable(range: BlockRange): void {
    this.unreserve(range.count);
    this.#note(range);
  }

  /** What was kept is durable when it returns, or nobody needs it any more. */
  async settle(): Promise<void> {
    const layers = this.#moments.at(-1)?.layers ?? [];
    await allEnded(
      [...layers].map((layer) => layer.settle().catch((cause: unknown) => this.layerLost(layer, cause))),
    );
  }

  async relief(): Promise<void> {
    if (this.#stuck !== null) return this.#lose(() => this.#moments.map(({ id }) => id), this.#stuck.cause);
    const newest = this.#moments.at(-1);
    if (newest === undefined) return;
    const full = new UserError(
      'NO_SPACE',
      `${this.options.label}: the container of its newest snapshot is full`,
      { hint: 'Delete snapshots, or make them with --on-overflow grow or a larger --container-size.' },
    );
    if (newest.onOverflow === 'fail') throw full;
    await this.#lose(() => (this.#moments.at(-1) === newest ? [newest.id] : []), full);
  }

  #note(range: BlockRange): void {
    this.#counts.changing(range);
    this.#moments.at(-1)?.layers.at(-1)?.note(range);
    this.pending.clear(range);
  }

  /** They take the room of one block, which is reserved. */
  async #keepZeroes(range: BlockRange): Promise<void> {
    this.#reserved -= 1;
    for (const run of [...this.pending.runsWithin(range)]) await this.#keepRun(run, null);
    await this.#throttled();
  }

  /** `content`: null: zeroes. */
  async #keepRun(run: BlockRange, content: Uint8Array | null): Promise<void> {
    const layer = this.#roomiest();
    if (layer === null) return;
    if (layer.roomBlocks < (content === null ? 1 : run.count)) {
      await this.relief();
      return this.#keepRun(run, content);
    }
    // In one turn: what is pending no more is in the layer.
    this.#counts.changing(run);
    const kept = layer.keep(run, content);
    this.pending.clear(run);
    await kept.catch((cause: unknown) => this.layerLost(layer, cause));
  }

  /** Of the newest moment: where it keeps what comes. */
  #roomiest(): Layer | null {
    const layers = this.#moments.at(-1)?.layers ?? [];
    return layers.reduce<Layer | null>(
      (best, layer) => (best === null || layer.roomBlocks > best.roomBlocks ? layer : best),
      null,
    );
  }

  /** Whoever it is one of, and all before, have lost what was to be in it. */
  layerLost(layer: Layer, cause: unknown): Promise<void> {
    return this.#lose(() => {
      const owner = this.#moments.findIndex(({ layers }) => layers.includes(layer));
      return this.#moments.slice(0, owner + 1).map(({ id }) => id);
    }, cause);
  }

  #lose(which: () => readonly string[], cause: unknown): Promise<void> {
    const losing = this.#losing.then(async () => {
      const ids = which();
      if (ids.length === 0) return;
      let lost: readonly string[];
      try {
        lost = await this.options.onLost(ids, cause);
      } catch (error) {
        this.#stuck = { cause };
        // Also of what was kept: nobody knows whether it is durable.
        this.pending.setAll();
        throw error;
      }
      this.#stuck = null;
      // The oldest first: what it alone had is nobody's then.
      for (const id of lost) await this.remove(id);
    });
    this.#losing = losing.catch(() => {});
    return losing;
  }

  #recount(): void {
    const newest = this.#moments.at(-1);
    this.pending.clearAll();
    if (newest === undefined) return;
    this.pending.setAll();
    for (const { blocks } of newest.layers) for (const run of blocks.runs()) this.pending.clear(run);
  }

  #layersFrom(id: string, until: string | null): Layer[] {
    const from = this.#moments.findIndex((moment) => moment.id === id);
    const end =
      until === null ? this.#moments.length : this.#moments.findIndex((moment) => moment.id === until);
    if (from < 0 || end < 0) {
      throw new UserError(
        'METADATA_DAMAGED',
        `${this.options.label}: what this snapshot held could not be kept`,
        { hint: 'holdfast snapshot list tells why' },
      );
    }
    return this.#moments.slice(from, end).flatMap(({ layers }) => layers);
  }

  async #throttled(): Promise<void> {
    const layer = this.#moments.at(-1)?.onOverflow === 'throttle' ? this.#roomiest() : null;
    if (layer === null) return;
    const { clock = realClock } = this.options;
    const share = layer.usedBytes / layer.capacityBytes;
    if (share > 0.5) await clock.wait((share - 0.5) * 2 * LONGEST_THROTTLE_MS);
  }
}

function mapsOf(layers: readonly Layer[]): BlockMap[] {
  return layers.map(({ blocks }) => blocks);
}

/** Those that one of the maps has, ascending. */
function* numbersWithin(range: BlockRange, maps: readonly BlockMap[]): Generator<number> {
  for (const { from, count } of runsOfAny(maps, range)) for (let at = 0; at < count; at++) yield from + at;
}
