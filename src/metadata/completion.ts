/**
 * Completing hardened transactions (data journaling, paragraphs 32 to 38 and 49): copy, flush, Swap or Commit. The
 * client that hardened a transaction, whoever takes it over when that client is gone, and recovery after a crash of all
 * use this code, and so decide alike.
 *
 * The order, and why
 * - An entry is taken when nothing older waits at its place: before, what its data extent holds is not what it
 *   was hardened over.
 * - Copies are flushed before the server is told. After a Swap the map leads to the copied blocks, after a Commit to
 *   those copied home, and nobody would ever copy them again.
 * - The server is told of an extent before its journal extent is used anew: until then a crash copies from it again.
 *   Both kinds of copies can be made any number of times with the same outcome.
 * - The copies of extents that swap come first, before the first block is copied home: as long as that has not begun, a
 *   transaction whose journal is lost can be aborted (paragraph 51). A target that gets both is flushed once, after both:
 *   whose loss would be the loss of the journal would be that of the data too.
 */
import { allEnded } from '../device/all-ended.js';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { countBits, runsOf } from './bits.js';
import { type Decision, decide, keptBlocks } from './decision.js';
import { type MetadataService, MOST_DONE_EXTENTS, type Replies, type TransactionExtent } from './messages.js';

/** Where the pool's extents lie. */
export interface ExtentPool {
  readonly blockBytes: number;
  /** The target of an extent, and the offset of its first byte on it. */
  locate(extent: number): { readonly device: BlockDevice; readonly offsetBytes: number };
}

export interface CompletionStatistics {
  transactions: number;
  swappedExtents: number;
  committedExtents: number;
  /** From data extents to journal extents that swap. */
  copiedBlocks: number;
  /** From journal extents to data extents. */
  copiedHomeBlocks: number;
}

export function noStatistics(): CompletionStatistics {
  return { transactions: 0, swappedExtents: 0, committedExtents: 0, copiedBlocks: 0, copiedHomeBlocks: 0 };
}

export interface CompletionOptions {
  /** Extents that are on their way together, and share flushes and engine commits; 64 unless said otherwise. */
  readonly extentsAtOnce?: number;
  /** These are no one's place any more, and are to be used again: it resolves when nobody reads them. */
  readonly beforeReuse?: (extents: readonly number[]) => Promise<void>;
  /**
   * These are the client's to use again: nobody reads them. They are associated still, and the caller's to disassociate
   * before another message of theirs; without it they are disassociated at once.
   */
  readonly onSpent?: (extents: readonly number[]) => void;
  /** The map has changed: called in the same turn of the loop as the answer comes. */
  readonly onExtentDone?: (done: CompletedExtent) => void;
  /** One is done, in the order in which they were hardened. */
  readonly onDone?: (transaction: number) => void;
}

/** An extent of a transaction whose Swap or Commit is durable. */
export interface CompletedExtent {
  readonly transaction: number;
  /** As it was before. */
  readonly entry: TransactionExtent;
  readonly decision: Decision;
  readonly copiedBlocks: number;
  /** Extents that have no place any more. */
  readonly spent: readonly number[];
}

/** A target failed while a transaction was being completed: all is as it was, and it can be completed later. */
export class CompletionError extends UserError {
  constructor(
    readonly transaction: number,
    /** Whether the failed target has the extent's journal or its data. */
    readonly role: 'journal' | 'data',
    /** A block of a data extent may have been written: the transaction cannot be aborted any more. */
    readonly hasBegunHome: boolean,
    cause: UserError,
  ) {
    super(cause.code, cause.message, {
      hint: cause.hint ?? 'Bring the target back, then run holdfast recover.',
      details: { ...cause.details, transaction, role, hasBegunHome },
      cause,
    });
    this.name = 'CompletionError';
  }
}

/** What is copied for one entry. */
interface Copy {
  readonly entry: TransactionExtent;
  readonly decision: Decision;
  readonly blocks: Uint8Array;
  readonly from: { readonly extent: number; readonly role: 'journal' | 'data' } | null;
  readonly to: { readonly extent: number; readonly role: 'journal' | 'data' } | null;
}

