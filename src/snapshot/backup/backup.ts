/**
 * A backup of a volume while it is used (online backup, figure 9): the moment is chosen (900, 905), the blocks in use are listed
 * (910), all of them are saved in one pass beside the writes that go on (915 to 980), and the gate is open again (925, 930).
 *
 * - Until the list is there every block counts as unsaved: writers to any of them wait for the container, not for the list.
 * - The gate is left as soon as nothing is pending: what the container still has is put to the target while every write goes
 *   straight through (figure 11).
 * - Whatever ends it otherwise (the target, the container, a block that cannot be read, somebody's wish) leaves the gate first, so
 *   that no writer waits, and then marks what was made of the target: it is never a backup.
 */
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange } from '../../replication/blocks.js';
import { type Clock, realClock } from '../../replication/clock.js';
import type { BlockMap } from '../../replication/map/block-map.js';
import { RateLimit } from '../../replication/rate-limit.js';
import { Estimate } from '../../replication/resync/estimate.js';
import type { SlotContainer } from '../container/slots.js';
import type { GateDevice, Keeper } from '../gate.js';
import { type KeptBlocks, MomentView } from '../view.js';
import { Keeping, type OverflowPolicy } from './keeping.js';
import { Pass } from './pass.js';
import type { BackupTarget } from './target.js';

export interface BackupOptions {
  /** For people: the volume's. */
  readonly label: string;
  readonly gate: GateDevice;
  /** Chooses the moment; null: nobody writes to the volume meanwhile, any moment is the same. */
  readonly choose: ((keeper: Keeper) => Promise<void>) | null;
  /** Lists what is in use at the moment, which `view` shows. */
  readonly list: (view: BlockDevice) => Promise<ListedBlocks>;
  readonly container: SlotContainer | null;
  /** Blocks that are the container's own: they are in no backup. null: there are none. */
  readonly leftOut?: BlockRange | null;
  readonly onOverflow: OverflowPolicy;
  readonly target: BackupTarget;
  /** Go on without blocks that cannot be read: they are named, and read as zeroes in the backup. */
  readonly skipsUnreadable: boolean;
  /** null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** Cancels it. */
  readonly signal: AbortSignal;
  readonly onProgress: (doneBytes: number, totalBytes: number) => void;
  readonly warn: (message: string) => void;
  readonly clock?: Clock;
  readonly patienceMs?: number;
}

export interface ListedBlocks {
  /** All else reads as zeroes in the backup. */
  readonly used: BlockMap;
  /** Of these, those that the target does not have already. */
  readonly wanted: BlockMap;
}

export interface BackupResult {
  readonly copiedBytes: number;
  /** Of the volume: not in use, and not copied. */
  readonly skippedBytes: number;
  /** In use, and not copied because the backup before has it: nothing of it was changed since. */
  readonly unchangedBytes: number;
  /** What was kept in the container because it was overwritten before it was saved. */
  readonly containerBytes: number;
  readonly unreadable: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
}

export interface BackupStatus {
  readonly phase: 'starting' | 'listing' | 'copying';
  readonly target: string;
  readonly doneBytes: number;
  /** null: it is not listed yet. */
  readonly totalBytes: number | null;
  readonly secondsLeft: number | null;
  readonly container: {
    readonly usedBytes: number;
    readonly capacityBytes: number;
    /** What comes in, less what goes out; over the last seconds. */
    readonly secondsUntilFull: number | null;
  } | null;
}

const CHUNKS_IN_FLIGHT = 4;
const PATIENCE_MS = 10_000;

export class Backup {
  readonly #keeping: Keeping;
  readonly #stop = new AbortController();
  readonly #clock: Clock;
  readonly #left: Estimate;
  readonly #room: Estimate;
  readonly #unreadable: BlockRange[] = [];
  #failure: { readonly cause: unknown } | null = null;
  #phase: BackupStatus['phase'] = 'starting';
  #doneBytes = 0;
  #totalBytes: number | null = null;
  #usedBytes = 0;

