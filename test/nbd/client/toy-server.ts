/**
 * A server that does as a test wants: it lacks what it is told to lack, answers late and in any order, stops in the
 * middle of anything, and dies with what its device had not made durable.
 *
 * It speaks what proto.md says through the encoders of src/nbd/protocol, and holds the client to what the client
 * must not do: `faults` is what it did all the same.
 */
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import net, { type Server, type Socket } from 'node:net';
import type { BlockDevice } from '../../../src/device/contract.js';
import { type Delay, turns } from '../../../src/lab/self/delays.js';
import {
  BASE_ALLOCATION,
  CHUNKS,
  COMMAND_FLAGS,
  COMMANDS,
  ERROR_REPLIES,
  ERRORS,
  TRANSMISSION_FLAGS as FLAGS,
  HANDSHAKE_FLAGS,
  OPTIONS,
  REPLIES,
  REPLY_FLAGS,
} from '../../../src/nbd/protocol/constants.js';
import {
  CLIENT_FLAGS_BYTES,
  decodeOptionHeader,
  encodeExportAnswer,
  encodeGreeting,
  encodeOptionReply,
  OPTION_HEADER_BYTES,
} from '../../../src/nbd/protocol/handshake.js';
import {
  type BlockSizes,
  decodeInfoRequest,
  encodeInfo,
  encodeMetaContext,
} from '../../../src/nbd/protocol/option-data.js';
import {
  CHUNK_HEADER_BYTES,
  decodeRequest,
  encodeBlockStatus,
  encodeChunkHeader,
  encodeOffset,
  encodeSimpleReply,
  OFFSET_DATA_BYTES,
  REQUEST_BYTES,
  type RequestHeader,
  SIMPLE_REPLY_BYTES,
} from '../../../src/nbd/protocol/transmission.js';
import { ConnectionEnded, SocketReader } from '../../../src/nbd/wire/socket-reader.js';

/** What becomes of a request: it is done and answered, or done and not answered, or answered with an error, or with any bytes. */
export type Fate =
  | 'answer'
  | 'silence'
  | 'die before'
  | 'die after'
  | { readonly error: number }
  | { readonly bytes: Buffer };

export interface ToyOptions {
  /** Every ability unless said otherwise. */
  readonly flags?: number;
  readonly knowsGo?: boolean;
  readonly isStructured?: boolean;
  readonly sizes?: BlockSizes;
  /** The one that there is; any is taken unless said otherwise. */
  readonly exportName?: string;
  /** Said of the export in place of its device's. */
  readonly size?: number;
  /** Instead of any reply to options. */
  readonly optionError?: number;
  /** Requests are begun late, and in any order. */
  readonly delay?: Delay;
  readonly fateOf?: (request: RequestHeader, server: ToyServer) => Fate | Promise<Fate>;
}

export const ALL_FLAGS =
  FLAGS.NBD_FLAG_HAS_FLAGS |
  FLAGS.NBD_FLAG_SEND_FLUSH |
  FLAGS.NBD_FLAG_SEND_FUA |
  FLAGS.NBD_FLAG_SEND_TRIM |
  FLAGS.NBD_FLAG_SEND_WRITE_ZEROES;

export class ToyServer {
  /** In the order in which they came, over all connections. */
  readonly requests: RequestHeader[] = [];
  readonly faults: string[] = [];
  connections = 0;
  readonly #sockets = new Set<Socket>();

  private constructor(
    readonly path: string,
    readonly device: BlockDevice,
    readonly options: ToyOptions,
    readonly server: Server,
  ) {}

  static async listen(path: string, device: BlockDevice, options: ToyOptions = {}): Promise<ToyServer> {
    rmSync(path, { force: true });
    const server = net.createServer();
    const toy = new ToyServer(path, device, options, server);
    server.on('connection', (socket) => toy.#connect(socket));
    server.listen(path);
    await once(server, 'listening');
    return toy;
  }

  get flags(): number {
    return this.options.flags ?? ALL_FLAGS;
  }

  count(command: number): number {
    return this.requests.filter((request) => request.command === command).length;
  }

  /** Every connection breaks, and there are no new ones. */
  async die(): Promise<void> {
    this.dropConnections();
    if (!this.server.listening) return;
    const closed = once(this.server, 'close');
    this.server.close();
    await closed;
  }

  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#sockets.clear();
  }

  #connect(socket: Socket): void {
    this.connections += 1;
    this.#sockets.add(socket);
    // A client that has been left in the middle breaks its connection in the middle, too.
    socket.on('error', () => undefined);
    new Conversation(this, socket).run().catch((error: unknown) => {
      if (!(error instanceof ConnectionEnded)) this.faults.push(String(error));
      socket.destroy();
    });
  }
}

