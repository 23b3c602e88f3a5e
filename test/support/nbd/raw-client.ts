/**
 * A client that does exactly what a test says, right or wrong, and shows what came back. It knows the protocol's
 * messages and nothing of how to behave.
 */
import { connect, type Socket } from 'node:net';
import { type ConnectionOptions, connect as connectTls } from 'node:tls';
import {
  CHUNKS,
  COMMANDS,
  INFOS,
  NBD_STRUCTURED_REPLY_MAGIC,
  OPTIONS,
  REPLIES,
} from '../../../src/nbd/protocol/constants.js';
import {
  decodeGreeting,
  decodeOptionReplyHeader,
  encodeClientFlags,
  encodeOption,
  GREETING_BYTES,
  isErrorReply,
  OPTION_REPLY_HEADER_BYTES,
} from '../../../src/nbd/protocol/handshake.js';
import { encodeInfoRequest, encodeMetaContextRequest } from '../../../src/nbd/protocol/option-data.js';
import {
  CHUNK_HEADER_BYTES,
  type ChunkError,
  decodeBlockStatus,
  decodeChunkError,
  decodeChunkHeader,
  decodeHole,
  decodeOffset,
  decodeSimpleReply,
  encodeRequest,
  isErrorChunk,
  OFFSET_DATA_BYTES,
  REQUEST_BYTES,
  SIMPLE_REPLY_BYTES,
  type StatusDescriptor,
} from '../../../src/nbd/protocol/transmission.js';
import { SocketReader } from '../../../src/nbd/wire/socket-reader.js';

export interface OptionReply {
  readonly option: number;
  readonly reply: number;
  readonly data: Buffer;
}

export interface Request {
  readonly command: number;
  readonly flags?: number;
  readonly offset?: number;
  readonly length?: number;
  /** Low half of the cookie; the high one is 0xC0FFEE. */
  readonly cookie?: number;
  /** Payload; its length is the request's unless that is given. */
  readonly data?: Uint8Array;
}

/** A reply put together from however many chunks. */
export interface Reply {
  readonly cookie: number;
  /** 0, or of the first error that came. */
  readonly error: number;
  readonly errors: readonly ChunkError[];
  /** What a read brought, by offset, in the order in which it came. */
  readonly data: readonly { readonly offset: number; readonly bytes: Buffer }[];
  readonly holes: readonly { readonly offset: number; readonly length: number }[];
  readonly status: ReadonlyMap<number, readonly StatusDescriptor[]>;
  readonly isStructured: boolean;
  readonly chunkTypes: readonly number[];
}

const COOKIE_HIGH = 0xc0ffee;

export class RawClient {
  reader: SocketReader;
  /** Bytes that replies to reads with simple headers have, by cookie. */
  readonly #reads = new Map<number, number>();
  #cookie = 0;

  constructor(public socket: Socket) {
    socket.on('error', () => {});
    this.reader = new SocketReader(socket);
  }

