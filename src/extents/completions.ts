/**
 * What is hardened is completed in the background, in the order in which it was hardened (metadata/completion.ts does
 * it). A target that fails is waited for, with a limit (paragraph 51); not an array that has lost what it held. When it has not come back by then:
 * - the journal has a target of its own, and nothing of the transaction was copied home: it is aborted, and with it
 *   the later ones of the same file, youngest first: they were made on top of it, and a file is as of a commit point;
 * - else nothing is lost, but nothing can go on either: the store refuses commits until it is recovered.
 */
import { UserError } from '../errors.js';
import {
  type CompletedExtent,
  CompletionError,
  completeTransactions,
  type ExtentPool,
  noStatistics,
} from '../metadata/completion.js';
import type { DoneAtOnce, Replies } from '../metadata/messages.js';
import type { JournalReserve } from './journal-reserve.js';
import type { ReadsInFlight } from './reads-in-flight.js';
import type { Session } from './session.js';
import type { Settings } from './settings.js';

interface Waiting {
  readonly transaction: number;
  /** null: of several, or of nobody that is open. */
  readonly file: number | null;
  readonly done: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (cause: unknown) => void;
}

export interface CompletionsParts {
  readonly session: Session;
  readonly client: string;
  readonly pool: ExtentPool;
  readonly reserve: JournalReserve;
  readonly reads: ReadsInFlight;
  readonly settings: Settings;
  readonly onExtentDone: (done: CompletedExtent) => void;
  readonly onAborted: (transaction: number, file: number | null, cause: UserError) => void;
}

const FIRST_RETRY_MS = 50;
const LONGEST_RETRY_MS = 1000;

export class Completions {
  #queue: Waiting[] = [];
  /** Of what was done at once: reads of what is spent are waited for. */
  readonly #reusing = new Set<Promise<void>>();
  #running: Promise<void> | null = null;
  #stuck: Error | null = null;
  #isBlocked = false;
  #onBlocked: (() => void) | null = null;
  /** Transactions of which a block may have been copied home, in whichever attempt. */
  readonly #begunHome = new Set<number>();
  readonly statistics = noStatistics();

  constructor(private readonly parts: CompletionsParts) {}

  /** Hardened and not complete. */
  get left(): number {
    return this.#queue.length;
  }

  /** Of the file, or of one that may be the file's. */
  hasLeft(file: number): boolean {
    return this.#queue.some((one) => isOf(one, file));
  }

  /** Throws what keeps everything from being completed. */
  check(): void {
    if (this.#stuck !== null) throw this.#stuck;
  }

  /** Ends when the transaction is complete; rejects where it was aborted, or nothing goes on. */
  add(transaction: number, file: number | null): Promise<void> {
    let resolve!: () => void;
    let reject!: (cause: unknown) => void;
    const done = new Promise<void>((fulfil, fail) => {
      resolve = fulfil;
      reject = fail;
    });
    // Nobody need wait for it: what went wrong is in #stuck, or told by onAborted.
    done.catch(() => {});
    if (this.#stuck !== null) reject(this.#stuck);
    this.#queue.push({ transaction, file, done, resolve, reject });
    this.#kick();
    return done;
  }

  /** It was done with its hardening; in the turn in which that was answered. Ends when what is spent is there again. */
  doneAtOnce(transaction: number, extents: readonly DoneAtOnce[]): Promise<void> {
    const spent = extents.flatMap(({ journal }) => journal);
    for (const { entry, decision, journal } of extents)
      this.#extentDone({ transaction, entry, decision, copiedBlocks: 0, spent: journal });
    this.statistics.transactions += 1;
    const reusable = this.parts.reads.ended().then(() => {
      this.#reusing.delete(reusable);
      this.#spent(spent);
    });
    this.#reusing.add(reusable);
    return reusable;
  }

  /** Ends when what has been added by now (of the file, or of all) is complete. Throws what was aborted of it. */
  async idle(file?: number): Promise<void> {
    const meant = this.#queue.filter((one) => file === undefined || isOf(one, file));
    await Promise.all([...meant.map(({ done }) => done), ...this.#reusing]);
  }

  /** Ends when what has been added by now is complete or aborted. */
  async quiet(): Promise<void> {
    await Promise.allSettled([...this.#queue.map(({ done }) => done), ...this.#reusing]);
    this.check();
  }

  /** As quiet; false: nothing had been added that would free an extent. */
  async freed(): Promise<boolean> {
    if (this.#queue.length === 0 && this.#reusing.size === 0) return false;
    await this.quiet();
    return true;
  }

  /** Ends when all is complete that does not wait for another client's; throws what stops it. */
  async firstRound(): Promise<void> {
    while (this.#running !== null && !this.#isBlocked) {
      const blocked = new Promise<void>((resolve) => {
        this.#onBlocked = resolve;
      });
      await Promise.race([this.#running, blocked]);
    }
    this.check();
  }

  #kick(): void {
    if (this.#running !== null || this.#stuck !== null) return;
    this.#running = this.#run().finally(() => {
      this.#running = null;
    });
  }

  async #run(): Promise<void> {
    let failingSinceMs: number | null = null;
    let retryMs = FIRST_RETRY_MS;
    const { settings, session } = this.parts;
    while (this.#queue.length > 0 && this.#stuck === null) {
      const outcome = await this.#attempt();
      this.#isBlocked = outcome === 'blocked';
      if (this.#isBlocked) this.#onBlocked?.();
      if (outcome === 'done') {
        failingSinceMs = null;
        retryMs = FIRST_RETRY_MS;
        continue;
      }
      const nowMs = settings.clock.nowMs();
      failingSinceMs ??= nowMs;
      // What waits for another client's has no limit: that client is alive, or its lease ends.
      const isLate = nowMs - failingSinceMs >= settings.waitForTargetMs;
      const isOver = outcome !== 'blocked' && (isLate || comesNeverBack(outcome));
      if (!isOver && !session.hasEnded) {
        await settings.clock.wait(retryMs);
        retryMs = Math.min(LONGEST_RETRY_MS, 2 * retryMs);
      } else if (outcome !== 'blocked') {
        await this.#giveUp(outcome);
        failingSinceMs = null;
      }
      if (session.hasEnded) this.#stop(sessionFault(session));
    }
  }

  /** All that are queued, or as far as it gets. */
  async #attempt(): Promise<'done' | 'blocked' | CompletionError> {
    const { session, client, pool, reads } = this.parts;
    try {
      const transactions = this.#queue.map(({ transaction }) => transaction);
      const { statistics, blocked } = await completeTransactions(session, client, transactions, pool, {
        beforeReuse: () => reads.ended(),
        onSpent: (extents) => this.#spent(extents),
        onExtentDone: (done) => this.#extentDone(done),
        onDone: (transaction) => this.#finished(transaction),
      });
      this.statistics.transactions += statistics.transactions;
      return blocked.length > 0 ? 'blocked' : 'done';
    } catch (cause) {
      if (cause instanceof CompletionError) {
        if (cause.hasBegunHome) this.#begunHome.add(cause.transaction);
        return cause;
      }
      this.#stop(cause);
      return 'blocked';
    }
  }

  #spent(extents: readonly number[]): void {
    const { session, reserve } = this.parts;
    session.owe(extents);
    reserve.returned(extents);
  }

  #extentDone(done: CompletedExtent): void {
    const { reserve, onExtentDone } = this.parts;
    if (done.entry.journal !== null) reserve.replaced(done.entry.journal, done.spent);
    this.#count(done);
    onExtentDone(done);
  }

  #count({ decision, copiedBlocks }: CompletedExtent): void {
    if (decision === 'swap') {
      this.statistics.swappedExtents += 1;
      this.statistics.copiedBlocks += copiedBlocks;
    } else {
      this.statistics.committedExtents += 1;
      this.statistics.copiedHomeBlocks += copiedBlocks;
    }
  }

  #finished(transaction: number): void {
    this.#begunHome.delete(transaction);
    const found = this.#queue.find((one) => one.transaction === transaction);
    this.#queue = this.#queue.filter((one) => one !== found);
    found?.resolve();
  }

  async #giveUp(error: CompletionError): Promise<void> {
    const { settings } = this.parts;
    const { transaction, role } = error;
    if (settings.journalShares || role !== 'journal' || this.#begunHome.has(transaction)) {
      this.#stop(error);
      return;
    }
    const first = this.#queue.find((one) => one.transaction === transaction)!;
    const late = this.#queue.filter(
      (one) => one === first || (one.transaction > transaction && one.file === first.file),
    );
    try {
      for (const one of late.sort((a, b) => b.transaction - a.transaction)) await this.#abort(one, error);
    } catch (cause) {
      // Something of it was done before: it cannot be aborted, and is as it was.
      this.#stop(cause instanceof UserError && cause.code === 'REFUSED' ? error : cause);
    }
  }

