/**
 * NBD_CMD_CACHE: what is named is read and let go, so that whatever caches there are below have it, the page cache first
 * of all. It is read piece by piece, out of the session's account, as everything is.
 */
import type { RequestHeader } from '../protocol/transmission.js';
import { Piece } from './piece.js';
import { PIECE_BYTES, type Session } from './session.js';

/** Rejects with what the device threw: what could not be read now will hardly be read later. */
export async function prefetch(session: Session, { offset, length }: RequestHeader): Promise<void> {
  const end = offset + length;
  for (let at = offset; at < end && !session.replies.writer.closed; at += PIECE_BYTES) {
    const bytes = Math.min(PIECE_BYTES, end - at);
    await session.account.take(bytes);
    const piece = new Piece(session, bytes);
    try {
      await session.served.device.read(at, piece.data);
    } finally {
      piece.release();
    }
  }
}