type Targets = ReadonlyMap<BlockDevice, 'journal' | 'data'>;

/** Bytes that a copy has in memory at a time. */
const COPY_BYTES = 1024 * 1024;
const COPIES_AT_ONCE = 8;
const DEFAULT_EXTENTS_AT_ONCE = 64;

/**
 * Completes transactions of `client`, oldest first. Gives those that wait for another client's older one, and are
 * to be tried again when that is done. Throws CompletionError for a target that fails.
 */
export async function completeTransactions(
  service: MetadataService,
  client: string,
  transactions: readonly number[],
  pool: ExtentPool,
  options: CompletionOptions = {},
): Promise<{ statistics: CompletionStatistics; blocked: number[] }> {
  const completion = new Completion(service, client, pool, options);
  const blocked: number[] = [];
  for (const transaction of [...transactions].sort((a, b) => a - b)) {
    if (await completion.complete(transaction)) options.onDone?.(transaction);
    else blocked.push(transaction);
  }
  return { statistics: completion.statistics, blocked };
}

/**
 * What is left after a crash: the client's own transactions, and those of clients that are gone. For whoever may
 * write the targets alone, such as recovery, and for one that was told of orphans.
 */
export async function completeAll(
  service: MetadataService,
  client: string,
  pool: ExtentPool,
  options: CompletionOptions = {},
): Promise<{ statistics: CompletionStatistics; blocked: number[] }> {
  const { transactions: own } = await service.request({ type: 'Open_Client', client });
  const { transactions: others } = await service.request({ type: 'Take_Over', client });
  return completeTransactions(service, client, [...own, ...others], pool, options);
}

class Completion {
  readonly statistics = noStatistics();
  #hasBegunHome = false;

  constructor(
    readonly service: MetadataService,
    readonly client: string,
    readonly pool: ExtentPool,
    readonly options: CompletionOptions,
  ) {}

  /** False: something older comes first, and is not ours. */
  async complete(transaction: number): Promise<boolean> {
    this.#hasBegunHome = false;
    let isBlocked = false;
    let from: number | null = 0;
    while (from !== null) {
      const page: Replies['Read_Transaction'] = await this.service.request({
        type: 'Read_Transaction',
        client: this.client,
        transaction,
        from,
        count: this.options.extentsAtOnce ?? DEFAULT_EXTENTS_AT_ONCE,
      });
      const due = page.extents.filter((entry) => !entry.isBlocked);
      isBlocked ||= due.length < page.extents.length;
      await this.#completePage(transaction, due.map(planOf));
      from = page.next;
    }
    if (!isBlocked) this.statistics.transactions += 1;
    return !isBlocked;
  }

  async #completePage(transaction: number, copies: readonly Copy[]): Promise<void> {
    const swaps = this.#planned(transaction, copies, 'swap');
    const homes = this.#planned(transaction, copies, 'commit');
    await swaps.copy();
    // What the copies home go to is flushed once, after them.
    await this.#flush(transaction, swaps.targets, homes.targets);
    await homes.copy();
    await this.#flush(transaction, homes.targets);
    const spent: number[] = [];
    // They share an engine commit.
    const told = [...messages(copies)].map(async (some) => {
      spent.push(...(await this.#tell(transaction, some)));
    });
    // Where one fails, the others are done all the same.
    const [outcome] = await Promise.allSettled([allEnded(told)]);
    await this.#giveBack(spent);
    if (outcome.status === 'rejected') throw outcome.reason;
  }

  async #giveBack(spent: readonly number[]): Promise<void> {
    if (spent.length === 0) return;
    await this.options.beforeReuse?.(spent);
    const { service, client } = this;
    if (this.options.onSpent !== undefined) this.options.onSpent(spent);
    else await service.request({ type: 'Disassociate_Journal_Extent', client, extents: spent });
  }

