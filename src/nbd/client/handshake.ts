/**
 * The client's side of the handshake (NBD doc/proto.md, "Fixed newstyle negotiation", "Option types").
 *
 * The order: TLS before anything else, so that nobody in between has a say in what follows; structured replies,
 * because contexts need them; base:allocation; then the export, by GO, or by EXPORT_NAME where the server does not
 * know GO. Sizes are asked for with GO, so the server may count on their being kept.
 *
 * Invariants
 * - The next option is sent when the last one has its final reply.
 * - A connection that is given up is left by ABORT ("Termination of the session during option haggling").
 * - What a server may send is bounded in size and number.
 */
import type { Socket } from 'node:net';
import {
  BASE_ALLOCATION,
  CLIENT_FLAGS,
  ERROR_REPLIES,
  EXPORT_NAME_PADDING_BYTES,
  HANDSHAKE_FLAGS,
  INFOS,
  NBD_REP_HOLDFAST,
  nameOf,
  OPTIONS,
  OWN_OPTIONS,
  REPLIES,
} from '../protocol/constants.js';
import {
  decodeExportAnswer,
  decodeGreeting,
  decodeOptionReplyHeader,
  EXPORT_ANSWER_BYTES,
  type ExportAnswer,
  encodeClientFlags,
  encodeOption,
  GREETING_BYTES,
  isErrorReply,
  OPTION_REPLY_HEADER_BYTES,
} from '../protocol/handshake.js';
import {
  type BlockSizes,
  decodeInfo,
  decodeMetaContext,
  encodeInfoRequest,
  encodeMetaContextRequest,
  encodeOwnRequest,
} from '../protocol/option-data.js';
import { ProtocolError } from '../protocol/protocol-error.js';
import { SocketReader } from '../wire/socket-reader.js';
import { lost, printed, refusedBy } from './client-errors.js';
import { type ExportTraits, traitsOf } from './export-traits.js';
import { startTls, type TlsCredentials } from './tls.js';
import type { NbdTarget } from './uri.js';

/** The longest reply that any option asked for here has: a string and its fields, with room to spare. */
const LONGEST_REPLY_BYTES = 64 * 1024;
const MOST_REPLIES = 1000;

/** A connection in the transmission phase. */
export interface Negotiated {
  readonly socket: Socket;
  readonly reader: SocketReader;
  readonly traits: ExportTraits;
  readonly isStructured: boolean;
}

interface Reply {
  readonly reply: number;
  readonly data: Buffer;
}

interface Answer {
  readonly replies: readonly Reply[];
  /** The last one: NBD_REP_ACK, or an error. */
  readonly final: Reply;
}

/** One of holdfast's own options, asked of an export. */
export interface ExtensionRequest {
  readonly option: number;
  readonly payload: Uint8Array;
}

/** `unknown`: the server, or the export, does not know the option. A refusal has a sentence, and what the option adds to it. */
export type ExtensionReply =
  | { readonly kind: 'done'; readonly payload: Buffer }
  | { readonly kind: 'unknown' }
  /** It knows the option, and the payload is none that it understands. */
  | { readonly kind: 'malformed'; readonly why: string }
  | { readonly kind: 'refused'; readonly why: string; readonly payload: Buffer | null };

/** Before the export is chosen. `onReply` throws what keeps it from being used. */
export interface ExtensionFirst extends ExtensionRequest {
  readonly onReply: (reply: ExtensionReply) => void;
}

/** @throws ConnectionLost; UserError where the server refuses; ProtocolError. The socket is the caller's to destroy. */
export async function negotiate(
  socket: Socket,
  target: NbdTarget,
  credentials: TlsCredentials,
  first: ExtensionFirst | null,
): Promise<Negotiated> {
  return new Haggling(socket, target).run(credentials, first);
}

/** Asks one question and leaves. Errors as `negotiate`. */
export async function inquire(
  socket: Socket,
  target: NbdTarget,
  credentials: TlsCredentials,
  request: ExtensionRequest,
): Promise<ExtensionReply> {
  return new Haggling(socket, target).inquire(credentials, request);
}

class Haggling {
  #socket: Socket;
  #reader: SocketReader;
  readonly #target: NbdTarget;
  #hasZeroes = true;

  constructor(socket: Socket, target: NbdTarget) {
    this.#socket = socket;
    this.#reader = new SocketReader(socket);
    this.#target = target;
  }

