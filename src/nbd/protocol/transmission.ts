/**
 * The messages of the transmission phase (proto.md, "Transmission"): each is described once, its encoder
 * beside its decoder. All numbers are big endian.
 *
 * Encoders write into a buffer at a place, because thousands of such messages a second are put side by side
 * into one. A cookie is any 64 bits of the client's and is kept as two halves of 32. An offset may be any
 * number of 64 bits: beyond 2^53 it is not exact as a number, and lies beyond the end of every export anyway.
 */
import {
  CHUNK_ERROR_BIT,
  CHUNKS,
  NBD_REQUEST_MAGIC,
  NBD_SIMPLE_REPLY_MAGIC,
  NBD_STRUCTURED_REPLY_MAGIC,
} from './constants.js';
import { ProtocolError } from './protocol-error.js';
import { decodeString, encodeString } from './strings.js';

/** Magic 4, flags 2, command 2, cookie 8, offset 8, length 4. */
export const REQUEST_BYTES = 28;
/** Magic 4, error 4, cookie 8. */
export const SIMPLE_REPLY_BYTES = 16;
/** Magic 4, flags 2, type 2, cookie 8, payload length 4. */
export const CHUNK_HEADER_BYTES = 20;
/** Before the data of NBD_REPLY_TYPE_OFFSET_DATA: its offset. */
export const OFFSET_DATA_BYTES = 8;
/** The payload of NBD_REPLY_TYPE_OFFSET_HOLE: offset 8, hole size 4. */
export const OFFSET_HOLE_BYTES = 12;
/** Before the descriptors of NBD_REPLY_TYPE_BLOCK_STATUS: the context's id. */
export const BLOCK_STATUS_BYTES = 4;
/** Length 4, status flags 4. */
export const STATUS_DESCRIPTOR_BYTES = 8;
/** Before the message of an error chunk: error 4, message length 2. */
export const ERROR_BYTES = 6;
/** After the message of NBD_REPLY_TYPE_ERROR_OFFSET. */
export const ERROR_OFFSET_BYTES = 8;

export interface Cookie {
  cookieHigh: number;
  cookieLow: number;
}

export interface RequestHeader extends Cookie {
  flags: number;
  command: number;
  /** Bytes. */
  offset: number;
  /** Bytes. */
  length: number;
}

export function encodeRequest(into: Buffer, at: number, request: Readonly<RequestHeader>): void {
  into.writeUInt32BE(NBD_REQUEST_MAGIC, at);
  into.writeUInt16BE(request.flags, at + 4);
  into.writeUInt16BE(request.command, at + 6);
  into.writeUInt32BE(request.cookieHigh, at + 8);
  into.writeUInt32BE(request.cookieLow, at + 12);
  encodeOffset(into, at + 16, request.offset);
  into.writeUInt32BE(request.length, at + 24);
}

export function decodeRequest(bytes: Buffer, at: number): RequestHeader {
  const magic = bytes.readUInt32BE(at);
  if (magic !== NBD_REQUEST_MAGIC)
    throw new ProtocolError(`a request begins with 0x${magic.toString(16)}, not with its magic`);
  return {
    flags: bytes.readUInt16BE(at + 4),
    command: bytes.readUInt16BE(at + 6),
    cookieHigh: bytes.readUInt32BE(at + 8),
    cookieLow: bytes.readUInt32BE(at + 12),
    offset: decodeOffset(bytes, at + 16),
    length: bytes.readUInt32BE(at + 24),
  };
}

export interface SimpleReply extends Cookie {
  /** 0, or one of ERRORS. Without one, the data of a read follows. */
  error: number;
}

/** What begins a reply: the client tells by it which of the two kinds of reply has come. */
export function decodeReplyMagic(bytes: Buffer, at: number): 'simple' | 'structured' {
  const magic = bytes.readUInt32BE(at);
  if (magic === NBD_SIMPLE_REPLY_MAGIC) return 'simple';
  if (magic === NBD_STRUCTURED_REPLY_MAGIC) return 'structured';
  throw new ProtocolError(`a reply begins with 0x${magic.toString(16)}, not with a magic of replies`);
}

export function encodeSimpleReply(into: Buffer, at: number, cookie: Readonly<Cookie>, error: number): void {
  into.writeUInt32BE(NBD_SIMPLE_REPLY_MAGIC, at);
  into.writeUInt32BE(error, at + 4);
  into.writeUInt32BE(cookie.cookieHigh, at + 8);
  into.writeUInt32BE(cookie.cookieLow, at + 12);
}

/** Behind a magic that was looked at. */
export function decodeSimpleReply(bytes: Buffer, at: number): SimpleReply {
  return {
    error: bytes.readUInt32BE(at + 4),
    cookieHigh: bytes.readUInt32BE(at + 8),
    cookieLow: bytes.readUInt32BE(at + 12),
  };
}

export interface ChunkHeader extends Cookie {
  /** REPLY_FLAGS. */
  flags: number;
  /** CHUNKS. */
  type: number;
  /** Bytes of payload that follow. */
  length: number;
}

export function encodeChunkHeader(
  into: Buffer,
  at: number,
  cookie: Readonly<Cookie>,
  flags: number,
  type: number,
  length: number,
): void {
  into.writeUInt32BE(NBD_STRUCTURED_REPLY_MAGIC, at);
  into.writeUInt16BE(flags, at + 4);
  into.writeUInt16BE(type, at + 6);
  into.writeUInt32BE(cookie.cookieHigh, at + 8);
  into.writeUInt32BE(cookie.cookieLow, at + 12);
  into.writeUInt32BE(length, at + 16);
}