  /** The copies of one kind, and the targets that they are written to. */
  #planned(transaction: number, copies: readonly Copy[], decision: Copy['decision']) {
    const needed = copies.filter((copy) => copy.decision === decision && countBits(copy.blocks) > 0);
    const targets: Targets = new Map(
      needed.map(({ to }) => [this.pool.locate(to!.extent).device, to!.role] as const),
    );
    const copy = async () => {
      for (let at = 0; at < needed.length; at += COPIES_AT_ONCE) {
        const some = needed.slice(at, at + COPIES_AT_ONCE);
        await allEnded(some.map((one) => this.#copy(transaction, one, one.from!, one.to!)));
      }
    };
    return { copy, targets };
  }

  async #flush(transaction: number, targets: Targets, later: Targets = new Map()): Promise<void> {
    const now = [...targets].filter(([device]) => !later.has(device));
    await allEnded(now.map(([device, role]) => this.#guarded(transaction, role, () => device.flush())));
  }

  async #copy(
    transaction: number,
    { blocks, decision }: Copy,
    from: NonNullable<Copy['from']>,
    to: NonNullable<Copy['to']>,
  ): Promise<void> {
    const { blockBytes } = this.pool;
    const source = this.pool.locate(from.extent);
    const target = this.pool.locate(to.extent);
    const blocksAtOnce = Math.max(1, Math.floor(COPY_BYTES / blockBytes));
    for (const run of runsOf(blocks)) {
      for (let start = run.start; start < run.start + run.count; start += blocksAtOnce) {
        const count = Math.min(blocksAtOnce, run.start + run.count - start);
        const bytes = new Uint8Array(count * blockBytes);
        const at = start * blockBytes;
        await this.#guarded(transaction, from.role, () => source.device.read(source.offsetBytes + at, bytes));
        if (decision === 'commit') this.#hasBegunHome = true;
        await this.#guarded(transaction, to.role, () => target.device.write(target.offsetBytes + at, bytes));
      }
    }
    if (decision === 'swap') this.statistics.copiedBlocks += countBits(blocks);
    else this.statistics.copiedHomeBlocks += countBits(blocks);
  }

  /** Of one decision. Gives what is spent. */
  async #tell(transaction: number, copies: readonly Copy[]): Promise<readonly number[]> {
    const type = copies[0]!.decision === 'swap' ? 'Swap_Data_Journal' : 'Commit_Data_Journal';
    const extents = copies.map(({ entry: { file, index } }) => ({ file, index }));
    const { client } = this;
    const { extents: done } = await this.service.request({ type, client, transaction, extents });
    for (const [at, { entry, decision, blocks, from }] of copies.entries()) {
      if (decision === 'swap') this.statistics.swappedExtents += 1;
      else this.statistics.committedExtents += 1;
      const copiedBlocks = from === null ? 0 : countBits(blocks);
      const spent = done[at]!.journal;
      this.options.onExtentDone?.({ transaction, entry, decision, copiedBlocks, spent });
    }
    return done.flatMap(({ journal }) => journal);
  }

  async #guarded(transaction: number, role: 'journal' | 'data', call: () => Promise<void>): Promise<void> {
    try {
      await call();
    } catch (cause) {
      if (!(cause instanceof UserError)) throw cause;
      throw new CompletionError(transaction, role, this.#hasBegunHome, cause);
    }
  }
}

/** As many of one decision as go into one message. */
function* messages(copies: readonly Copy[]): Generator<readonly Copy[]> {
  for (const decision of ['swap', 'commit'] as const) {
    const some = copies.filter((copy) => copy.decision === decision);
    for (let at = 0; at < some.length; at += MOST_DONE_EXTENTS) yield some.slice(at, at + MOST_DONE_EXTENTS);
  }
}

function planOf(entry: TransactionExtent): Copy {
  const state = { ...entry, hasData: entry.data !== null };
  const decision = decide(state);
  const journal = entry.journal === null ? null : { extent: entry.journal, role: 'journal' as const };
  const data = entry.data === null ? null : { extent: entry.data, role: 'data' as const };
  if (decision === 'swap') return { entry, decision, blocks: keptBlocks(state), from: data, to: journal };
  return { entry, decision, blocks: entry.marked, from: journal, to: data };
}
