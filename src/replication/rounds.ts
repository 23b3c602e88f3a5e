/**
 * Many who want something written at one time, and one round of writing in flight. Those who come while it is under way
 * share the next one (coordinated dirty block tracking, paragraph 62: the cost of one write for many).
 *
 * Invariants
 * - Each is answered when its own round is over, and waits for no later one (device/shared-flush.ts has all who come in
 *   one turn wait for the second flush, but the first of them).
 * - A round that fails is thrown to all who were in it; whether that is final is for `once` to know.
 */

/** Instead of an answer: it takes part in the next round, ahead of all who came later. */
export const AGAIN = Symbol('again');

export type Answer<A> = A | typeof AGAIN;

interface Waiting<T, A> {
  readonly item: T;
  resolve(answer: A): void;
  reject(error: unknown): void;
}

export class Rounds<T, A> {
  readonly #once: (items: readonly T[]) => Promise<readonly Answer<A>[]>;
  #waiting: Waiting<T, A>[] = [];
  #running: Promise<void> | null = null;

  /** `once` gives an answer for each item, in their order. */
  constructor(once: (items: readonly T[]) => Promise<readonly Answer<A>[]>) {
    this.#once = once;
  }

  add(item: T): Promise<A> {
    return new Promise<A>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    while (this.#waiting.length > 0) {
      // Whoever calls in the same turn is of this round.
      await null;
      await this.#round(this.#waiting.splice(0));
    }
    // In the same turn: who comes next begins anew.
    this.#running = null;
  }

  async #round(group: readonly Waiting<T, A>[]): Promise<void> {
    const again: Waiting<T, A>[] = [];
    try {
      const answers = await this.#once(group.map(({ item }) => item));
      for (const [index, waiting] of group.entries()) {
        const answer = answers[index]!;
        if (answer === AGAIN) again.push(waiting);
        else waiting.resolve(answer);
      }
    } catch (error) {
      for (const { reject } of group) reject(error);
    }
    this.#waiting.unshift(...again);
  }
}
