/**
 * NBD_CMD_WRITE: a short payload is taken from the socket in views of what was received, a long one is received into
 * memory of the pool; either goes to the device as it is.
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
import { Piece } from './piece.js';
import { countWritten, PIECE_BYTES, type Session } from './session.js';

/** From here on a payload is received into one buffer: less has mostly come together with its header. */
const LONG_BYTES = 64 * 1024;
const FUA = { fua: true } as const;
const VOLATILE = { fua: false } as const;

/** Whether the answer to a request that changes data promises that the change is on disk. */
export function isDurable(session: Session, { flags }: RequestHeader): boolean {
  return session.served.cache === 'writethrough' || (flags & COMMAND_FLAGS.NBD_CMD_FLAG_FUA) !== 0;
}

/** Of one piece; `release` gives its memory back once it is written. */
interface Payload {
  readonly bytes: readonly Uint8Array[];
  readonly release: () => void;
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
    return writePiece(session, offset, shortPayload(session, views, length), length, durable);
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
  const payload = await receivePayload(session, length);
  return () => writePiece(session, request.offset, payload, length, isDurable(session, request));
}

async function receiveLarge(session: Session, request: RequestHeader): Promise<Unfinished> {
  const end = request.offset + request.length;
  const pieces: Promise<void>[] = [];
  let failure: { readonly error: unknown } | null = null;
  for (let at = request.offset; at < end; ) {
    const length = Math.min(PIECE_BYTES - (at % PIECE_BYTES), end - at);
    const payload = await receivePayload(session, length);
    const piece = writePiece(session, at, payload, length, false).catch((error: unknown) => {
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

/** The next bytes from the client, and the memory for them taken. */
async function receivePayload(session: Session, length: number): Promise<Payload> {
  const { account, reader } = session;
  if (!account.tryTake(length)) await account.take(length);
  if (length >= LONG_BYTES) return receiveLong(session, length);
  try {
    const views = reader.tryTakeViews(length) ?? (await reader.takeViews(length));
    return shortPayload(session, views, length);
  } catch (error) {
    account.give(length);
    throw error;
  }
}

async function receiveLong(session: Session, length: number): Promise<Payload> {
  const { data, release } = new Piece(session, length);
  try {
    await session.reader.readInto(data);
    return { bytes: [data], release };
  } catch (error) {
    release();
    throw error;
  }
}

function shortPayload({ account }: Session, bytes: readonly Uint8Array[], length: number): Payload {
  return { bytes, release: () => account.give(length) };
}

async function writePiece(
  session: Session,
  offset: number,
  { bytes, release }: Payload,
  length: number,
  durable: boolean,
): Promise<void> {
  try {
    if (length === 0) return;
    await session.served.device.write(offset, bytes, length, durable ? FUA : VOLATILE);
    countWritten(session, length);
  } finally {
    release();
  }
}
