/**
 * The messages of the handshake (proto.md, "Newstyle negotiation" and "Fixed newstyle negotiation"): each is
 * described once, its encoder beside its decoder. All numbers are big endian.
 *
 * Decoders take a view that holds the whole message and throw ProtocolError where the stream cannot be
 * followed any more. What belongs to single options is in option-data.ts.
 */
import {
  EXPORT_NAME_PADDING_BYTES,
  HANDSHAKE_FLAGS,
  IHAVEOPT,
  NBD_REP_MAGIC,
  NBDMAGIC,
  REPLY_ERROR_BIT,
} from './constants.js';
import { ProtocolError } from './protocol-error.js';

/** NBDMAGIC 8, IHAVEOPT 8, handshake flags 2. */
export const GREETING_BYTES = 18;
/** The two magics that tell which greeting it is; an old-style one goes on otherwise. */
export const GREETING_MAGICS_BYTES = 16;
export const CLIENT_FLAGS_BYTES = 4;
/** IHAVEOPT 8, option 4, length 4. */
export const OPTION_HEADER_BYTES = 16;
/** Magic 8, option 4, reply type 4, length 4. */
export const OPTION_REPLY_HEADER_BYTES = 20;
/** Answer to EXPORT_NAME: size 8, transmission flags 2; zeroes may follow. */
export const EXPORT_ANSWER_BYTES = 10;

export interface OptionHeader {
  readonly option: number;
  /** Bytes of data that follow. */
  readonly length: number;
}

export interface OptionReplyHeader {
  /** The option that is answered. */
  readonly option: number;
  readonly reply: number;
  /** Bytes of data that follow. */
  readonly length: number;
}

export interface ExportAnswer {
  /** Bytes. */
  readonly size: bigint;
  readonly transmissionFlags: number;
}

export function encodeGreeting(flags: number): Buffer {
  const bytes = Buffer.alloc(GREETING_BYTES);
  bytes.writeBigUInt64BE(NBDMAGIC, 0);
  bytes.writeBigUInt64BE(IHAVEOPT, 8);
  bytes.writeUInt16BE(flags, 16);
  return bytes;
}

/** The handshake flags. A server of the old style, or one without options at all, is refused. */
export function decodeGreeting(bytes: Buffer): number {
  if (bytes.readBigUInt64BE(0) !== NBDMAGIC) throw new ProtocolError('the peer does not greet as a server');
  if (bytes.readBigUInt64BE(8) !== IHAVEOPT)
    throw new ProtocolError('the server speaks the old style of negotiation, or none');
  const flags = bytes.readUInt16BE(16);
  if ((flags & HANDSHAKE_FLAGS.NBD_FLAG_FIXED_NEWSTYLE) === 0)
    throw new ProtocolError('the server does not speak the fixed newstyle');
  return flags;
}

export function encodeClientFlags(flags: number): Buffer {
  const bytes = Buffer.alloc(CLIENT_FLAGS_BYTES);
  bytes.writeUInt32BE(flags, 0);
  return bytes;
}

export function decodeClientFlags(bytes: Buffer): number {
  return bytes.readUInt32BE(0);
}

/** An option with its data. */
export function encodeOption(option: number, data: Uint8Array = new Uint8Array()): Buffer {
  return message(IHAVEOPT, [option, data.byteLength], data);
}

export function decodeOptionHeader(bytes: Buffer): OptionHeader {
  if (bytes.readBigUInt64BE(0) !== IHAVEOPT) throw new ProtocolError('an option without its magic');
  return { option: bytes.readUInt32BE(8), length: bytes.readUInt32BE(12) };
}

/** A reply to an option with its data. */
export function encodeOptionReply(
  option: number,
  reply: number,
  data: Uint8Array = new Uint8Array(),
): Buffer {
  return message(NBD_REP_MAGIC, [option, reply, data.byteLength], data);
}

export function decodeOptionReplyHeader(bytes: Buffer): OptionReplyHeader {
  if (bytes.readBigUInt64BE(0) !== NBD_REP_MAGIC)
    throw new ProtocolError('a reply to an option without its magic');
  return { option: bytes.readUInt32BE(8), reply: bytes.readUInt32BE(12), length: bytes.readUInt32BE(16) };
}

/** Whether the reply refuses the option. Its data is then a sentence for people, if there is any. */
export function isErrorReply(reply: number): boolean {
  return reply >= REPLY_ERROR_BIT;
}

/** The answer to EXPORT_NAME; `zeroes` unless the client agreed to do without them. */
export function encodeExportAnswer(answer: ExportAnswer, zeroes: boolean): Buffer {
  const bytes = Buffer.alloc(EXPORT_ANSWER_BYTES + (zeroes ? EXPORT_NAME_PADDING_BYTES : 0));
  bytes.writeBigUInt64BE(answer.size, 0);
  bytes.writeUInt16BE(answer.transmissionFlags, 8);
  return bytes;
}

/** Of its first EXPORT_ANSWER_BYTES. */
export function decodeExportAnswer(bytes: Buffer): ExportAnswer {
  return { size: bytes.readBigUInt64BE(0), transmissionFlags: bytes.readUInt16BE(8) };
}

/** A magic, numbers of 32 bits, and data. */
function message(magic: bigint, numbers: readonly number[], data: Uint8Array): Buffer {
  const header = Buffer.alloc(8 + 4 * numbers.length);
  let at = header.writeBigUInt64BE(magic, 0);
  for (const number of numbers) at = header.writeUInt32BE(number, at);
  return Buffer.concat([header, data]);
}