/** Behind a magic that was looked at. */
export function decodeChunkHeader(bytes: Buffer, at: number): ChunkHeader {
  return {
    flags: bytes.readUInt16BE(at + 4),
    type: bytes.readUInt16BE(at + 6),
    cookieHigh: bytes.readUInt32BE(at + 8),
    cookieLow: bytes.readUInt32BE(at + 12),
    length: bytes.readUInt32BE(at + 16),
  };
}

/** Of 64 bits; also the whole of what comes before the data of NBD_REPLY_TYPE_OFFSET_DATA. */
export function encodeOffset(into: Buffer, at: number, offset: number): void {
  into.writeUInt32BE(Math.floor(offset / 2 ** 32), at);
  into.writeUInt32BE(offset % 2 ** 32, at + 4);
}

export function decodeOffset(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
}

export interface Hole {
  readonly offset: number;
  readonly length: number;
}

/** The payload of NBD_REPLY_TYPE_OFFSET_HOLE. */
export function encodeHole(into: Buffer, at: number, hole: Hole): void {
  encodeOffset(into, at, hole.offset);
  into.writeUInt32BE(hole.length, at + 8);
}

export function decodeHole(payload: Buffer): Hole {
  if (payload.byteLength !== OFFSET_HOLE_BYTES)
    throw new ProtocolError(`a hole of ${payload.byteLength} bytes of payload, not ${OFFSET_HOLE_BYTES}`);
  return { offset: decodeOffset(payload, 0), length: payload.readUInt32BE(8) };
}

export interface StatusDescriptor {
  /** Bytes; 1 or more, of 32 bits. */
  readonly length: number;
  /** By the context: ALLOCATION_FLAGS for base:allocation. */
  readonly flags: number;
}

export interface BlockStatus {
  readonly contextId: number;
  readonly descriptors: readonly StatusDescriptor[];
}

/** The payload of NBD_REPLY_TYPE_BLOCK_STATUS. */
export function encodeBlockStatus({ contextId, descriptors }: BlockStatus): Buffer {
  const bytes = Buffer.allocUnsafe(BLOCK_STATUS_BYTES + descriptors.length * STATUS_DESCRIPTOR_BYTES);
  let at = bytes.writeUInt32BE(contextId, 0);
  for (const { length, flags } of descriptors) {
    at = bytes.writeUInt32BE(length, at);
    at = bytes.writeUInt32BE(flags, at);
  }
  return bytes;
}

export function decodeBlockStatus(payload: Buffer): BlockStatus {
  const rest = payload.byteLength - BLOCK_STATUS_BYTES;
  if (rest < STATUS_DESCRIPTOR_BYTES || rest % STATUS_DESCRIPTOR_BYTES !== 0)
    throw new ProtocolError(`a block status of ${payload.byteLength} bytes`);
  const descriptors: StatusDescriptor[] = [];
  for (let at = BLOCK_STATUS_BYTES; at < payload.byteLength; at += STATUS_DESCRIPTOR_BYTES) {
    const length = payload.readUInt32BE(at);
    if (length === 0) throw new ProtocolError('a block status with an extent of no bytes');
    descriptors.push({ length, flags: payload.readUInt32BE(at + 4) });
  }
  return { contextId: payload.readUInt32BE(0), descriptors };
}

/** Whether a chunk of this type, known or not, tells of an error. */
export function isErrorChunk(type: number): boolean {
  return (type & CHUNK_ERROR_BIT) !== 0;
}

export interface ChunkError {
  /** One of ERRORS. */
  readonly error: number;
  /** For people; may be empty. */
  readonly message: string;
  /** Where, of NBD_REPLY_TYPE_ERROR_OFFSET; absent: of the request as a whole. */
  readonly offset?: number;
}

/** Type and payload of the error chunk. */
export function encodeChunkError({ error, message, offset }: ChunkError): { type: number; payload: Buffer } {
  const text = encodeString(message);
  const tail = offset === undefined ? 0 : ERROR_OFFSET_BYTES;
  const payload = Buffer.alloc(ERROR_BYTES + text.byteLength + tail);
  payload.writeUInt32BE(error, 0);
  payload.writeUInt16BE(text.byteLength, 4);
  payload.set(text, ERROR_BYTES);
  if (offset === undefined) return { type: CHUNKS.NBD_REPLY_TYPE_ERROR, payload };
  encodeOffset(payload, ERROR_BYTES + text.byteLength, offset);
  return { type: CHUNKS.NBD_REPLY_TYPE_ERROR_OFFSET, payload };
}

/** Also of error chunks of unknown types, which begin in the same way. */
export function decodeChunkError(type: number, payload: Buffer): ChunkError {
  const text = payload.byteLength < ERROR_BYTES ? -1 : payload.readUInt16BE(4);
  const tail = type === CHUNKS.NBD_REPLY_TYPE_ERROR_OFFSET ? ERROR_OFFSET_BYTES : 0;
  if (text < 0 || ERROR_BYTES + text + tail > payload.byteLength)
    throw new ProtocolError(`an error chunk whose ${payload.byteLength} bytes do not hold what it says`);
  const end = ERROR_BYTES + text;
  const told = {
    error: payload.readUInt32BE(0),
    message: decodeString(payload.subarray(ERROR_BYTES, end)) ?? '',
  };
  return tail === 0 ? told : { ...told, offset: decodeOffset(payload, end) };
}
