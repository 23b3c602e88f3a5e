/**
 * What a backup wants of the gate: the blocks that are still to be saved, and the content of those that were overwritten before they
 * were (online backup, figures 10 and 12). The pass (pass.ts) takes both.
 *
 * A block is in one of these states:
 * - pending: its content of the moment is below the gate alone;
 * - kept: it is in the container, and the block may be changed;
 * - saved, or not on the list: nobody wants it.
 * From pending it goes to kept (`keep`) or to saved (`taken`, when the pass has read it), in one turn each; from kept to saved.
 */
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange, blocksOf } from '../../replication/blocks.js';
import type { Clock } from '../../replication/clock.js';
import { BlockMap } from '../../replication/map/block-map.js';
import type { SlotContainer } from '../container/slots.js';
import type { Keeper } from '../gate.js';

/** Of the volume: what is read, and put to the target, at once. */
export const CHUNK_BYTES = 1024 * 1024;
const CHUNK_BLOCKS = CHUNK_BYTES / BLOCK_BYTES;

/**
 * What becomes of writes to blocks that are not saved yet when the container is full. `drain`: they wait while it is emptied into
 * the target, in part; `throttle`: as that, and they are slowed down before; `drop`: the backup is given up; `fail`: they fail. One
 * that grows is never full.
 */
export type OverflowPolicy = 'drain' | 'throttle' | 'drop' | 'fail' | 'grow';

export interface KeepingOptions {
  readonly name: string;
  readonly sizeBytes: number;
  /** null: none, and the block that is to be written is saved next. */
  readonly container: SlotContainer | null;
  readonly onOverflow: OverflowPolicy;
  /** While writers wait and nothing at all is saved for so long, the target is taken for gone. */
  readonly patienceMs: number;
  /** Nothing is kept before the list is there: writers wait for it. */
  readonly keepsWhenListed: boolean;
  readonly clock: Clock;
  /** The backup cannot go on. */
  readonly onFailed: (cause: unknown) => void;
  /** Blocks that could not be read: whether it goes on without them. */
  readonly onUnreadable: (range: BlockRange, cause: unknown) => void;
}

/** Of `throttle`: a writer is put off by so much where the container is nearly full, and by less before. */
const LONGEST_THROTTLE_MS = 20;

export class Keeping implements Keeper {
  readonly pending: BlockMap;
  /** Blocks that are kept, by the chunk that they are in. */
  readonly #kept = new Map<number, Set<number>>();
  /** Chunks of blocks for which writers wait. */
  readonly #wanted = new Set<number>();
  /** Called when one more waits. */
  readonly onUrgent = new Set<() => void>();
  /** Those who wait for room, or for a block to be saved. */
  readonly #waiting = new Set<() => void>();
  #isOver = false;
  #isListed = false;
  #saves = 0;

  constructor(private readonly options: KeepingOptions) {
    this.pending = new BlockMap(blocksOf(options.sizeBytes));
    this.pending.setAll();
  }

  /** What is not on the list is nobody's concern, kept or not. */
  list(used: BlockMap): void {
    this.#isListed = true;
    for (const run of [...this.pending.runs()])
      for (const gap of [...used.gapsWithin(run)]) this.pending.clear(gap);
    for (const [chunk, blocks] of this.#kept) {
      const unused = [...blocks].filter((block) => !used.has(block));
      for (const block of unused) blocks.delete(block);
      this.options.container?.release(unused);
      if (blocks.size === 0) this.#kept.delete(chunk);
    }
    this.#changed();
  }

  /** Some of it is still to be taken. */
  chunkFrom(chunk: number): number | null {
    const run = this.pending.next(chunk * CHUNK_BLOCKS, 1);
    return run === null ? null : Math.floor(run.from / CHUNK_BLOCKS);
  }

