/**
 * Both directions of a connection, and its change to TLS in the middle of the handshake ("FORCEDTLS mode" of
 * proto.md; Node's tls does the rest).
 */
import type { Socket } from 'node:net';
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls';
import { ProtocolError } from '../protocol/protocol-error.js';
import { SocketReader } from '../wire/socket-reader.js';
import { SocketWriter } from '../wire/socket-writer.js';

export interface TlsPolicy {
  /**
   * Of Node's tls.createServer: key, cert; ca, requestCert and rejectUnauthorized where clients show certificates.
   * TLS 1.2 is the least unless `minVersion` says otherwise.
   */
  readonly options: TlsOptions;
  /** Whether nothing is served without it. */
  readonly required: boolean;
}

export class WirePair {
  readonly reader: SocketReader;
  readonly writer: SocketWriter;

  constructor(
    readonly socket: Socket,
    readonly secure: boolean,
  ) {
    // What went wrong is told by the reader to whoever reads; a socket that nobody reads ends all the same.
    socket.on('error', () => {});
    this.reader = new SocketReader(socket);
    this.writer = new SocketWriter(socket);
  }

  /**
   * Lets `acknowledge` tell the client to begin, and waits for its TLS handshake. What has come in plain text by
   * then would be taken for something that was said in secret: it is refused. What comes after is TLS's.
   *
   * @throws ProtocolError, also when the two do not come to terms.
   */
  async upgrade(options: TlsOptions, limitMs: number, acknowledge: () => void): Promise<WirePair> {
    if (this.reader.bufferedBytes > 0)
      throw new ProtocolError('plain text came behind the option that starts TLS');
    this.reader.detach();
    acknowledge();
    await this.writer.flushed();
    this.writer.detach();
    return new WirePair(await secured(this.socket, options, limitMs), true);
  }

  /** Closes when the kernel has all that was queued; ends when it is closed. */
  async close(): Promise<void> {
    await this.writer.flushed();
    if (this.socket.closed) return;
    await new Promise<void>((resolve) => {
      this.socket.once('close', () => resolve());
      this.socket.destroySoon();
    });
  }

  hangUp(): void {
    this.socket.destroy();
  }
}

/** A tls.Server of the connection's own takes it over: it checks certificates as tls.createServer documents. */
function secured(socket: Socket, options: TlsOptions, limitMs: number): Promise<TLSSocket> {
  return new Promise((resolve, reject) => {
    const server = createServer({ handshakeTimeout: limitMs, ...options });
    server.once('secureConnection', resolve);
    server.once('tlsClientError', (error) => reject(new ProtocolError(`TLS: ${error.message}`)));
    socket.once('close', () => reject(new ProtocolError('the connection ended in the handshake of TLS')));
    server.emit('connection', socket);
  });
}
