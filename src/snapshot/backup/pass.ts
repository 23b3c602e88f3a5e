/**
 * The pass of a backup over what is to be saved (online backup, figure 9: steps 915 to 945, 975 and 980): chunk by chunk, each
 * once, several at a time, in ascending order; but those for which writers wait come first (figure 12).
 *
 * A chunk is read below the gate while nobody writes to it, and flagged then: from that turn on writes to it go straight through,
 * since its content is in memory. What of it was overwritten before comes from the container, whose slots are free when the
 * target has it. So the container drains beside it all, and when the pass is through it is empty (figure 11).
 */
import { allEnded } from '../../device/all-ended.js';
import { BLOCK_BYTES, type BlockRange } from '../../replication/blocks.js';
import type { RateLimit } from '../../replication/rate-limit.js';
import type { SlotContainer } from '../container/slots.js';
import type { GateDevice } from '../gate.js';
import { CHUNK_BYTES, type Keeping } from './keeping.js';
import type { BackupTarget } from './target.js';

export interface PassParts {
  readonly gate: GateDevice;
  readonly keeping: Keeping;
  readonly container: SlotContainer | null;
  readonly target: BackupTarget;
  readonly rate: RateLimit;
  readonly sizeBytes: number;
  /** Chunks on their way at a time. */
  readonly inFlight: number;
  /** Aborted: no chunk is begun any more. */
  readonly signal: AbortSignal;
  /** A chunk could not be saved: the others are given up, and who waits for its room waits no more. */
  readonly onFailed: (cause: unknown) => void;
  readonly onUnreadable: (range: BlockRange, cause: unknown) => void;
  readonly onSaved: (bytes: number) => void;
}

export class Pass {
  #cursor = 0;
  /** Chunks that were begun: each is once. */
  readonly #taken = new Set<number>();

  constructor(private readonly parts: PassParts) {}

  /** All that is on the list is in the target when it returns, unless it was aborted. Throws what reading and putting throw. */
  async run(): Promise<void> {
    const { inFlight, onFailed } = this.parts;
    const workers = Array.from({ length: inFlight }, () =>
      this.#work().catch((cause: unknown) => {
        onFailed(cause);
        throw cause;
      }),
    );
    await allEnded(workers);
  }

  async #work(): Promise<void> {
    const buffer = new Uint8Array(CHUNK_BYTES);
    const { rate, signal } = this.parts;
    while (!signal.aborted) {
      const urgent = this.#urgent();
      if (urgent === null && !rate.isReady) {
        await this.#paidOrUrgent();
        continue;
      }
      const chunk = urgent ?? this.#next();
      if (chunk === null) return;
      await this.#save(chunk, buffer);
    }
  }

  /** The rate is for what nobody waits for. */
  async #paidOrUrgent(): Promise<void> {
    const { rate, signal, keeping } = this.parts;
    const isUrgent = new AbortController();
    const wake = () => isUrgent.abort();
    signal.addEventListener('abort', wake, { once: true });
    keeping.onUrgent.add(wake);
    await rate.ready(isUrgent.signal);
    keeping.onUrgent.delete(wake);
    signal.removeEventListener('abort', wake);
  }

  #urgent(): number | null {
    const chunk = this.parts.keeping.urgentChunk((one) => !this.#taken.has(one));
    return chunk === null ? null : this.#take(chunk);
  }

  #next(): number | null {
    const { keeping } = this.parts;
    const isOpen = (chunk: number) => !this.#taken.has(chunk);
    for (;;) {
      const chunk = keeping.chunkFrom(this.#cursor);
      if (chunk === null) break;
      this.#cursor = chunk + 1;
      if (isOpen(chunk)) return this.#take(chunk);
    }
    // What is left was overwritten, all of it, before its turn came.
    const left = keeping.keptChunk(isOpen);
    return left === null ? null : this.#take(left);
  }

  #take(chunk: number): number {
    this.#taken.add(chunk);
    return chunk;
  }

  async #save(chunk: number, buffer: Uint8Array): Promise<void> {
    const { gate, keeping, target, rate } = this.parts;
    const range = keeping.rangeOf(chunk);
    const { runs, kept } = await gate.below(range, async (lower) => {
      const pending = [...keeping.pending.runsWithin(range)];
      const read: BlockRange[] = [];
      for (const run of pending) read.push(...(await this.#read(lower, run, range, buffer)));
      return { runs: read, kept: keeping.taken(chunk) };
    });
    for (const block of kept) {
      await this.parts.container!.read(block, this.#part({ from: block, count: 1 }, range, buffer));
      runs.push({ from: block, count: 1 });
    }
    const whole = joined(runs);
    rate.charge(whole.reduce((sum, { count }) => sum + count * BLOCK_BYTES, 0));
    for (const run of whole) {
      const content = this.#part(run, range, buffer);
      await target.put(run.from * BLOCK_BYTES, content);
      this.parts.onSaved(content.length);
    }
    keeping.saved(kept);
  }

  /** What of the run could be read. */
  async #read(
    lower: { read(offset: number, into: Uint8Array): Promise<void> },
    run: BlockRange,
    chunk: BlockRange,
    buffer: Uint8Array,
  ): Promise<BlockRange[]> {
    try {
      await lower.read(run.from * BLOCK_BYTES, this.#part(run, chunk, buffer));
      return [run];
    } catch (cause) {
      if (run.count === 1) {
        this.parts.onUnreadable(run, cause);
        return [];
      }
      // Block by block, so that nothing that can be read is left out.
      const found: BlockRange[] = [];
      for (let at = 0; at < run.count; at++)
        found.push(...(await this.#read(lower, { from: run.from + at, count: 1 }, chunk, buffer)));
      return found;
    }
  }

  #part({ from, count }: BlockRange, chunk: BlockRange, buffer: Uint8Array): Uint8Array {
    const end = Math.min((from + count) * BLOCK_BYTES, this.parts.sizeBytes);
    const start = chunk.from * BLOCK_BYTES;
    return buffer.subarray(from * BLOCK_BYTES - start, end - start);
  }
}

/** In order, neighbours as one. */
function joined(runs: readonly BlockRange[]): BlockRange[] {
  const whole: { from: number; count: number }[] = [];
  for (const { from, count } of [...runs].sort((a, b) => a.from - b.from)) {
    const last = whole.at(-1);
    if (last !== undefined && last.from + last.count === from) last.count += count;
    else whole.push({ from, count });
  }
  return whole;
}
