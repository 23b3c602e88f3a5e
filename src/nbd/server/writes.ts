/**
 * NBD_CMD_WRITE: the payload is taken from the socket in views of what Node received, and goes to the device as
 * they are.
 *
 * - A write of one piece goes to the device when all of its payload is there. A larger one goes piece by piece as
 *   it comes, several pieces at a time: never is more in memory than was taken from the account before.
 * - A large write is answered when all its pieces have ended. After the first failure what is left of the payload
 *   is read and dropped, so that the next request is found.
 * - Durability: what is to be durable when it is answered (FUA, or writethrough) is written with fua if it is one
 *   piece. Otherwise the pieces are written and a flush covers them all, before the answer.
 */
import { COMMAND_FLAGS } from '../protocol/constants.js';
import type { RequestHeader } from '../protocol/transmission.js';
import { countWritten, PIECE_BYTES, type Session } from './session.js';

const FUA = { fua: true } as const;
const VOLATILE = { fua: false } as const;

/** Whether the answer to a request that changes data promises that the change is on disk. */
export function isDurable(session: Session, { flags }: RequestHeader): boolean {
  return session.served.cache === 'writethrough' || (flags & COMMAND_FLAGS.NBD_CMD_FLAG_FUA) !== 0;
}

/** What is left to be done for a write whose payload has been taken: rejects with what the device threw. */
export type Unfinished = () => Promise<void>;

/** The payload of a write of one piece where it has all arrived, as most of a burst have; null: `receiveWrite` waits for it. */
export function tryTakePayload(session: Session, { length }: RequestHeader): Buffer[] | null {
  const { account, reader } = session;
  if (length > PIECE_BYTES || reader.bufferedBytes < length || !account.tryTake(length)) return null;
  return reader.tryTakeViews(length)!;
}

/** Writes what `tryTakePayload` took. Null: it is done; rejects with what the device threw. */
export function writeTaken(
  session: Session,
  request: RequestHeader,
  views: readonly Buffer[],
): Promise<void> | null {
  const { offset, length } = request;
  const durable = isDurable(session, request);
  if (durable || !session.served.device.writeNow(offset, views, length))
    return writePiece(session, offset, views, length, durable);
  countWritten(session, length);
  session.account.give(length);
  return null;
}

/**
 * Takes the payload; ends when the next request may be read.
 *
 * @throws ConnectionEnded when the payload is shorter than promised; of a small write nothing was written then.
 */
export async function receiveWrite(session: Session, request: RequestHeader): Promise<Unfinished> {
  const { length } = request;
  if (length > PIECE_BYTES) return receiveLarge(session, request);
  const views = await payload(session, length);
  return () => writePiece(session, request.offset, views, length, isDurable(session, request));
}

async function receiveLarge(session: Session, request: RequestHeader): Promise<Unfinished> {
  const end = request.offset + request.length;
  const pieces: Promise<void>[] = [];
  let failure: { readonly error: unknown } | null = null;
  for (let at = request.offset; at < end; ) {
    const length = Math.min(PIECE_BYTES - (at % PIECE_BYTES), end - at);
    const views = await payload(session, length);
    const piece = writePiece(session, at, views, length, false).catch((error: unknown) => {
      failure ??= { error };
    });
    pieces.push(piece);
    at += length;
    if (failure !== null) {
      await session.reader.skip(end - at);
      break;
    }
  }
  return async () => {
    await Promise.all(pieces);
    if (failure !== null) throw failure.error;
    if (isDurable(session, request)) await session.served.device.flush();
  };
}

/** Views of the next bytes from the client, and the memory for them taken. */
async function payload({ account, reader }: Session, length: number): Promise<Buffer[]> {
  if (!account.tryTake(length)) await account.take(length);
  try {
    return reader.tryTakeViews(length) ?? (await reader.takeViews(length));
  } catch (error) {
    account.give(length);
    throw error;
  }
}

async function writePiece(
  session: Session,
  offset: number,
  views: readonly Buffer[],
  length: number,
  durable: boolean,
): Promise<void> {
  try {
    if (length === 0) return;
    await session.served.device.write(offset, views, length, durable ? FUA : VOLATILE);
    countWritten(session, length);
  } finally {
    session.account.give(length);
  }
}
