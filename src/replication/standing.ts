/** How a replica stands, and who waits for that to change. Its states are those of replica.ts. */
import type { Clock } from './clock.js';

export type ReplicaState = 'unsynchronized' | 'resyncing' | 'in-sync' | 'paused' | 'diverged';

export class Standing {
  state: ReplicaState = 'paused';
  /** Why it is not in sync; null where it is. */
  reason: string | null = 'it has not begun yet';
  /** There is no use in trying again before the volume is opened anew. */
  isStuck = false;
  /** Why nothing goes on before it is released; null: it is not held. */
  heldFor: string | null = null;
  /** To reach it and be in sync, that have failed. */
  #attempts = 0;
  /** Since it was last reached, or began to be looked for. */
  #wasInSync = false;
  readonly #onChange = new Set<() => void>();

  become(state: ReplicaState, reason: string | null): void {
    this.state = state;
    this.reason = reason;
    if (state === 'in-sync') this.#wasInSync = true;
    for (const tell of this.#onChange) tell();
    this.#onChange.clear();
  }

  /** It was reached, or begins to be looked for: what was before is no answer to who asks from now on. */
  begins(): void {
    this.#wasInSync = false;
  }

  /** To be called before `become` says why. What was in sync first is no failed attempt. */
  attemptFailed(): void {
    if (!this.#wasInSync) this.#attempts += 1;
  }

  /** Ends in sync, or in another state in which nothing goes on by itself. */
  async settled(): Promise<void> {
    while (this.#goesOn) await this.#changed();
  }

  /** Ends when it is in sync, or an attempt at that has failed; no later than that, in ms. */
  async attempted(clock: Clock, mostMs?: number): Promise<void> {
    const ended = this.#nextAttempt();
    if (mostMs === undefined) return ended;
    const limit = new AbortController();
    await Promise.race([ended, clock.wait(mostMs, limit.signal)]);
    limit.abort();
  }

  /** Ends when it has been reached, or an attempt at that has failed. */
  async firstContact(): Promise<void> {
    while (this.#goesOn && this.state === 'unsynchronized' && this.#attempts === 0) await this.#changed();
  }

  async #nextAttempt(): Promise<void> {
    const before = this.#attempts;
    while (this.#goesOn && (this.state === 'resyncing' || this.#attempts === before)) await this.#changed();
  }

  get #goesOn(): boolean {
    return (
      !this.isStuck &&
      this.heldFor === null &&
      (this.state === 'unsynchronized' || this.state === 'resyncing')
    );
  }

  #changed(): Promise<void> {
    return new Promise((resolve) => this.#onChange.add(resolve));
  }
}