  async run(credentials: TlsCredentials, first: ExtensionFirst | null): Promise<Negotiated> {
    await this.#begin(credentials);
    if (first !== null) first.onReply(await this.#extension(first));
    const isStructured = await this.#agreeOnStructuredReplies();
    const canTellHoles = isStructured && (await this.#chooseAllocation());
    const { answer, sizes } = await this.#go();
    const traits = traitsOf(answer, sizes, canTellHoles);
    if (typeof traits === 'string') throw refusedBy(this.#target, 'UNSUPPORTED', traits);
    return { socket: this.#socket, reader: this.#reader, traits, isStructured };
  }

  async inquire(credentials: TlsCredentials, request: ExtensionRequest): Promise<ExtensionReply> {
    await this.#begin(credentials);
    const reply = await this.#extension(request);
    this.#leave();
    return reply;
  }

  async #begin(credentials: TlsCredentials): Promise<void> {
    await this.#greet();
    if (this.#target.tls !== null) await this.#startTls(credentials);
  }

  async #extension({ option, payload }: ExtensionRequest): Promise<ExtensionReply> {
    const { exportName: name } = this.#target;
    const { replies, final } = await this.#ask(
      option,
      encodeOwnRequest({ name, payload: Buffer.from(payload) }),
    );
    const answer = replies.find(({ reply }) => reply === NBD_REP_HOLDFAST)?.data ?? null;
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_UNSUP) return { kind: 'unknown' };
    this.#refuseIfTlsIsWanted(final);
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_UNKNOWN) throw this.#exportRefused(final);
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_SHUTDOWN)
      throw this.#refused(final, 'the option was refused');
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_INVALID) return { kind: 'malformed', why: textOf(final) };
    if (isErrorReply(final.reply)) return { kind: 'refused', why: textOf(final), payload: answer };
    if (answer === null)
      throw new ProtocolError(`${nameOf(OWN_OPTIONS, option)} was taken without an answer`);
    return { kind: 'done', payload: answer };
  }

  async #greet(): Promise<void> {
    const flags = decodeGreeting(await this.#reader.take(GREETING_BYTES));
    this.#hasZeroes = (flags & HANDSHAKE_FLAGS.NBD_FLAG_NO_ZEROES) === 0;
    const noZeroes = this.#hasZeroes ? 0 : CLIENT_FLAGS.NBD_FLAG_C_NO_ZEROES;
    this.#socket.write(encodeClientFlags(CLIENT_FLAGS.NBD_FLAG_C_FIXED_NEWSTYLE | noZeroes));
  }

  async #startTls(credentials: TlsCredentials): Promise<void> {
    const { final } = await this.#ask(OPTIONS.NBD_OPT_STARTTLS);
    if (isErrorReply(final.reply)) {
      throw this.#refused(final, 'the server does not speak TLS', 'Begin the URI with nbd to go without.');
    }
    this.#reader.detach();
    if (this.#reader.bufferedBytes > 0) throw new ProtocolError('bytes came before TLS that belong after it');
    this.#socket = await startTls(this.#socket, this.#target, credentials);
    this.#reader = new SocketReader(this.#socket);
  }

  async #agreeOnStructuredReplies(): Promise<boolean> {
    const { final } = await this.#ask(OPTIONS.NBD_OPT_STRUCTURED_REPLY);
    this.#refuseIfTlsIsWanted(final);
    return final.reply === REPLIES.NBD_REP_ACK;
  }

  /** A server that has no such context, or does not know contexts, or the export, is no error here: GO tells. */
  async #chooseAllocation(): Promise<boolean> {
    const request = { name: this.#target.exportName, queries: [BASE_ALLOCATION] };
    const { replies, final } = await this.#ask(
      OPTIONS.NBD_OPT_SET_META_CONTEXT,
      encodeMetaContextRequest(request),
    );
    const isAllocation = ({ reply, data }: Reply) =>
      reply === REPLIES.NBD_REP_META_CONTEXT && decodeMetaContext(data)?.name === BASE_ALLOCATION;
    return final.reply === REPLIES.NBD_REP_ACK && replies.some(isAllocation);
  }

  async #go(): Promise<{ answer: ExportAnswer; sizes: BlockSizes | null }> {
    const request = { name: this.#target.exportName, infos: [INFOS.NBD_INFO_BLOCK_SIZE] };
    const { replies, final } = await this.#ask(OPTIONS.NBD_OPT_GO, encodeInfoRequest(request));
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_UNSUP)
      return { answer: await this.#exportName(), sizes: null };
    this.#refuseIfTlsIsWanted(final);
    if (isErrorReply(final.reply)) throw this.#exportRefused(final);
    let answer: ExportAnswer | null = null;
    let sizes: BlockSizes | null = null;
    for (const { reply, data } of replies) {
      const info = reply === REPLIES.NBD_REP_INFO ? decodeInfo(data) : null;
      if (info?.kind === 'export') answer = info;
      if (info?.kind === 'block-size') sizes = info;
    }
    if (answer === null)
      throw new ProtocolError('the server took the export and did not say how large it is');
    return { answer, sizes };
  }

  /** For servers that do not know GO. They cannot refuse but by closing the connection. */
  async #exportName(): Promise<ExportAnswer> {
    this.#socket.write(encodeOption(OPTIONS.NBD_OPT_EXPORT_NAME, Buffer.from(this.#target.exportName)));
    const bytes = await this.#reader.takeUnlessEnded(EXPORT_ANSWER_BYTES);
    if (bytes === null) {
      const why = `the server closed the connection when it was asked for the export "${this.#target.exportName}"`;
      throw lost(this.#target, why);
    }
    const answer = decodeExportAnswer(bytes);
    if (this.#hasZeroes) await this.#reader.skip(EXPORT_NAME_PADDING_BYTES);
    return answer;
  }

  async #ask(option: number, data?: Buffer): Promise<Answer> {
    this.#socket.write(encodeOption(option, data));
    const replies: Reply[] = [];
    while (replies.length < MOST_REPLIES) {
      const header = decodeOptionReplyHeader(await this.#reader.take(OPTION_REPLY_HEADER_BYTES));
      if (header.option !== option || header.length > LONGEST_REPLY_BYTES) {
        const got = `to ${nameOf(OPTIONS, header.option)}, of ${header.length} bytes`;
        throw new ProtocolError(`a reply ${got}, where one to ${nameOf(OPTIONS, option)} was due`);
      }
      const reply = { reply: header.reply, data: await this.#reader.take(header.length) };
      if (reply.reply === REPLIES.NBD_REP_ACK || isErrorReply(reply.reply)) return { replies, final: reply };
      replies.push(reply);
    }
    throw new ProtocolError(`more than ${MOST_REPLIES} replies to ${nameOf(OPTIONS, option)}`);
  }

  #refuseIfTlsIsWanted(final: Reply): void {
    if (final.reply !== ERROR_REPLIES.NBD_REP_ERR_TLS_REQD) return;
    const hint =
      'Begin the URI with nbds instead of nbd, and name the certificates: tls-certificates=DIRECTORY.';
    throw this.#refused(final, 'the server speaks only TLS', hint);
  }

  #exportRefused(final: Reply): Error {
    const { exportName } = this.#target;
    const which = exportName === '' ? 'default export' : `export "${exportName}"`;
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_UNKNOWN) {
      const hint = 'List the exports of the server: nbdinfo --list URI';
      return this.#refused(final, `the server has no ${which}`, hint, 'VOLUME_NOT_FOUND');
    }
    return this.#refused(final, `the server refused the ${which} (${nameOf(ERROR_REPLIES, final.reply)})`);
  }

  /** Leaves the connection in good manners; a server that is being shut down may be another one soon. */
  #refused(
    final: Reply,
    why: string,
    hint?: string,
    code: 'REFUSED' | 'VOLUME_NOT_FOUND' = 'REFUSED',
  ): Error {
    this.#leave();
    if (final.reply === ERROR_REPLIES.NBD_REP_ERR_SHUTDOWN)
      return lost(this.#target, 'the server is shutting down');
    const text = textOf(final);
    return refusedBy(this.#target, code, text === '' ? why : `${why}: ${text}`, hint);
  }

  #leave(): void {
    this.#socket.write(encodeOption(OPTIONS.NBD_OPT_ABORT));
    this.#socket.destroySoon();
  }
}

function textOf({ data }: Reply): string {
  return printed(data.toString('utf8', 0, 1000));
}
