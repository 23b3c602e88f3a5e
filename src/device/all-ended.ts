/**
 * Calls that are under way together, one of which may fail: until all have ended the buffers, locks and pages that they
 * work on are in use.
 */

/** Waits for all of them, then throws what the first of those that failed was rejected with. */
export async function allEnded(calls: Iterable<Promise<unknown>>): Promise<void> {
  for (const outcome of await Promise.allSettled(calls))
    if (outcome.status === 'rejected') throw outcome.reason;
}
