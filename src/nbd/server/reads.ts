/**
 * NBD_CMD_READ. Three ways, by what was agreed on and how much is read:
 *
 * - One piece (most reads): read into a buffer with room for the header before it, and sent as one.
 * - Structured and large: pieces that are read and sent on their own; the reply's end comes last. What holds no
 *   data is told and not sent.
 * - Without a break and large (a simple reply, or NBD_CMD_FLAG_DF): the connection's other replies wait while the
 *   pieces follow each other. Its two buffers are had before that and used in turn: nothing is waited for
 *   meanwhile that others on the connection could hold.
 *
 * Memory comes out of the session's account before a buffer is made, and goes back when the kernel has the data.
 */
import { COMMAND_FLAGS } from '../protocol/constants.js';
import type { RequestHeader } from '../protocol/transmission.js';
import type { ReadPart } from './ordered-device.js';
import { Piece } from './piece.js';
import { countRead, PIECE_BYTES, type Session } from './session.js';

/** Reads of less are answered with data throughout: to ask what holds data would cost more than to send it. */
const HOLES_FROM_BYTES = 32 * 1024;

/** Where a run of data broke off. */
interface Break {
  readonly error: unknown;
  readonly offset: number;
}

/** Whether the read is worked off as one piece, for which memory is taken before it starts. */
export function isOnePiece({ length }: RequestHeader): boolean {
  return length <= PIECE_BYTES;
}

/** Reads and answers one piece; its memory has been taken. Null: it is answered; rejects with what the device threw. */
export function readOnePiece(session: Session, request: RequestHeader): Promise<void> | null {
  const piece = new Piece(session, request.length);
  const isPlain = !isPointless(session) && !wantsHoles(session, request);
  const isNow = isPlain && session.served.device.readNow(request.offset, piece.data);
  if (!isNow) return readPiece(session, request, piece);
  answerPiece(session, request, piece);
  return null;
}

async function readPiece(session: Session, request: RequestHeader, piece: Piece): Promise<void> {
  const { served } = session;
  const { offset } = request;
  try {
    if (isPointless(session)) return piece.release();
    if (wantsHoles(session, request)) {
      const parts = await served.device.readParts(offset, piece.data);
      if (parts.length > 1 || parts[0]?.isData !== true) {
        sendParts(session, request, piece, offset, parts, true);
        return;
      }
    } else await served.device.read(offset, piece.data);
  } catch (error) {
    piece.release();
    throw error;
  }
  answerPiece(session, request, piece);
}

function answerPiece(session: Session, request: RequestHeader, { buffer, release }: Piece): void {
  const { offset, length } = request;
  countRead(session, length);
  session.replies.data(request, buffer, offset, length, release);
}

/** Reads in pieces and sends each as its chunks. Memory is taken piece by piece. */
export async function readInChunks(session: Session, request: RequestHeader): Promise<void> {
  const { replies, served, account } = session;
  const end = request.offset + request.length;
  for (let at = request.offset; at < end && !isPointless(session); ) {
    const length = Math.min(PIECE_BYTES - (at % PIECE_BYTES), end - at);
    await account.take(length);
    const piece = new Piece(session, length);
    try {
      sendParts(session, request, piece, at, await served.device.readParts(at, piece.data), false);
    } catch (error) {
      piece.release();
      // What was sent before stays good: the client is told from where on it has nothing.
      replies.failureAt(request, session.failed(error), at);
      break;
    }
    at += length;
  }
  replies.done(request);
}

/** Reads in pieces and sends them as one run of data. Rejects with what the device threw before the run began. */
export async function readContiguously(session: Session, request: RequestHeader): Promise<void> {
  const { replies } = session;
  await session.account.take(2 * PIECE_BYTES);
  const pieces = [new Piece(session, PIECE_BYTES), new Piece(session, PIECE_BYTES)] as const;
  let broken: Break | null;
  try {
    if (isPointless(session)) return;
    // The first piece is read before anything is promised: a device that fails at once is told of.
    await session.served.device.read(request.offset, pieces[0].data);
    await replies.exclusive();
    try {
      broken = await sendRun(session, request, [pieces[0].data, pieces[1].data]);
    } finally {
      replies.release();
    }
  } finally {
    for (const piece of pieces) piece.release();
  }
  if (broken === null) countRead(session, request.length);
  else if (replies.structured) replies.failureAt(request, session.failed(broken.error), broken.offset);
  if (replies.structured) replies.done(request);
}

/** Once the client is gone nothing is read for it any more: hundreds of requests may have waited for memory. */
function isPointless({ replies }: Session): boolean {
  return replies.writer.closed;
}

function wantsHoles(session: Session, { flags, length }: RequestHeader): boolean {
  return session.structured && length >= HOLES_FROM_BYTES && (flags & COMMAND_FLAGS.NBD_CMD_FLAG_DF) === 0;
}

/** Queues the piece's parts as chunks; the piece is free again when the last of its data has left. */
function sendParts(
  session: Session,
  request: RequestHeader,
  piece: Piece,
  offset: number,
  parts: readonly ReadPart[],
  isAll: boolean,
): void {
  const lastData = parts.findLastIndex(({ isData }) => isData);
  if (lastData < 0) piece.release();
  for (const [i, part] of parts.entries()) {
    const done = isAll && i === parts.length - 1;
    if (!part.isData) {
      session.replies.holeChunk(request, part.offset, part.length, done);
      continue;
    }
    const start = part.offset - offset;
    const data = piece.data.subarray(start, start + part.length);
    countRead(session, part.length);
    session.replies.dataChunk(request, part.offset, data, done, i === lastData ? piece.release : undefined);
  }
}

/**
 * Sends header and data; the first piece lies in the first buffer. A device that fails breaks a simple reply, and
 * with it the connection: nothing else can tell the client. A chunk is filled up with zeroes ("Structured
 * replies" of NBD_CMD_READ), and the answer is where it broke.
 */
async function sendRun(
  session: Session,
  request: RequestHeader,
  buffers: readonly [Buffer, Buffer],
): Promise<Break | null> {
  const { replies, served } = session;
  const { offset, length } = request;
  let broken: Break | null = null;
  let before: Promise<void> = Promise.resolve();
  replies.contiguousHeader(request, offset, length);
  for (let at = 0; at < length && !isPointless(session); at += PIECE_BYTES) {
    const data = buffers[(at / PIECE_BYTES) % 2 === 0 ? 0 : 1].subarray(
      0,
      Math.min(PIECE_BYTES, length - at),
    );
    if (at > 0 && broken === null) {
      try {
        await served.device.read(offset + at, data);
      } catch (error) {
        broken = { error, offset: offset + at };
      }
    }
    if (broken !== null && !replies.structured) {
      session.failed(broken.error);
      session.hangUp();
      break;
    }
    if (broken !== null) data.fill(0);
    const sent = new Promise<void>((resolve) => replies.writer.send(data, resolve));
    // The other buffer is filled next: what it held must have left.
    await before;
    before = sent;
  }
  await before;
  return broken;
}
