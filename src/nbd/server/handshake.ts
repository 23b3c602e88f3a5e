/**
 * The handshake of one connection: fixed newstyle, option by option, until the client chooses an export or goes
 * ("Handshake" of proto.md).
 *
 * - An option that is unknown, malformed, too large or not allowed is answered, and the conversation goes on. It
 *   ends without an answer only where the protocol has none: a wrong magic, unknown client flags, an EXPORT_NAME
 *   that is refused.
 * - No memory is made for what a length promises before it is known to be small. More than that is read past,
 *   within limits.
 * - STARTTLS forgets all that was agreed on before it. What comes in plain text behind it ends the connection.
 */
import {
  CLIENT_FLAGS,
  ERROR_REPLIES,
  HANDSHAKE_FLAGS,
  MAX_STRING_BYTES,
  OPTIONS,
  REPLIES,
} from '../protocol/constants.js';
import {
  CLIENT_FLAGS_BYTES,
  decodeClientFlags,
  decodeOptionHeader,
  encodeExportAnswer,
  encodeGreeting,
  encodeOptionReply,
  OPTION_HEADER_BYTES,
} from '../protocol/handshake.js';
import { ProtocolError } from '../protocol/protocol-error.js';
import { decodeString, encodeString } from '../protocol/strings.js';
import type { Export, ExtensionPeer } from './export.js';
import { listContexts, setContexts } from './option-contexts.js';
import { chooseExport, listExports } from './option-exports.js';
import { askExtension } from './option-extensions.js';
import { ServedExport } from './served-export.js';
import type { Agreement } from './session.js';
import { agreement, findExport, type Host, type Outcome, type Talk } from './talk.js';
import type { WirePair } from './wire-pair.js';

/** Larger data of an option is not looked at; the largest that makes sense is far smaller. */
const MAX_OPTION_BYTES = 256 * 1024;
/** So much of what is too large is read past; behind more than that the connection ends. */
const MAX_SKIPPED_BYTES = 16 * 1024 * 1024;

const { NBD_FLAG_FIXED_NEWSTYLE, NBD_FLAG_NO_ZEROES } = HANDSHAKE_FLAGS;
const { NBD_FLAG_C_FIXED_NEWSTYLE, NBD_FLAG_C_NO_ZEROES } = CLIENT_FLAGS;

export class Handshake implements Talk {
  structured = false;
  selected: Talk['selected'] = null;
  readonly instead = new Map<ServedExport, ServedExport>();
  /** The client waits for what an extension does. */
  isAnswering = false;
  #clientFlags = 0;

  constructor(
    /** Another one after STARTTLS. */
    public wire: WirePair,
    readonly host: Host,
    private readonly line: Pick<ExtensionPeer, 'hangUp' | 'ended'>,
  ) {}

  /**
   * What was agreed on, or null when the client went without.
   *
   * @throws ProtocolError, ConnectionEnded
   */
  async run(): Promise<Agreement | null> {
    this.wire.writer.send(encodeGreeting(NBD_FLAG_FIXED_NEWSTYLE | NBD_FLAG_NO_ZEROES));
    const flags = await this.wire.reader.takeUnlessEnded(CLIENT_FLAGS_BYTES);
    if (flags === null) return null;
    this.#clientFlags = decodeClientFlags(flags);
    if ((this.#clientFlags & ~(NBD_FLAG_C_FIXED_NEWSTYLE | NBD_FLAG_C_NO_ZEROES)) !== 0)
      throw new ProtocolError('the client sets flags that were not offered');
    for (;;) {
      const outcome = await this.#option();
      if (outcome === 'end') return null;
      if (outcome !== 'go on') return outcome;
      await this.wire.writer.ready();
    }
  }

  reply(option: number, type: number, data?: Uint8Array): void {
    this.wire.writer.send(encodeOptionReply(option, type, data));
  }

  refuse(option: number, type: number, why: string): void {
    this.reply(option, type, encodeString(why));
  }

  peerOf(shown: ServedExport): ExtensionPeer {
    const serveAs = (given: Export) => void this.instead.set(shown, new ServedExport(given, shown));
    return { ...this.line, serveAs };
  }

  async #option(): Promise<Outcome> {
    const header = await this.wire.reader.takeUnlessEnded(OPTION_HEADER_BYTES);
    if (header === null) return 'end';
    const { option, length } = decodeOptionHeader(header);
    if (option === OPTIONS.NBD_OPT_EXPORT_NAME) return this.#exportName(length);
    if (length > MAX_OPTION_BYTES) return this.#tooLarge(option, length);
    const data = await this.wire.reader.take(length);
    if (option === OPTIONS.NBD_OPT_ABORT) {
      this.reply(option, REPLIES.NBD_REP_ACK);
      return 'end';
    }
    if (this.host.isStopping) {
      this.refuse(option, ERROR_REPLIES.NBD_REP_ERR_SHUTDOWN, 'the server is being stopped');
      return 'go on';
    }
    if (option === OPTIONS.NBD_OPT_STARTTLS) return this.#startTls(data);
    if (this.#wantsTls) {
      this.refuse(option, ERROR_REPLIES.NBD_REP_ERR_TLS_REQD, 'this server is used with TLS only');
      return 'go on';
    }
    return this.#known(option, data);
  }

  #known(option: number, data: Buffer): Outcome | Promise<Outcome> {
    switch (option) {
      case OPTIONS.NBD_OPT_LIST:
        return listExports(this, data);
      case OPTIONS.NBD_OPT_INFO:
      case OPTIONS.NBD_OPT_GO:
        return chooseExport(this, option, data);
      case OPTIONS.NBD_OPT_STRUCTURED_REPLY:
        return this.#structuredReply(data);
      case OPTIONS.NBD_OPT_LIST_META_CONTEXT:
        return listContexts(this, data);
      case OPTIONS.NBD_OPT_SET_META_CONTEXT:
        return setContexts(this, data);
      default:
        return this.#ownOption(option, data);
    }
  }