  /** One that is open, and of which blocks are kept; null: there is none. */
  keptChunk(isOpen: (chunk: number) => boolean): number | null {
    for (const chunk of this.#kept.keys()) if (isOpen(chunk)) return chunk;
    return null;
  }

  /** Which open chunk frees those who wait for room, soonest; null: nobody waits, or none does. */
  urgentChunk(isOpen: (chunk: number) => boolean): number | null {
    if (this.#wanted.size === 0) return null;
    let fullest: number | null = null;
    let most = 0;
    for (const [chunk, { size }] of this.#kept) {
      if (size <= most || !isOpen(chunk)) continue;
      fullest = chunk;
      most = size;
    }
    return fullest ?? [...this.#wanted].find(isOpen) ?? null;
  }

  rangeOf(chunk: number): BlockRange {
    const from = chunk * CHUNK_BLOCKS;
    return { from, count: Math.min(CHUNK_BLOCKS, this.pending.blocks - from) };
  }

  /** The pass has read what is pending of the chunk; what is kept of it is its from now on. */
  taken(chunk: number): readonly number[] {
    this.pending.clear(this.rangeOf(chunk));
    const kept = [...(this.#kept.get(chunk) ?? [])].sort((a, b) => a - b);
    this.#kept.delete(chunk);
    this.#wanted.delete(chunk);
    this.#changed();
    return kept;
  }

  /** They are in the target. */
  saved(kept: readonly number[]): void {
    this.options.container?.release(kept);
    this.#saves += 1;
    this.#changed();
  }

  /** Nobody waits any more, and nothing is kept. */
  end(): void {
    this.#isOver = true;
    this.pending.clearAll();
    this.#kept.clear();
    this.#changed();
  }

  reserve(blocks: number): boolean {
    return this.#mayKeep && (this.options.container?.reserve(blocks) ?? false);
  }

  unreserve(blocks: number): void {
    this.options.container?.unreserve(blocks);
  }

  async keep(range: BlockRange, content: Uint8Array): Promise<void> {
    const { container, onFailed } = this.options;
    try {
      await container!.keep(range, content);
    } catch (cause) {
      onFailed(cause);
      return;
    }
    if (this.#isOver) return;
    this.#noteKept(range);
    if (this.options.onOverflow === 'throttle') await this.#throttled();
  }

  keepNow(range: BlockRange, content: Uint8Array): boolean {
    const { container, onOverflow } = this.options;
    // Who is to be put off waits.
    if (container === null || onOverflow === 'throttle' || !this.#mayKeep) return false;
    if (!container.keepNow(range, content)) return false;
    this.#noteKept(range);
    return true;
  }

  unreadable(range: BlockRange, cause: unknown): void {
    this.unreserve(range.count);
    this.options.onUnreadable(range, cause);
    this.pending.clear(range);
  }

  async relief(ranges: readonly BlockRange[]): Promise<void> {
    if (this.#isOver) return;
    if (!this.#mayKeep) return this.#changeWithin(this.options.patienceMs);
    const { onOverflow, onFailed, container, name } = this.options;
    const isTooLong = container !== null && wholeBytes(ranges) > container.capacityBytes;
    if (onOverflow === 'drop' && container !== null) return onFailed(this.#full());
    if (onOverflow === 'fail' && container !== null && !isTooLong) {
      throw new UserError('NO_SPACE', `${name}: the container of the backup that runs is full`, {
        hint: 'It is emptied as the backup goes on: try again, or use a larger --container-size.',
      });
    }
    for (const chunk of chunksOf(ranges))
      if (this.pending.meets(this.rangeOf(chunk))) this.#wanted.add(chunk);
    for (const wake of this.onUrgent) wake();
    await this.#changeWithin(this.options.patienceMs);
  }

  get #mayKeep(): boolean {
    return this.#isListed || !this.options.keepsWhenListed;
  }

  /** What the list has left out meanwhile is nobody's concern. */
  #noteKept(range: BlockRange): void {
    const wanted = [...this.pending.runsWithin(range)];
    for (const gap of [...this.pending.gapsWithin(range)]) this.options.container?.release(numbersOf(gap));
    this.pending.clear(range);
    for (const block of wanted.flatMap(numbersOf)) {
      const chunk = Math.floor(block / CHUNK_BLOCKS);
      const blocks = this.#kept.get(chunk);
      if (blocks === undefined) this.#kept.set(chunk, new Set([block]));
      else blocks.add(block);
    }
  }

  /** Something has changed, or the backup is over: a target that takes nothing must not hold writers. */
  async #changeWithin(ms: number): Promise<void> {
    const { clock, onFailed, name } = this.options;
    const before = this.#saves;
    const limit = new AbortController();
    const waited = clock.wait(ms, limit.signal).then(() => {
      if (limit.signal.aborted || this.#isOver || !this.#isListed || this.#saves !== before) return;
      onFailed(
        new UserError(
          'IO_ERROR',
          `${name}: writes have waited for ${ms} ms, and the target has taken nothing`,
          {
            hint: 'A larger --container-size lets writes go on while the target is slow.',
          },
        ),
      );
    });
    const changed = new Promise<void>((resolve) => {
      this.#waiting.add(resolve);
    });
    await Promise.race([changed, waited]);
    limit.abort();
  }

  #full(): UserError {
    return new UserError('NO_SPACE', `${this.options.name}: the container of the backup is full`, {
      hint: 'Use a larger --container-size, or --on-overflow drain.',
    });
  }

  async #throttled(): Promise<void> {
    const { container, clock } = this.options;
    const fill = container!.usedBytes / Math.max(1, container!.capacityBytes);
    if (fill > 0.5) await clock.wait((fill - 0.5) * 2 * LONGEST_THROTTLE_MS);
  }

  #changed(): void {
    const waiting = [...this.#waiting];
    this.#waiting.clear();
    for (const wake of waiting) wake();
  }
}

function numbersOf({ from, count }: BlockRange): number[] {
  return Array.from({ length: count }, (_, at) => from + at);
}

function wholeBytes(ranges: readonly BlockRange[]): number {
  return ranges.reduce((sum, { count }) => sum + count * BLOCK_BYTES, 0);
}

function chunksOf(ranges: readonly BlockRange[]): Set<number> {
  const chunks = new Set<number>();
  for (const { from, count } of ranges)
    for (let at = Math.floor(from / CHUNK_BLOCKS); at * CHUNK_BLOCKS < from + count; at++) chunks.add(at);
  return chunks;
}