  async #abort(waiting: Waiting, error: CompletionError): Promise<void> {
    const { session, client, onAborted, settings } = this.parts;
    const { transaction, file } = waiting;
    const journal = await this.#journalOf(transaction);
    await session.request({
      type: 'Abort_Transaction',
      client,
      transaction,
      why: error.message.slice(0, 1000),
    });
    const cause = new UserError(error.code, `a commit was aborted: ${error.message}`, {
      hint: 'The file is as of the commit before. Replace the target of the journal, then write again.',
      details: { ...error.details, transaction },
      cause: error,
    });
    settings.warn(`${cause.message} (transaction ${transaction})`);
    this.#queue = this.#queue.filter((one) => one !== waiting);
    onAborted(transaction, file, cause);
    waiting.reject(cause);
    await this.#giveBack(journal);
  }

  async #journalOf(transaction: number): Promise<number[]> {
    const { session, client } = this.parts;
    const journal: number[] = [];
    let from: number | null = 0;
    while (from !== null) {
      const page: Replies['Read_Transaction'] = await session.request({
        type: 'Read_Transaction',
        client,
        transaction,
        from,
        count: 256,
      });
      for (const entry of page.extents) if (entry.journal !== null) journal.push(entry.journal);
      from = page.next;
    }
    return journal;
  }

  /** Not to the reserve: their target has failed. */
  async #giveBack(journal: readonly number[]): Promise<void> {
    const { session, reads, reserve } = this.parts;
    await reads.ended();
    await session.disassociate(journal);
    await reserve.free(journal);
  }

  #stop(cause: unknown): void {
    this.#stuck ??= stuckError(cause);
    for (const { reject } of this.#queue) reject(this.#stuck);
  }
}

/** What an array cannot tell it cannot tell later: its members have been tried, and one that is brought back comes by an opening. */
function comesNeverBack({ code }: CompletionError): boolean {
  return code === 'DATA_UNAVAILABLE';
}

function isOf({ file }: Waiting, wanted: number): boolean {
  return file === null || file === wanted;
}

function sessionFault(session: Session): unknown {
  try {
    session.check();
  } catch (cause) {
    return cause;
  }
  return null;
}

function stuckError(cause: unknown): Error {
  if (!(cause instanceof UserError)) return cause instanceof Error ? cause : new Error(String(cause));
  return new UserError(cause.code, `what was committed cannot be completed: ${cause.message}`, {
    hint: cause.hint ?? 'Nothing is lost: bring the target back, then run holdfast recover.',
    details: cause.details,
    cause,
  });
}
