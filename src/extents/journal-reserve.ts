/**
 * Journal extents taken ahead (paragraph 25): a write finds one without asking the metadata server. How many are kept
 * is the rate of the commits: the moving average of what one uses, twice. What is done with comes back here, and what
 * is far above the need goes back to the pool.
 *
 * Those out of a file's own reserve (Create_File) are that file's: they go back to it as soon as nobody uses them.
 */
import { UserError } from '../errors.js';
import { MOST_JOURNAL_AT_ONCE } from '../metadata/messages.js';
import type { PoolTarget } from './contract.js';
import type { JournalAdvice } from './journal-advice.js';
import type { Session } from './session.js';

export interface Span {
  readonly from: number;
  readonly count: number;
}

export interface Take {
  readonly count: number;
  readonly file: number;
  readonly avoid?: readonly Span[];
}

const FEWEST_READY = 4;
/** Of this many, half are ready when nothing is known of the rate. */
const NEWER_SHARE = 0.25;

export class JournalReserve {
  #ready: number[] = [];
  /** Those that came out of a file's reserve, and the file. */
  readonly #reservedFor = new Map<number, number>();
  #perCommit = FEWEST_READY;
  #refill: Promise<void> | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #admission: Promise<unknown> = Promise.resolve();
  /** Messages that nobody waits for: the reserve is not closed before them. */
  readonly #inFlight = new Set<Promise<void>>();
  /** The pool had no room for more than was needed. */
  #isShort = false;

  constructor(
    private readonly session: Session,
    private readonly client: string,
    private readonly warn: (message: string) => void,
    /** Ends when what is being completed has given back what it frees; false: nothing is. */
    private readonly completed: () => Promise<boolean>,
    private readonly advice: JournalAdvice,
  ) {}

  /** Grows whenever extents have come in that were not there before: who found none may try again. */
  arrivals = 0;

  get readyExtents(): number {
    return this.#ready.length;
  }

  /** Ascending. Throws NO_SPACE, and then none is taken. */
  async take({ count, file, avoid = [] }: Take): Promise<number[]> {
    const isGood = (extent: number) => !avoid.some((span) => isWithin(extent, span));
    const taken = this.#takeReady(count, isGood);
    try {
      // One asks at a time: those behind it find what it took ahead.
      if (taken.length < count) await this.#inTurn(() => this.#takeMore(taken, count, file, avoid, isGood));
    } catch (cause) {
      this.putBack(taken);
      throw cause;
    }
    this.#refillIfLow();
    this.advice.ready(this.#ready);
    return taken.sort((a, b) => a - b);
  }

  /**
   * As take; where none are left it makes room, as often as that helps. Throws what `makeRoom` throws: of who says nothing
   * else, what is being completed is waited for, and NO_SPACE is thrown where nothing is.
   */
  async takeMakingRoom(
    take: Take,
    makeRoom: (cause: unknown) => Promise<void> = (cause) => this.#completedOr(cause),
  ): Promise<number[]> {
    for (;;) {
      const before = this.arrivals;
      try {
        return await this.take(take);
      } catch (cause) {
        if (!isNoSpace(cause)) throw cause;
        if (this.arrivals === before) await makeRoom(cause);
      }
    }
  }

  async #completedOr(cause: unknown): Promise<void> {
    if (!(await this.completed())) throw cause;
  }

