/**
 * How much may be done on this thread between two turns of the event loop: who calls without end leaves timers, sockets
 * and signals their turn.
 */

/** Together about half a millisecond, at most, of calls that copy to and from the page cache. */
const TURN_BYTES = 1024 * 1024;
const TURN_CALLS = 64;

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
