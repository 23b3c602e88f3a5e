/**
 * A call in pieces that a server takes at once, several of them in flight.
 *
 * Invariant: when it ends, well or not, no piece is in flight any more.
 */
import { allEnded } from '../../device/all-ended.js';

/** Enough to fill a connection; a call of gigabytes must not fill the server. */
const MOST_IN_FLIGHT = 8;

/** Cuts at multiples of `mostBytes`, so that pieces are aligned as well as the call lets them be. */
export async function eachPiece(
  offset: number,
  length: number,
  mostBytes: number,
  perform: (offset: number, length: number) => Promise<void>,
): Promise<void> {
  const end = offset + length;
  const first = mostBytes - (offset % mostBytes);
  if (length <= first) return perform(offset, length);
  let at = offset;
  let hasFailed = false;
  const worker = async () => {
    while (at < end && !hasFailed) {
      const start = at;
      at = Math.min(end, start - (start % mostBytes) + mostBytes);
      try {
        await perform(start, at - start);
      } catch (error) {
        hasFailed = true;
        throw error;
      }
    }
  };
  await allEnded(Array.from({ length: MOST_IN_FLIGHT }, worker));
}
