/**
 * What is written down before rows are written, so that a crash leaves a list of the rows whose parity may be
 * wrong. The array awaits `begin` before the first byte of data or parity of those rows; everything else (how
 * writers share one record write, when entries leave) is the business of who keeps the list.
 */
import type { Range } from '../device/range-set.js';

export interface WriteIntent {
  /** Resolves when a list that names all these rows (in data) is durable. */
  begin(rows: readonly Range[]): Promise<void>;
  /** Throws where a stripe may not be written now, though its write was begun: a member may have failed since. */
  assertAllowed(): void;
  /** The writes that were begun for these rows have ended, well or not. They are not yet durable. */
  end(rows: readonly Range[]): void;
}

/** Nothing is written down: after a crash every row is suspect. */
export const NO_INTENT: WriteIntent = {
  begin: () => Promise.resolve(),
  assertAllowed: () => undefined,
  end: () => undefined,
};