class Conversation {
  readonly #reader: SocketReader;
  #isStructured = false;
  #hasContext = false;

  constructor(
    private readonly toy: ToyServer,
    private readonly socket: Socket,
  ) {
    this.#reader = new SocketReader(socket);
  }

  async run(): Promise<void> {
    const zeroless = HANDSHAKE_FLAGS.NBD_FLAG_NO_ZEROES;
    this.socket.write(encodeGreeting(HANDSHAKE_FLAGS.NBD_FLAG_FIXED_NEWSTYLE | zeroless));
    const hasZeroes = ((await this.#reader.take(CLIENT_FLAGS_BYTES)).readUInt32BE(0) & zeroless) === 0;
    while (!(await this.#option(hasZeroes))) if (this.socket.destroyed) return;
    await this.#transmit();
  }

  /** Whether the transmission phase begins. */
  async #option(hasZeroes: boolean): Promise<boolean> {
    const header = await this.#reader.take(OPTION_HEADER_BYTES);
    const { option, length } = decodeOptionHeader(header);
    const data = await this.#reader.take(length);
    const { options } = this.toy;
    const reply = (type: number, bytes?: Buffer) =>
      void this.socket.write(encodeOptionReply(option, type, bytes));
    if (option === OPTIONS.NBD_OPT_ABORT) this.socket.end();
    else if (options.optionError !== undefined) reply(options.optionError, Buffer.from('as the test\nsays'));
    else if (option === OPTIONS.NBD_OPT_EXPORT_NAME) return this.#exportName(data.toString(), hasZeroes);
    else if (option === OPTIONS.NBD_OPT_STRUCTURED_REPLY && options.isStructured !== false) {
      this.#isStructured = true;
      reply(REPLIES.NBD_REP_ACK);
    } else if (option === OPTIONS.NBD_OPT_SET_META_CONTEXT && this.#isStructured) {
      this.#hasContext = true;
      reply(REPLIES.NBD_REP_META_CONTEXT, encodeMetaContext({ id: 7, name: BASE_ALLOCATION }));
      reply(REPLIES.NBD_REP_ACK);
    } else if (option === OPTIONS.NBD_OPT_GO && options.knowsGo !== false) return this.#go(data, reply);
    else reply(ERROR_REPLIES.NBD_REP_ERR_UNSUP);
    return false;
  }

  #go(data: Buffer, reply: (type: number, bytes?: Buffer) => void): boolean {
    const { options } = this.toy;
    if (!this.#isKnown(decodeInfoRequest(data)!.name)) {
      reply(ERROR_REPLIES.NBD_REP_ERR_UNKNOWN);
      return false;
    }
    if (options.sizes !== undefined) {
      reply(REPLIES.NBD_REP_INFO, encodeInfo({ kind: 'block-size', ...options.sizes }));
    }
    reply(REPLIES.NBD_REP_INFO, encodeInfo({ kind: 'export', ...this.#answer() }));
    reply(REPLIES.NBD_REP_ACK);
    return true;
  }

  #exportName(name: string, hasZeroes: boolean): boolean {
    if (!this.#isKnown(name)) {
      this.socket.destroy();
      return false;
    }
    this.socket.write(encodeExportAnswer(this.#answer(), hasZeroes));
    return true;
  }

  #isKnown(name: string): boolean {
    return (this.toy.options.exportName ?? name) === name;
  }

  #answer() {
    return { size: BigInt(this.toy.options.size ?? this.toy.device.size), transmissionFlags: this.toy.flags };
  }

  async #transmit(): Promise<void> {
    for (;;) {
      const header = await this.#reader.takeUnlessEnded(REQUEST_BYTES);
      if (header === null) return;
      const request = decodeRequest(header, 0);
      const isWrite = request.command === COMMANDS.NBD_CMD_WRITE;
      const data = isWrite ? Buffer.from(await this.#reader.take(request.length)) : Buffer.alloc(0);
      if (request.command === COMMANDS.NBD_CMD_DISC) return void this.socket.end();
      this.toy.requests.push(request);
      this.#judge(request);
      this.#perform(request, data).catch((error: unknown) => this.toy.faults.push(String(error)));
    }
  }

  async #perform(request: RequestHeader, data: Buffer): Promise<void> {
    await turns(this.toy.options.delay);
    const fate = (await this.toy.options.fateOf?.(request, this.toy)) ?? 'answer';
    if (fate === 'die before') return void (await this.toy.die());
    if (typeof fate === 'object' && 'bytes' in fate) return void this.socket.write(fate.bytes);
    if (typeof fate === 'object') return this.#simple(request, fate.error);
    let content: Buffer | undefined;
    try {
      content = await this.#do(request, data);
    } catch {
      // The device has lost its power, or refuses: what a real server would say of it.
      return this.#simple(request, ERRORS.NBD_EIO);
    }
    if (fate === 'die after') return void (await this.toy.die());
    if (fate === 'silence') return;
    if (content === undefined) this.#simple(request, 0);
    else if (this.#isStructured) this.#structured(request, content);
    else {
      this.#simple(request, 0);
      this.socket.write(content);
    }
  }

  async #do({ command, flags, offset, length }: RequestHeader, data: Buffer): Promise<Buffer | undefined> {
    const { device } = this.toy;
    const fua = (flags & COMMAND_FLAGS.NBD_CMD_FLAG_FUA) !== 0;
    if (command === COMMANDS.NBD_CMD_WRITE) await device.write(offset, data, { fua });
    else if (command === COMMANDS.NBD_CMD_WRITE_ZEROES) await device.writeZeroes(offset, length, { fua });
    else if (command === COMMANDS.NBD_CMD_TRIM && fua) await device.writeZeroes(offset, length, { fua });
    else if (command === COMMANDS.NBD_CMD_TRIM) await device.trim(offset, length);
    else if (command === COMMANDS.NBD_CMD_FLUSH) await device.flush();
    else if (command === COMMANDS.NBD_CMD_BLOCK_STATUS) {
      return encodeBlockStatus({ contextId: 7, descriptors: [{ length, flags: 0 }] });
    } else {
      const content = Buffer.alloc(length);
      await device.read(offset, content);
      return content;
    }
    return undefined;
  }

  #simple(request: RequestHeader, error: number): void {
    const reply = Buffer.alloc(SIMPLE_REPLY_BYTES);
    encodeSimpleReply(reply, 0, request, error);
    this.socket.write(reply);
  }

  /** Reads in two chunks, the later part first, as a server may. */
  #structured(request: RequestHeader, content: Buffer): void {
    const done = REPLY_FLAGS.NBD_REPLY_FLAG_DONE;
    if (request.command === COMMANDS.NBD_CMD_BLOCK_STATUS) {
      this.#chunk(request, done, CHUNKS.NBD_REPLY_TYPE_BLOCK_STATUS, content);
      return;
    }
    const half = content.byteLength >> 1;
    for (const [start, end] of [
      [half, content.byteLength],
      [0, half],
    ] as const) {
      const payload = Buffer.alloc(OFFSET_DATA_BYTES + end - start);
      encodeOffset(payload, 0, request.offset + start);
      payload.set(content.subarray(start, end), OFFSET_DATA_BYTES);
      if (end > start) this.#chunk(request, 0, CHUNKS.NBD_REPLY_TYPE_OFFSET_DATA, payload);
    }
    this.#chunk(request, done, CHUNKS.NBD_REPLY_TYPE_NONE, Buffer.alloc(0));
  }

  #chunk(request: RequestHeader, flags: number, type: number, payload: Buffer): void {
    const header = Buffer.alloc(CHUNK_HEADER_BYTES);
    encodeChunkHeader(header, 0, request, flags, type, payload.byteLength);
    this.socket.write(Buffer.concat([header, payload]));
  }