  async #ownOption(option: number, data: Buffer): Promise<Outcome> {
    this.isAnswering = true;
    try {
      return await askExtension(this, option, data);
    } finally {
      this.isAnswering = false;
    }
  }

  get #wantsTls(): boolean {
    return this.host.tls?.required === true && !this.wire.secure;
  }

  /** The one option that can not be refused in words. */
  async #exportName(length: number): Promise<Outcome> {
    if (length > MAX_STRING_BYTES) throw new ProtocolError(`the name of an export has ${length} bytes`);
    const name = decodeString(await this.wire.reader.take(length));
    const served = name === null ? null : findExport(this, name);
    if (served === null || this.#wantsTls || this.host.isStopping)
      throw new ProtocolError('an export was asked for that is not there, or not without TLS');
    const answer = {
      size: BigInt(served.size),
      transmissionFlags: served.transmissionFlags(this.structured),
    };
    this.wire.writer.send(encodeExportAnswer(answer, (this.#clientFlags & NBD_FLAG_C_NO_ZEROES) === 0));
    return agreement(this, served, false);
  }

  async #tooLarge(option: number, length: number): Promise<Outcome> {
    this.refuse(option, ERROR_REPLIES.NBD_REP_ERR_TOO_BIG, `the option's ${length} bytes are too many`);
    await this.wire.reader.skip(Math.min(length, MAX_SKIPPED_BYTES));
    return length > MAX_SKIPPED_BYTES ? 'end' : 'go on';
  }

  #structuredReply(data: Buffer): Outcome {
    const option = OPTIONS.NBD_OPT_STRUCTURED_REPLY;
    if (data.byteLength > 0) {
      this.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, 'the option has no data');
      return 'go on';
    }
    this.structured = true;
    this.reply(option, REPLIES.NBD_REP_ACK);
    return 'go on';
  }

  /** "NOTLS mode" says that a client without the fixed newstyle gets no TLS. */
  async #startTls(data: Buffer): Promise<Outcome> {
    const option = OPTIONS.NBD_OPT_STARTTLS;
    const { tls } = this.host;
    if (tls === null || (this.#clientFlags & NBD_FLAG_C_FIXED_NEWSTYLE) === 0) {
      this.refuse(option, ERROR_REPLIES.NBD_REP_ERR_POLICY, 'this server does without TLS here');
      return 'go on';
    }
    if (this.wire.secure || data.byteLength > 0) {
      const why = this.wire.secure ? 'TLS has been started already' : 'the option has no data';
      this.refuse(option, ERROR_REPLIES.NBD_REP_ERR_INVALID, why);
      return 'go on';
    }
    this.structured = false;
    this.selected = null;
    this.instead.clear();
    const acknowledge = () => this.reply(option, REPLIES.NBD_REP_ACK);
    this.wire = await this.wire.upgrade(tls.options, this.host.handshakeLimitMs, acknowledge);
    return 'go on';
  }
}
