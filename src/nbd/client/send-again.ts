/**
 * Sends what an earlier server acknowledged, and may have lost, to a new one.
 *
 * Invariants
 * - What overlaps is sent when what it lies on has been answered: a server may do requests in any order.
 * - It ends well when all has been answered well.
 */
import { RangeSet } from '../../device/range-set.js';
import type { NbdConnection } from './connection.js';
import type { NbdRequest } from './pending.js';

/** Enough to keep a server busy, and little enough not to have all of it in the socket at once. */
const MOST_IN_FLIGHT = 64;

/** @throws ConnectionLost; AnsweredError. */
export async function sendAgain(connection: NbdConnection, requests: Iterable<NbdRequest>): Promise<void> {
  let inFlight: Promise<void>[] = [];
  let ranges = new RangeSet();
  for (const request of requests) {
    const { offset, length } = request;
    if (inFlight.length === MOST_IN_FLIGHT || ranges.overlaps(offset, offset + length)) {
      await Promise.all(inFlight);
      inFlight = [];
      ranges = new RangeSet();
    }
    ranges.add(offset, offset + length);
    inFlight.push(connection.send(request));
  }
  await Promise.all(inFlight);
}