  /** What a client must not do (proto.md, "Transmission flags", "Size constraints"). */
  #judge({ command, flags, offset, length }: RequestHeader): void {
    const { toy } = this;
    const wants = (flag: number, what: string) => {
      if ((toy.flags & flag) === 0) toy.faults.push(`${what} was not offered`);
    };
    if (command === COMMANDS.NBD_CMD_FLUSH) wants(FLAGS.NBD_FLAG_SEND_FLUSH, 'flush');
    if (command === COMMANDS.NBD_CMD_TRIM) wants(FLAGS.NBD_FLAG_SEND_TRIM, 'trim');
    if (command === COMMANDS.NBD_CMD_WRITE_ZEROES) wants(FLAGS.NBD_FLAG_SEND_WRITE_ZEROES, 'write zeroes');
    if ((flags & COMMAND_FLAGS.NBD_CMD_FLAG_FUA) !== 0) wants(FLAGS.NBD_FLAG_SEND_FUA, 'fua');
    if (command === COMMANDS.NBD_CMD_BLOCK_STATUS && !this.#hasContext)
      toy.faults.push('no context was chosen');
    const { minimum, maximumPayload } = toy.options.sizes ?? { minimum: 1, maximumPayload: 2 ** 25 };
    if (offset % minimum !== 0 || length % minimum !== 0)
      toy.faults.push(`${length} at ${offset} is misaligned`);
    if (length > maximumPayload) toy.faults.push(`${length} bytes are too many`);
    if (offset + length > (toy.options.size ?? toy.device.size)) toy.faults.push('beyond the end');
  }
}
