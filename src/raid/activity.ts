/**
 * Who is writing: what every write of data or parity goes through, and what happens when nobody does.
 *
 * A write begins and names its rows; before its first byte it waits until the superblocks say active and a list that
 * names them is durable; then it ends. When nothing has been written for a while the array rests: it is flushed and
 * made clean, so that a crash costs nothing, and the next write makes it active again (Corrado, paragraph 40).
 *
 * Invariant: it rests only while no write is between its beginning and its end; a write that begins meanwhile waits,
 * and makes the array active anew.
 */
import type { Range } from '../device/range-set.js';
import { type ArrayCore, describeCause } from './core.js';
import type { ArrayMetadata } from './metadata.js';
import type { IntentTicket } from './write-intent.js';

/** "Such as 3 seconds" (paragraph 40). */
export const IDLE_MS = 3000;

export class ArrayActivity {
  private writers = 0;
  private timer: NodeJS.Timeout | null = null;
  private isClosed = false;

  constructor(
    private readonly core: ArrayCore,
    private readonly metadata: ArrayMetadata,
    private readonly idleMs = IDLE_MS,
  ) {}

  begin(rows: readonly Range[]): IntentTicket {
    this.writers += 1;
    this.disarm();
    return this.metadata.intent.begin(rows);
  }

  /** Resolves when the first byte may be written. */
  async durable(ticket: IntentTicket): Promise<void> {
    await this.metadata.activate();
    await this.metadata.intent.durable(ticket);
  }

  /** Throws where a stripe may not be written though its write was begun. */
  assertAllowed(): void {
    this.metadata.intent.assertAllowed();
  }

  /** `isDurable`: it ended well, and all of it was written with fua. */
  end(ticket: IntentTicket, isDurable = false): void {
    this.metadata.intent.end(ticket, isDurable);
    this.writers -= 1;
    if (this.writers === 0) this.arm();
  }

  /** Makes the array clean now, if nobody is writing. */
  rest(): Promise<void> {
    return this.metadata.deactivate(() => this.writers === 0);
  }

  /** It does not rest by itself any more. */
  close(): void {
    this.isClosed = true;
    this.disarm();
  }

  private arm(): void {
    if (this.isClosed) return;
    this.disarm();
    this.timer = setTimeout(() => {
      this.timer = null;
      // Nobody waits for it; a member that failed by it is out by then, and who writes next is told what stops him.
      this.rest().catch((error: unknown) => {
        this.core.warn(
          `${this.core.name} could not be made clean while nobody writes: ${describeCause(error)}`,
        );
      });
    }, this.idleMs);
    // A process that has ended its work closes the array; it does not wait for this.
    this.timer.unref();
  }

  private disarm(): void {
    if (this.timer !== null) clearTimeout(this.timer);
    this.timer = null;
  }
}
