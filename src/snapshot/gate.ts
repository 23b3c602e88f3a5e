/**
 * The gate: a device that lets no content of a chosen moment be overwritten before somebody has it (online backup by an
 * intermediate container, figures 8, 9 and 10). While nobody wants a moment kept every call goes straight through (step 930).
 *
 * A write (steps 935 to 975), for each of its blocks of 4 KiB:
 * 1. it waits for a read of the block by a pass, and for writes to the same block that came before;
 * 2. where nobody waits for its old content (it was copied, or is not on the list), it goes on at once (step 955);
 * 3. else the old content is read, once for all who want it, and given to each (steps 960 and 965);
 * 4. when all have it, those durably who are to outlive a crash, it goes on (step 970).
 * One for whose old content there is no room gives its claim up while it waits: so a pass can read the very block, and that
 * ends the wait too. Writes to other blocks never wait for it.
 *
 * Invariants
 * - A block is changed below only when no keeper has it pending.
 * - A keeper is taken away whenever it likes: who waited for it goes on.
 */
import { promptOf, writeAll } from '../device/abilities.js';
import { adviseWrite } from '../device/advice.js';
import { allEnded } from '../device/all-ended.js';
import { bufferList, byteLength } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type {
  AdvisedDevice,
  BatchDevice,
  BatchWrite,
  BlockDevice,
  Buffers,
  Extent,
  PromptDevice,
  WriteOptions,
} from '../device/contract.js';
import { type Claim, RangeLock } from '../device/range-lock.js';
import { RangeSet } from '../device/range-set.js';
import { BLOCK_BYTES, type BlockRange, blocksWithin } from '../replication/blocks.js';
import type { BlockMap } from '../replication/map/block-map.js';
import { apart, inPieces } from './large-changes.js';

/** Whoever wants what a moment held. */
export interface Keeper {
  /** Blocks whose content of the moment is nowhere but below the gate. */
  readonly pending: BlockMap;
  /** Room for so many blocks is taken, at once; false: there is none now. */
  reserve(blocks: number): boolean;
  /** They are not kept after all. */
  unreserve(blocks: number): void;
  /**
   * The content of the moment, for which room was reserved. When it returns the blocks are pending no more, and may be changed.
   * A keeper that cannot keep them gives up what it is for, and does not throw.
   */
  keep(range: BlockRange, content: Uint8Array): Promise<void>;
  /** As `keep`, of blocks that were zeroes: room for one block was reserved for all of them. None: it is given what they held. */
  keepZeroes?(range: BlockRange): Promise<void>;
  /** Instead of `keep`, of one that wants no content: these blocks are about to be changed, and are pending no more. */
  note?(range: BlockRange): void;
  /** What one write has had kept or noted is to be durable before it goes on: returns when it is. Throws what the write is to fail with. */
  settle?(): Promise<void>;
  /** As `keep`, with room or without, where none of it has to wait; false: nothing was kept. */
  keepNow?(range: BlockRange, content: Uint8Array): boolean;
  /** As `keep`, of blocks that could not be read. */
  unreadable(range: BlockRange, cause: unknown): void;
  /** There was no room: ends when it is worth another look. Throws what the write is to fail with. */
  relief(ranges: readonly BlockRange[]): Promise<void>;
}

/** What one keeper wants of a write. */
interface Wanted {
  readonly keeper: Keeper;
  readonly ranges: readonly BlockRange[];
  /** Known to be zeroes, where the keeper makes a difference. */
  readonly zeroes: readonly BlockRange[];
  /** To reserve. */
  readonly blocks: number;
}

/** Read at once; of a change without data as much as is kept at once, where holes are kept as content is. */
const PIECE_BYTES = 1024 * 1024;
/** Of a batch, whose ranges may be many. */
const READS_IN_FLIGHT = 32;
/** For content that is given on before anything else happens. */
const SCRATCH = new Uint8Array(64 * 1024);

