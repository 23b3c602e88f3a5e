/**
 * How much may be done on this thread between two turns of the event loop: who calls without end leaves timers, sockets
 * and signals their turn.
 */

/**
 * Together about a millisecond of calls that copy to and from the page cache. With a quarter of it writes at random to
 * RAID-5, whose batches are hundreds of calls, went mostly through the thread pool, and were a third slower.
 */
const TURN_BYTES = 2 * 1024 * 1024;
const TURN_CALLS = 256;

export class TurnBudget {
  private bytesLeft = TURN_BYTES;
  private callsLeft = TURN_CALLS;
  private hasNextTurn = false;

  /** False: the rest of this turn is for others. */
  take(bytes: number): boolean {
    if (this.callsLeft === 0 || this.bytesLeft < bytes) return false;
    this.callsLeft -= 1;
    this.bytesLeft -= bytes;
    if (!this.hasNextTurn) {
      this.hasNextTurn = true;
      setImmediate(() => {
        this.hasNextTurn = false;
        this.callsLeft = TURN_CALLS;
        this.bytesLeft = TURN_BYTES;
      });
    }
    return true;
  }
}