  static async connect(path: string): Promise<RawClient> {
    const socket = connect({ path, allowHalfOpen: true });
    const client = new RawClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  /** Up to the place where options begin; the handshake flags of the server. */
  static async greeted(path: string, flags = 3): Promise<RawClient> {
    const client = await RawClient.connect(path);
    await client.greet(flags);
    return client;
  }

  /** In the transmission phase of the export. */
  static async transmitting(
    path: string,
    options: Parameters<RawClient['begin']>[0] = {},
  ): Promise<RawClient> {
    const client = await RawClient.greeted(path);
    await client.begin(options);
    return client;
  }

  async greet(flags = 3): Promise<number> {
    const offered = decodeGreeting(await this.reader.take(GREETING_BYTES));
    this.send(encodeClientFlags(flags));
    return offered;
  }

  /** From the options to the transmission phase. */
  async begin({
    name = '',
    structured = false,
    contexts = [],
    asksSizes = false,
  }: {
    readonly name?: string;
    readonly structured?: boolean;
    readonly contexts?: readonly string[];
    readonly asksSizes?: boolean;
  }): Promise<readonly OptionReply[]> {
    if (structured) await this.accepted(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    if (contexts.length > 0)
      await this.accepted(
        OPTIONS.NBD_OPT_SET_META_CONTEXT,
        encodeMetaContextRequest({ name, queries: contexts }),
      );
    const infos = asksSizes ? [INFOS.NBD_INFO_BLOCK_SIZE] : [];
    return this.accepted(OPTIONS.NBD_OPT_GO, encodeInfoRequest({ name, infos }));
  }

  send(...bytes: Uint8Array[]): void {
    for (const part of bytes) this.socket.write(part);
  }

  /** Sends an option and takes its replies, the last one included. */
  async option(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    this.send(encodeOption(option, data));
    return this.optionReplies();
  }

  async optionReplies(): Promise<OptionReply[]> {
    const replies: OptionReply[] = [];
    for (;;) {
      const header = decodeOptionReplyHeader(await this.reader.take(OPTION_REPLY_HEADER_BYTES));
      replies.push({ ...header, data: Buffer.from(await this.reader.take(header.length)) });
      if (header.reply === REPLIES.NBD_REP_ACK || isErrorReply(header.reply)) return replies;
    }
  }

  /** The type of the last reply to the option. */
  async verdict(option: number, data?: Uint8Array): Promise<number> {
    return (await this.option(option, data)).at(-1)!.reply;
  }

  async accepted(option: number, data?: Uint8Array): Promise<OptionReply[]> {
    const replies = await this.option(option, data);
    if (replies.at(-1)!.reply !== REPLIES.NBD_REP_ACK)
      throw new Error(`option ${option} was refused: ${replies.at(-1)!.data.toString()}`);
    return replies;
  }

  async startTls(options: ConnectionOptions): Promise<void> {
    await this.accepted(OPTIONS.NBD_OPT_STARTTLS);
    this.reader.detach();
    const secure = connectTls({ ...options, socket: this.socket });
    secure.on('error', () => {});
    await new Promise<void>((resolve, reject) => {
      secure.once('secureConnect', resolve);
      secure.once('error', reject);
      secure.once('close', () => reject(new Error('closed in the handshake of TLS')));
    });
    this.socket = secure;
    this.reader = new SocketReader(secure);
  }

  /** Sends the request; its cookie. */
  post({ command, flags = 0, offset = 0, length, cookie, data }: Request): number {
    const bytes = Buffer.alloc(REQUEST_BYTES);
    this.#cookie += 1;
    const cookieLow = cookie ?? this.#cookie;
    const total = length ?? data?.byteLength ?? 0;
    encodeRequest(bytes, 0, { command, flags, offset, length: total, cookieHigh: COOKIE_HIGH, cookieLow });
    if (command === COMMANDS.NBD_CMD_READ) this.#reads.set(cookieLow, total);
    this.send(bytes, ...(data === undefined ? [] : [data]));
    return cookieLow;
  }

  /** One request, and its reply: nothing else may be in flight. */
  async ask(request: Request): Promise<Reply> {
    const cookie = this.post(request);
    const reply = await this.reply();
    if (reply.cookie !== cookie) throw new Error(`reply to ${reply.cookie}, not to ${cookie}`);
    return reply;
  }

  /** The replies to so many requests, by cookie. */
  async replies(count: number): Promise<Map<number, Reply>> {
    const found = new Map<number, Reply>();
    const open = new Map<number, Building>();
    while (found.size < count) {
      const reply = await this.#message(open);
      if (reply !== null) found.set(reply.cookie, reply);
    }
    if (open.size > 0) throw new Error(`${open.size} replies were begun and not ended`);
    return found;
  }

  async reply(): Promise<Reply> {
    return [...(await this.replies(1)).values()][0]!;
  }

  /** The data of a read, holes as zeroes; it must have gone well. */
  async read(offset: number, length: number, flags = 0): Promise<Buffer> {
    return assembled(
      await this.ask({ command: COMMANDS.NBD_CMD_READ, offset, length, flags }),
      offset,
      length,
    );
  }

  /** Ends when the server has closed, with what it still sent. */
  async ended(): Promise<number> {
    let bytes = 0;
    while ((await this.reader.takeUnlessEnded(1)) !== null) {
      bytes += 1 + this.reader.bufferedBytes;
      this.reader.tryTake(this.reader.bufferedBytes);
    }
    return bytes;
  }

  close(): void {
    this.socket.destroy();
  }

  /** Takes one message; a reply when it was the last of one. */
  async #message(open: Map<number, Building>): Promise<Reply | null> {
    const start = await this.reader.take(SIMPLE_REPLY_BYTES);
    if (start.readUInt32BE(0) !== NBD_STRUCTURED_REPLY_MAGIC) return this.#simple(start);
    const rest = await this.reader.take(CHUNK_HEADER_BYTES - SIMPLE_REPLY_BYTES);
    const header = decodeChunkHeader(Buffer.concat([start, rest]), 0);
    if (header.cookieHigh !== COOKIE_HIGH) throw new Error('a cookie that nobody sent');
    const payload = Buffer.from(await this.reader.take(header.length));
    const building = open.get(header.cookieLow) ?? new Building(header.cookieLow);
    open.set(header.cookieLow, building);
    building.add(header.type, payload);
    if ((header.flags & 1) === 0) return null;
    open.delete(header.cookieLow);
    return building.reply();
  }

  async #simple(start: Buffer): Promise<Reply> {
    const { error, cookieHigh, cookieLow } = decodeSimpleReply(start, 0);
    if (cookieHigh !== COOKIE_HIGH) throw new Error('a cookie that nobody sent');
    const length = error === 0 ? (this.#reads.get(cookieLow) ?? 0) : 0;
    this.#reads.delete(cookieLow);
    const bytes = Buffer.from(await this.reader.take(length));
    const building = new Building(cookieLow);
    if (length > 0) building.data.push({ offset: -1, bytes });
    return { ...building.reply(), error, isStructured: false };
  }
}

class Building {
  readonly data: { offset: number; bytes: Buffer }[] = [];
  readonly #errors: ChunkError[] = [];
  readonly #holes: { offset: number; length: number }[] = [];
  readonly #status = new Map<number, readonly StatusDescriptor[]>();
  readonly #types: number[] = [];