export class GateDevice implements PromptDevice, BatchDevice, AdvisedDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #keepers = new Set<Keeper>();
  readonly #lock = new RangeLock();
  readonly #prompt: PromptDevice | null;
  /** Of calls that are not passed straight through. */
  readonly #guard: CallGuard;
  #isClosed = false;

  constructor(readonly lower: BlockDevice) {
    this.name = lower.name;
    this.size = lower.size;
    this.blockSize = lower.blockSize;
    this.readOnly = lower.readOnly;
    this.#prompt = promptOf(lower);
    this.#guard = new CallGuard(this);
  }

  /** From now on. For who sees to it that no change is under way. */
  add(keeper: Keeper): void {
    this.#keepers.add(keeper);
  }

  remove(keeper: Keeper): void {
    this.#keepers.delete(keeper);
  }

  /** Reads below while nobody changes the range: `body` gets the device below, and may end what is pending. */
  async below<R>({ from, count }: BlockRange, body: (lower: BlockDevice) => Promise<R>): Promise<R> {
    const claim = this.#lock.enter(from * BLOCK_BYTES, (from + count) * BLOCK_BYTES, false);
    try {
      if (claim.blocked) await claim.turn();
      return await body(this.lower);
    } finally {
      this.#lock.leave(claim);
    }
  }

  read(offset: number, into: Buffers): Promise<void> {
    const below = () => this.lower.read(offset, into);
    return this.#isOpen ? below() : this.#guard.run('read', offset, byteLength(into), below);
  }

  readNow(offset: number, into: Uint8Array): boolean {
    return !this.#isClosed && (this.#prompt?.readNow(offset, into) ?? false);
  }

  write(offset: number, from: Buffers, options?: WriteOptions): Promise<void> {
    const below = () => this.lower.write(offset, from, options);
    if (this.#isOpen) return below();
    const length = byteLength(from);
    if (options?.fua !== true && this.writeNow(offset, bufferList(from), length)) return Promise.resolve();
    return this.#guard.run('write', offset, length, () =>
      this.#guarded([blocksWithin(offset, length)], below),
    );
  }

  writeBatch(batch: readonly BatchWrite[]): Promise<void> {
    const [first] = batch;
    if (this.#isOpen || first === undefined) return writeAll(this.lower, batch);
    const blocks = new RangeSet();
    for (const { offset, from } of batch) {
      const range = blocksWithin(offset, byteLength(from));
      blocks.add(range.from, range.from + range.count);
    }
    // What is out of range is refused below, with nothing of the batch.
    return this.#guard.run('write', first.offset, byteLength(first.from), () =>
      this.#guarded(rangesOf(blocks), () => writeAll(this.lower, batch)),
    );
  }

  writeNow(offset: number, from: readonly Uint8Array[], length: number): boolean {
    if (this.#prompt === null || !(this.#isOpen || this.#isFree(offset, length))) return false;
    return this.#prompt.writeNow(offset, from, length);
  }

  willWrite(offset: number, length: number): void {
    adviseWrite(this.lower, offset, length);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    if (this.#isOpen) return this.lower.writeZeroes(offset, length, options);
    return this.#guard.run('write-zeroes', offset, length, () =>
      this.#inPieces(offset, length, (at, bytes) => this.lower.writeZeroes(at, bytes, options)),
    );
  }

  trim(offset: number, length: number): Promise<void> {
    if (this.#isOpen) return this.lower.trim(offset, length);
    return this.#guard.run('trim', offset, length, () =>
      this.#inPieces(offset, length, (at, bytes) => this.lower.trim(at, bytes)),
    );
  }

  /** What it fails with is final where it is so below. */
  flush(): Promise<void> {
    if (this.#isOpen) return this.lower.flush();
    return this.#guard.flush(
      () => this.lower.flush(),
      () => false,
    );
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    const below = () => this.lower.extents(offset, length);
    return this.#isOpen ? below() : this.#guard.ask(offset, length, [], below);
  }

  close(): Promise<void> {
    this.#isClosed = true;
    return this.#guard.close(() => this.lower.close());
  }

  /** Nobody wants anything: every call is for the device below. */
  get #isOpen(): boolean {
    return this.#keepers.size === 0 && !this.#isClosed;
  }

  /** Nobody is at work on it, and nobody wants what is there, or has it now. */
  #isFree(offset: number, length: number): boolean {
    if (!this.#guard.admits('write', offset, length)) return false;
    const range = blocksWithin(offset, length);
    const end = range.from + range.count;
    if (!this.#lock.isFree(range.from * BLOCK_BYTES, end * BLOCK_BYTES, true)) return false;
    return this.#wanted([range]).every(({ keeper, ranges }) =>
      ranges.every((one) => this.#keepNow(keeper, one)),
    );
  }

  #keepNow(keeper: Keeper, range: BlockRange): boolean {
    const start = range.from * BLOCK_BYTES;
    const bytes = Math.min((range.from + range.count) * BLOCK_BYTES, this.size) - start;
    if (keeper.keepNow === undefined || bytes > SCRATCH.length) return false;
    const content = SCRATCH.subarray(0, bytes);
    return this.#prompt!.readNow(start, content) && keeper.keepNow(range, content);
  }

  #inPieces(
    offset: number,
    length: number,
    below: (offset: number, length: number) => Promise<void>,
  ): Promise<void> {
    const isCheap = ({ note, keepZeroes }: Keeper) => note !== undefined || keepZeroes !== undefined;
    const smallBytes = () => ([...this.#keepers].every(isCheap) ? null : PIECE_BYTES);
    return inPieces(this.lower, { offset, length, smallBytes }, (start, bytes) =>
      this.#guarded(
        [blocksWithin(start, bytes)],
        () => below(start, bytes),
        (wanted) => this.#withoutHoles(wanted),
      ),
    );
  }

  async #guarded(
    ranges: readonly BlockRange[],
    body: () => Promise<void>,
    apart: (wanted: Wanted[]) => Promise<Wanted[]> = async (wanted) => wanted,
  ): Promise<void> {
    for (;;) {
      const claims = this.#enter(ranges);
      let short: Wanted | null;
      try {
        for (const claim of claims) if (claim.blocked) await claim.turn();
        const wanted = await apart(this.#wanted(ranges));
        short = reserve(wanted);
        if (short === null) {
          await this.#keep(wanted);
          return await body();
        }
      } finally {
        for (const claim of claims) this.#lock.leave(claim);
      }
      await short.keeper.relief(short.ranges);
    }
  }

  /** All in one turn, so that nobody waits for one who waits for him. The ranges do not overlap. */
  #enter(ranges: readonly BlockRange[]): Claim[] {
    return ranges
      .filter(({ count }) => count > 0)
      .map(({ from, count }) => this.#lock.enter(from * BLOCK_BYTES, (from + count) * BLOCK_BYTES, true));
  }

  #wanted(ranges: readonly BlockRange[]): Wanted[] {
    const last = Math.ceil(this.size / BLOCK_BYTES);
    const wanted: Wanted[] = [];
    for (const keeper of this.#keepers) {
      const pending = ranges
        .map(({ from, count }) => ({ from, count: Math.min(count, last - from) }))
        .filter(({ from, count }) => from >= 0 && count > 0)
        .flatMap((range) => [...keeper.pending.runsWithin(range)]);
      const blocks = pending.reduce((sum, { count }) => sum + count, 0);
      if (blocks > 0) wanted.push({ keeper, ranges: pending, zeroes: [], blocks });
    }
    return wanted;
  }

  /** What is a hole need not be read, and takes no room to speak of. While nobody changes anything there. */
  #withoutHoles(wanted: readonly Wanted[]): Promise<Wanted[]> {
    return Promise.all(
      wanted.map(async (one) => {
        const told = one.keeper.keepZeroes === undefined ? null : await apart(this.lower, one.ranges);
        if (told === null) return one;
        const { data, zeroes } = told;
        const blocks = data.reduce((sum, { count }) => sum + count, zeroes.length);
        return { keeper: one.keeper, ranges: data, zeroes, blocks };
      }),
    );
  }

  async #keep(wanted: readonly Wanted[]): Promise<void> {
    if (wanted.length === 0) return;
    const content = wanted.filter(({ keeper }) => keeper.note === undefined);
    for (const { keeper, ranges, blocks } of wanted) {
      if (keeper.note === undefined) continue;
      keeper.unreserve(blocks);
      for (const range of ranges) keeper.note(range);
    }
    const kept = this.#keepContent(content);
    // Once for all of the write: a batch costs each of them one flush. Also where it fails: what was noted and kept is pending no
    // more, and others who change these blocks go on. Who cannot settle knows it himself; the write is told of the first failure.
    await kept.catch(() => {});
    await allEnded([kept, ...wanted.map(async ({ keeper }) => keeper.settle?.())]);
  }

  async #keepContent(wanted: readonly Wanted[]): Promise<void> {
    const union = new RangeSet();
    for (const { ranges } of wanted) for (const { from, count } of ranges) union.add(from, from + count);
    const zeroes = wanted.flatMap(({ keeper, zeroes }) => zeroes.map((range) => keeper.keepZeroes!(range)));
    const ranges = rangesOf(union).flatMap(inParts);
    const reads = eachTried(ranges, READS_IN_FLIGHT, (range) => this.#keepRange(range, wanted));
    await allEnded([...zeroes, reads]);
  }

  /** So that nothing that can be read is lost. */
  async #keepSingly({ from, count }: BlockRange, wanted: readonly Wanted[]): Promise<void> {
    const blocks = Array.from({ length: count }, (_, at) => ({ from: from + at, count: 1 }));
    await eachTried(blocks, 1, (block) => this.#keepRange(block, wanted));
  }

  /** One read for all of them. */
  async #keepRange(range: BlockRange, wanted: readonly Wanted[]): Promise<void> {
    const start = range.from * BLOCK_BYTES;
    const content = new Uint8Array(Math.min((range.from + range.count) * BLOCK_BYTES, this.size) - start);
    const shares = wanted.flatMap(({ keeper, ranges }) =>
      ranges.flatMap((own) => shared(own, range)).map((own) => ({ keeper, own })),
    );
    try {
      await this.lower.read(start, content);
    } catch (cause) {
      if (range.count > 1) return this.#keepSingly(range, wanted);
      for (const { keeper, own } of shares) keeper.unreadable(own, cause);
      return;
    }
    await allEnded(
      shares.map(({ keeper, own: { from, count } }) => {
        const at = (from - range.from) * BLOCK_BYTES;
        return keeper.keep({ from, count }, content.subarray(at, at + count * BLOCK_BYTES));
      }),
    );
  }
}

