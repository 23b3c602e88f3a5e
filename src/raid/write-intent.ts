/**
 * What is written down before rows are written, so that a crash leaves a list of the rows whose parity may be
 * wrong: the dirty-stripe record, the kernel's bitmap, or both in one round.
 *
 * A write begins (it names its rows), waits until a list that names them is durable, and only then writes the first
 * byte of data or parity of those rows; then it ends. How writers share one list, and when entries leave, is the
 * business of who keeps the list. Between its beginning and that wait it reads and computes: so those that come
 * together are listed together.
 */
import { allEnded } from '../device/all-ended.js';
import type { Range } from '../device/range-set.js';

/** A write that has begun. */
export type IntentTicket = object;

export interface WriteIntent {
  /** A write of these rows (in data) begins. To be ended, whatever becomes of it. */
  begin(rows: readonly Range[]): IntentTicket;
  /** Resolves when a list that names its rows is durable. */
  durable(ticket: IntentTicket): Promise<void>;
  /** Throws where a stripe may not be written now, though its write was begun: a member may have failed since. */
  assertAllowed(): void;
  /** The write has ended, well or not. What it wrote is not yet durable, unless all of it was written with fua. */
  end(ticket: IntentTicket, isDurable?: boolean): void;
  /** A flush of all members begins. What it returns is to be called when it has ended: whether it ended well. */
  flushing(): (isDurable: boolean) => void;
  /** Such a flush has ended well. Resolves when a list that is too long by it, where that matters, is shorter. */
  shorten(): Promise<void>;
}

/** Several lists, each of which names everything: written at the same time, durable when all are. */
export class JoinedIntent implements WriteIntent {
  constructor(private readonly intents: readonly WriteIntent[]) {}

  begin(rows: readonly Range[]): IntentTicket {
    return this.intents.map((intent) => intent.begin(rows));
  }

  durable(ticket: IntentTicket): Promise<void> {
    const tickets = ticket as readonly IntentTicket[];
    return allEnded(this.intents.map((intent, index) => intent.durable(tickets[index]!)));
  }

  assertAllowed(): void {
    for (const intent of this.intents) intent.assertAllowed();
  }

  end(ticket: IntentTicket, isDurable?: boolean): void {
    const tickets = ticket as readonly IntentTicket[];
    for (const [index, intent] of this.intents.entries()) intent.end(tickets[index]!, isDurable);
  }

  flushing(): (isDurable: boolean) => void {
    const ends = this.intents.map((intent) => intent.flushing());
    return (isDurable) => {
      for (const end of ends) end(isDurable);
    };
  }

  async shorten(): Promise<void> {
    for (const intent of this.intents) await intent.shorten();
  }
}