  constructor(private readonly cookie: number) {}

  add(type: number, payload: Buffer): void {
    this.#types.push(type);
    if (isErrorChunk(type)) this.#errors.push(decodeChunkError(type, payload));
    else if (type === CHUNKS.NBD_REPLY_TYPE_OFFSET_DATA)
      this.data.push({ offset: decodeOffset(payload, 0), bytes: payload.subarray(OFFSET_DATA_BYTES) });
    else if (type === CHUNKS.NBD_REPLY_TYPE_OFFSET_HOLE) this.#holes.push(decodeHole(payload));
    else if (type === CHUNKS.NBD_REPLY_TYPE_BLOCK_STATUS) {
      const { contextId, descriptors } = decodeBlockStatus(payload);
      this.#status.set(contextId, descriptors);
    }
  }

  reply(): Reply {
    return {
      cookie: this.cookie,
      error: this.#errors[0]?.error ?? 0,
      errors: this.#errors,
      data: this.data,
      holes: this.#holes,
      status: this.#status,
      isStructured: true,
      chunkTypes: this.#types,
    };
  }
}

/** The whole of a read's data; what it does not cover, or covers twice, is a failure. */
export function assembled(reply: Reply, offset: number, length: number): Buffer {
  if (reply.error !== 0) throw new Error(`the read failed with ${reply.error}`);
  const whole = Buffer.alloc(length);
  let covered = 0;
  const parts = [
    ...reply.data.map((part) => ({ at: part.offset, end: part.offset + part.bytes.byteLength })),
    ...reply.holes.map((hole) => ({ at: hole.offset, end: hole.offset + hole.length })),
  ];
  if (!reply.isStructured) return reply.data[0]?.bytes ?? whole;
  for (const { at, end } of parts) {
    if (at < offset || end > offset + length) throw new Error(`a chunk of [${at}, ${end}) was not asked for`);
    covered += end - at;
  }
  const sorted = parts.toSorted((a, b) => a.at - b.at);
  if (sorted.some((part, i) => i > 0 && part.at < sorted[i - 1]!.end)) throw new Error('chunks overlap');
  if (covered !== length) throw new Error(`chunks cover ${covered} of ${length} bytes`);
  for (const { offset: at, bytes } of reply.data) bytes.copy(whole, at - offset);
  return whole;
}

/** Bytes that differ from place to place, the same every time. */
export function pattern(bytes: number): Buffer {
  const buffer = Buffer.allocUnsafe(bytes);
  for (let i = 0; i < bytes; i++) buffer[i] = (i * 31 + (i >>> 8) * 7 + 1) & 0xff;
  return buffer;
}