  constructor(private readonly options: BackupOptions) {
    const { label, gate, container, onOverflow, clock = realClock, patienceMs = PATIENCE_MS } = options;
    this.#clock = clock;
    this.#left = new Estimate(clock);
    this.#room = new Estimate(clock);
    this.#keeping = new Keeping({
      ...{ name: label, sizeBytes: gate.size, container, onOverflow, patienceMs, clock },
      // Before that nobody knows whether the container lies where it may.
      keepsWhenListed: options.leftOut != null,
      onFailed: (cause) => this.#fail(cause),
      onUnreadable: (range, cause) => this.#noteUnreadable(range, cause),
    });
    if (options.leftOut != null) this.#keeping.pending.clear(options.leftOut);
  }

  status(): BackupStatus {
    const { container, target } = this.options;
    const left = (this.#totalBytes ?? 0) - this.#doneBytes;
    const freeBytes = container === null ? 0 : container.capacityBytes - container.usedBytes;
    return {
      phase: this.#phase,
      target: target.name,
      doneBytes: this.#doneBytes,
      totalBytes: this.#totalBytes,
      secondsLeft: this.#totalBytes === null ? null : this.#left.secondsLeft(left),
      container:
        container === null
          ? null
          : {
              usedBytes: container.usedBytes,
              capacityBytes: container.capacityBytes,
              secondsUntilFull: this.#room.secondsLeft(freeBytes),
            },
    };
  }

  /** Once. Throws what ended it; then the target is marked, and the gate as it was. */
  async run(): Promise<BackupResult> {
    const { signal, target } = this.options;
    const cancel = () => this.#fail(signal.reason);
    signal.addEventListener('abort', cancel, { once: true });
    try {
      signal.throwIfAborted();
      const stopped = new Promise<never>((_, reject) => {
        this.#stop.signal.addEventListener('abort', () => reject(this.#failure?.cause));
      });
      // What hangs is not waited for: the target is given up below.
      await Promise.race([this.#copy(), stopped]);
      await Promise.race([target.finish(), stopped]);
      return this.#result();
    } catch (cause) {
      this.#fail(cause);
      if (await this.#abandon(cause)) throw cause;
      // It came too late.
      return this.#result();
    } finally {
      signal.removeEventListener('abort', cancel);
    }
  }

  async #copy(): Promise<void> {
    const { gate, choose, list, container, target, bytesPerSecond, onProgress } = this.options;
    const keeping = this.#keeping;
    if (choose !== null) await choose(keeping);
    if (this.#failure !== null) {
      // It was ended before the moment was there: the gate has it since.
      gate.remove(keeping);
      return;
    }
    this.#phase = 'listing';
    const { used, wanted } = await list(new MomentView(gate, this.#kept));
    if (this.#failure !== null) return;
    this.#assertUnused(used);
    keeping.list(wanted);
    await this.#zeroUnused(used);
    this.#usedBytes = Math.min(used.count * BLOCK_BYTES, gate.size);
    this.#totalBytes = Math.min(wanted.count * BLOCK_BYTES, gate.size);
    this.#phase = 'copying';
    const pass = new Pass({
      ...{ gate, keeping, container, target, sizeBytes: gate.size, inFlight: CHUNKS_IN_FLIGHT },
      rate: new RateLimit(bytesPerSecond, this.#clock),
      signal: this.#stop.signal,
      onFailed: (cause) => this.#fail(cause),
      onUnreadable: (range, cause) => this.#noteUnreadable(range, cause),
      onSaved: (bytes) => {
        this.#doneBytes += bytes;
        if (keeping.pending.isEmpty) gate.remove(keeping);
        this.#left.note(this.#totalBytes! - this.#doneBytes);
        if (container !== null) this.#room.note(container.capacityBytes - container.usedBytes);
        onProgress(this.#doneBytes, this.#totalBytes!);
      },
    });
    await pass.run();
    gate.remove(keeping);
    for (const { offsetBytes, lengthBytes } of this.#unreadableRanges())
      await target.zero(offsetBytes, lengthBytes);
  }

  /** What is in use no more is told to who has a backup from before. */
  async #zeroUnused(used: BlockMap): Promise<void> {
    const { gate, target } = this.options;
    for (const { from, count } of used.gapsWithin({ from: 0, count: used.blocks })) {
      const end = Math.min((from + count) * BLOCK_BYTES, gate.size);
      await target.zero(from * BLOCK_BYTES, end - from * BLOCK_BYTES);
    }
  }

  /** What the container overwrites must be in use by nobody. */
  #assertUnused(used: BlockMap): void {
    const { label, leftOut = null } = this.options;
    const run = leftOut === null ? null : used.runsWithin(leftOut).next().value;
    if (run == null) return;
    throw inUse(label, run);
  }

  /** The first failure counts. */
  #fail(cause: unknown): void {
    this.options.gate.remove(this.#keeping);
    if (this.#failure !== null) return;
    this.#failure = { cause };
    this.#keeping.end();
    this.#stop.abort();
  }

  /** What ended it is what the user must hear. False: it is a good one by now. */
  async #abandon(cause: unknown): Promise<boolean> {
    const { signal, target, warn } = this.options;
    try {
      return await target.abandon(signal.aborted ? 'cancelled' : 'failed', messageOf(cause));
    } catch (error) {
      warn(`${target.name} could not be marked as no backup: ${messageOf(error)}`);
      return true;
    }
  }

  /** Nothing is kept where there is no container. */
  get #kept(): KeptBlocks {
    const { container } = this.options;
    return {
      within: (range) => container?.within(range) ?? [],
      read: (block, into) => container!.read(block, into),
    };
  }

  #noteUnreadable(range: BlockRange, cause: unknown): void {
    this.#unreadable.push(range);
    if (this.options.skipsUnreadable) return;
    const offset = range.from * BLOCK_BYTES;
    this.#fail(
      new UserError(
        'IO_ERROR',
        `${this.options.label}: offset ${offset} cannot be read: ${messageOf(cause)}`,
        {
          hint: 'Go on without what cannot be read: --skip-unreadable.',
          details: { image: this.options.label, offsetBytes: offset },
          cause,
        },
      ),
    );
  }

  #unreadableRanges(): BackupResult['unreadable'] {
    const { size } = this.options.gate;
    return this.#unreadable
      .toSorted((a, b) => a.from - b.from)
      .map(({ from, count }) => ({
        offsetBytes: from * BLOCK_BYTES,
        lengthBytes: Math.min((from + count) * BLOCK_BYTES, size) - from * BLOCK_BYTES,
      }));
  }

  #result(): BackupResult {
    const { gate, container } = this.options;
    return {
      copiedBytes: this.#doneBytes,
      skippedBytes: gate.size - this.#usedBytes,
      unchangedBytes: this.#usedBytes - this.#totalBytes!,
      containerBytes: (container?.keptEver ?? 0) * BLOCK_BYTES,
      unreadable: this.#unreadableRanges(),
    };
  }
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** Of what a container would overwrite. */
export function inUse(label: string, { from }: BlockRange): UserError {
  const offset = from * BLOCK_BYTES;
  return new UserError('REFUSED', `${label}: offset ${offset} is in use, and no place for a container`, {
    hint: 'Name a range that no file and no filesystem uses, or a file: --container FILE.',
    details: { image: label, offsetBytes: offset },
  });
}