  /** One after another: those who take extents, and must not meet one who has taken some and given them to no epoch yet. */
  alone<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#admission.then(body);
    this.#admission = turn.catch(() => {});
    return turn;
  }

  /** They were in use, and are ready again. */
  returned(extents: readonly number[]): void {
    this.arrivals += 1;
    this.putBack(extents);
  }

  /** Nobody uses them, and they are associated with nothing. */
  putBack(extents: readonly number[]): void {
    const reserved = extents.filter((extent) => this.#reservedFor.has(extent));
    this.#ready.push(...extents.filter((extent) => !this.#reservedFor.has(extent)));
    this.advice.ready(this.#ready);
    if (reserved.length > 0) this.#inBackground(this.free(reserved));
  }

  /** The place of one that came out of a file's reserve is another's now. */
  replaced(former: number, extents: readonly number[]): void {
    const file = this.#reservedFor.get(former);
    if (file === undefined) return;
    this.#reservedFor.delete(former);
    for (const extent of extents) this.#reservedFor.set(extent, file);
  }

  /** A commit has used so many: what is far above the need goes back. */
  committed(extents: number): void {
    this.#perCommit += (extents - this.#perCommit) * NEWER_SHARE;
    this.#isShort = false;
    const most = 4 * this.#wanted;
    if (this.#ready.length <= most) return;
    const surplus = this.#ready.splice(2 * this.#wanted, MOST_JOURNAL_AT_ONCE);
    this.#inBackground(this.free(surplus));
  }

  async free(extents: readonly number[]): Promise<void> {
    for (let at = 0; at < extents.length; at += MOST_JOURNAL_AT_ONCE) {
      const some = extents.slice(at, at + MOST_JOURNAL_AT_ONCE);
      for (const extent of some) this.#reservedFor.delete(extent);
      await this.session.request({ type: 'Free_Journal_Space', client: this.client, extents: some });
    }
  }

  /** All that are ready go back to the pool, and what was on its way there has come. */
  async freeReady(): Promise<void> {
    await Promise.all(this.#inFlight);
    await this.free(this.#ready.splice(0));
  }

  get #wanted(): number {
    return Math.max(FEWEST_READY, Math.ceil(2 * this.#perCommit));
  }

  async #takeMore(
    taken: number[],
    count: number,
    file: number,
    avoid: readonly Span[],
    isGood: (extent: number) => boolean,
  ): Promise<void> {
    for (;;) {
      taken.push(...this.#takeReady(count - taken.length, isGood));
      if (taken.length === count) return;
      const missing = Math.min(MOST_JOURNAL_AT_ONCE, count - taken.length);
      const before = this.arrivals;
      try {
        taken.push(...(await this.#allocate(missing, file, avoid)));
      } catch (cause) {
        // Some have come back meanwhile.
        if (!isNoSpace(cause) || this.arrivals === before) throw cause;
      }
    }
  }

  #inTurn<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #takeReady(count: number, isGood: (extent: number) => boolean): number[] {
    const taken: number[] = [];
    const left: number[] = [];
    for (const extent of this.#ready)
      if (taken.length < count && isGood(extent)) taken.push(extent);
      else left.push(extent);
    this.#ready = left;
    this.advice.taken(taken);
    return taken;
  }

  /** Those of the common pool first: a file's reserve is for when there are no others. */
  async #allocate(count: number, file: number, avoid: readonly Span[]): Promise<readonly number[]> {
    const request = { type: 'Allocate_Journal_Space' as const, client: this.client, avoid };
    const ahead =
      this.#isShort || avoid.length > 0 ? count : Math.min(MOST_JOURNAL_AT_ONCE, count + this.#wanted);
    for (const many of new Set([ahead, count])) {
      try {
        const { extents } = await this.session.request({ ...request, count: many });
        // What comes later lies behind it.
        this.#ready.push(...extents.slice(count));
        return extents.slice(0, count);
      } catch (cause) {
        if (!isNoSpace(cause)) throw cause;
        this.#isShort = true;
      }
    }
    return this.#allocateReserved(count, file, avoid);
  }

  async #allocateReserved(count: number, file: number, avoid: readonly Span[]): Promise<readonly number[]> {
    const { client } = this;
    const { extents } = await this.session.request({
      type: 'Allocate_Journal_Space',
      client,
      count,
      file,
      avoid,
    });
    // Which of them the server took out of the reserve it does not say: all are treated so, and those that are not go to the pool.
    for (const extent of extents) this.#reservedFor.set(extent, file);
    return extents;
  }

  #refillIfLow(): void {
    if (this.#refill !== null || this.#isShort || this.#ready.length >= this.#wanted / 2) return;
    this.#refill = this.#inTurn(() => this.#refillOnce()).finally(() => {
      this.#refill = null;
    });
    this.#inBackground(this.#refill);
  }

  async #refillOnce(): Promise<void> {
    const count = Math.min(MOST_JOURNAL_AT_ONCE, this.#wanted - this.#ready.length);
    if (count <= 0) return;
    try {
      const request = { type: 'Allocate_Journal_Space' as const, client: this.client, count };
      this.returned((await this.session.request(request)).extents);
    } catch (cause) {
      if (!isNoSpace(cause)) throw cause;
      this.#isShort = true;
    }
  }

  /** Whatever is wrong with the server, whoever asks next is told. */
  #inBackground(call: Promise<void>): void {
    const ended = call
      .catch((cause: unknown) => {
        if (!this.session.hasEnded) this.warn(`journal space: ${String(cause)}`);
      })
      .finally(() => this.#inFlight.delete(ended));
    this.#inFlight.add(ended);
  }
}

/** The extents of a target. */
export function spansOf(targets: readonly PoolTarget[], device: PoolTarget['device']): Span[] {
  return targets.filter((target) => target.device === device).map(({ from, count }) => ({ from, count }));
}

function isWithin(extent: number, { from, count }: Span): boolean {
  return extent >= from && extent < from + count;
}

export function isNoSpace(cause: unknown): boolean {
  return cause instanceof UserError && cause.code === 'NO_SPACE';
}