/** All, whatever some come to: room is reserved for each, which who keeps it ends. Throws what the first that failed threw. */
async function eachTried(
  ranges: readonly BlockRange[],
  mostInFlight: number,
  body: (range: BlockRange) => Promise<void>,
): Promise<void> {
  const failed: { readonly cause: unknown }[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < ranges.length)
      await body(ranges[next++]!).catch((cause: unknown) => failed.push({ cause }));
  };
  await Promise.all(Array.from({ length: Math.min(mostInFlight, ranges.length) }, worker));
  if (failed[0] !== undefined) throw failed[0].cause;
}

/** What both have; none or one. */
function shared(a: BlockRange, b: BlockRange): BlockRange[] {
  const from = Math.max(a.from, b.from);
  const count = Math.min(a.from + a.count, b.from + b.count) - from;
  return count > 0 ? [{ from, count }] : [];
}

/** For all of them, or for none: the first for whom there is no room. */
function reserve(wanted: readonly Wanted[]): Wanted | null {
  for (const [at, one] of wanted.entries()) {
    if (one.keeper.reserve(one.blocks)) continue;
    for (const { keeper, blocks } of wanted.slice(0, at)) keeper.unreserve(blocks);
    return one;
  }
  return null;
}

/** As much as is read at once. */
function inParts({ from, count }: BlockRange): BlockRange[] {
  const most = PIECE_BYTES / BLOCK_BYTES;
  return Array.from({ length: Math.ceil(count / most) }, (_, at) => ({
    from: from + at * most,
    count: Math.min(most, count - at * most),
  }));
}

function rangesOf(blocks: RangeSet): BlockRange[] {
  return blocks.list().map(({ start, end }) => ({ from: start, count: end - start }));
}
