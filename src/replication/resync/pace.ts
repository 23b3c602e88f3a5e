/**
 * How fast a resync goes, and what becomes of it where writing outpaces copying (coordinated dirty block tracking,
 * paragraph 94): sweeps end by themselves while copying is faster; else a last sweep runs with writes held, for a bounded
 * time; or writes are slowed down; or it is reported, and the sweeps go on.
 */
import type { Clock } from '../clock.js';
import { RateLimit } from '../rate-limit.js';

export type WhenOutpaced = 'hold' | 'throttle' | 'report';

export interface PaceSettings {
  readonly whenOutpaced: WhenOutpaced;
  /** null: as fast as it goes. */
  readonly bytesPerSecond: number | null;
  /** Writes are held no longer than this at a time. */
  readonly holdMs: number;
  /** A write is put off by so much while they are slowed down. */
  readonly throttleMs: number;
  /** Sweeps that do not get shorter before something is done. */
  readonly patientSweeps: number;
}

/** What holds writes of the primary back: the tracker's, and each resync has its own among them. */
export interface Gates {
  readonly gates: Set<() => Promise<void>>;
}

export class Pace {
  readonly #rate: RateLimit;
  #shortest = Number.POSITIVE_INFINITY;
  #without = 0;
  #gate: (() => Promise<void>) | null = null;
  #open: (() => void) | null = null;
  #timer: AbortController | null = null;
  /** For people: it does not get there by itself. */
  isOutpaced = false;

  constructor(
    private readonly writes: Gates,
    private readonly settings: PaceSettings,
    private readonly clock: Clock,
  ) {
    this.#rate = new RateLimit(settings.bytesPerSecond, clock);
  }

  /** What was copied so far is paid for. */
  get isReady(): boolean {
    return this.#rate.isReady;
  }

  /** Ends when the next may be copied. */
  ready(signal: AbortSignal): Promise<void> {
    return this.#rate.ready(signal);
  }

  /** So many bytes are being copied. */
  charge(bytes: number): void {
    this.#rate.charge(bytes);
  }

  /** After each sweep: so many blocks are left dirty. */
  swept(leftBlocks: number): void {
    if (leftBlocks < this.#shortest) {
      this.#shortest = leftBlocks;
      this.#without = 0;
      return;
    }
    this.#without += 1;
    if (this.#without < this.settings.patientSweeps) return;
    this.#without = 0;
    this.#shortest = Number.POSITIVE_INFINITY;
    this.isOutpaced = true;
    if (this.settings.whenOutpaced === 'hold') this.#hold();
    if (this.settings.whenOutpaced === 'throttle')
      this.#shut(() => this.clock.wait(this.settings.throttleMs));
  }

  /** The resync has ended, one way or the other: nothing is held any more. */
  ended(): void {
    this.isOutpaced = false;
    this.#timer?.abort();
    this.#release();
  }

  /** New writes wait; those that are under way end, and the next sweep is the last. */
  #hold(): void {
    if (this.#gate !== null) return;
    const held = new Promise<void>((resolve) => {
      this.#open = resolve;
    });
    this.#shut(() => held);
    const limit = new AbortController();
    this.#timer = limit;
    void this.clock.wait(this.settings.holdMs, limit.signal).then(() => {
      if (!limit.signal.aborted) this.#release();
    });
  }

  #shut(gate: () => Promise<void>): void {
    if (this.#gate !== null) return;
    this.#gate = gate;
    this.writes.gates.add(gate);
  }

  #release(): void {
    if (this.#gate !== null) this.writes.gates.delete(this.#gate);
    this.#gate = null;
    this.#open?.();
  }
}
