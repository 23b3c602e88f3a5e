/**
 * One connection from its first byte to its last: handshake, transmission, end.
 *
 * `run` never rejects for what a client does: whatever it sends, or if it goes at any moment, the connection ends
 * and the server goes on. What is a fault of ours is reported, and ends the connection too.
 */
import type { Socket } from 'node:net';
import { UserError } from '../../errors.js';
import { type ConnectionStatus, Counters } from './counters.js';
import { failureOf } from './failures.js';
import { Handshake } from './handshake.js';
import type { MemoryBudget } from './memory-budget.js';
import { Replies } from './replies.js';
import type { ReplyBuffers } from './reply-buffers.js';
import type { Agreement, Session } from './session.js';
import type { Host } from './talk.js';
import { Transmission } from './transmission.js';
import { WirePair } from './wire-pair.js';

/** What connections of a server share. */
export interface Shared {
  readonly host: Host;
  readonly budget: MemoryBudget;
  readonly buffers: ReplyBuffers;
  /** Tells of what was thrown and is no UserError. */
  readonly onFault: (error: unknown) => void;
}

export class Connection {
  readonly counters = new Counters();
  readonly #handshake: Handshake;
  readonly #ended = new AbortController();
  #agreed: Agreement | null = null;
  #transmission: Transmission | null = null;

  constructor(
    socket: Socket,
    private readonly shared: Shared,
  ) {
    const { signal } = this.#ended;
    this.#handshake = new Handshake(new WirePair(socket, false), shared.host, {
      hangUp: () => this.hangUp(),
      ended: new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true })),
    });
  }

  get isInHandshake(): boolean {
    return this.#agreed === null;
  }

  /** Ends when the connection is closed, or the kernel closes it once its client has read the rest. */
  async run(onAgreed: () => void): Promise<void> {
    try {
      const agreed = await this.#agree();
      if (agreed !== null) {
        onAgreed();
        await this.#transmit(agreed);
      }
      await this.#wire.close();
    } catch (error) {
      this.#wire.hangUp();
      // ProtocolError and ConnectionEnded are the client's doing, and the end of the connection is the answer.
      if (!(error instanceof UserError)) this.shared.onFault(error);
    } finally {
      this.#ended.abort();
    }
  }

  /** Lets requests in flight end, refuses new ones, and closes. In the handshake: closes. */
  async stop(): Promise<void> {
    if (this.#transmission === null) {
      this.hangUp();
      return;
    }
    this.#transmission.stop();
    await this.#transmission.idle();
    await this.#wire.close();
  }

  hangUp(): void {
    this.#wire.hangUp();
  }

  /** Of a connection that is past its handshake. */
  status(): ConnectionStatus | null {
    if (this.#agreed === null) return null;
    const { socket, secure } = this.#wire;
    const { served, structured } = this.#agreed;
    const { remoteAddress, remotePort } = socket;
    const peer = remoteAddress === undefined ? 'unix' : `${remoteAddress} port ${remotePort}`;
    return { export: served.listed.name, peer, secure, structured, counters: this.counters };
  }

  get #wire(): WirePair {
    return this.#handshake.wire;
  }

  async #agree(): Promise<Agreement | null> {
    const { handshakeLimitMs } = this.shared.host;
    // What the server itself takes for an answer is not the client's fault.
    const isOver = () => {
      if (this.#handshake.isAnswering) limit = setTimeout(isOver, handshakeLimitMs);
      else this.hangUp();
    };
    let limit = setTimeout(isOver, handshakeLimitMs);
    try {
      return await this.#handshake.run();
    } finally {
      clearTimeout(limit);
    }
  }

  async #transmit(agreed: Agreement): Promise<void> {
    const { served } = agreed;
    this.#agreed = agreed;
    this.#transmission = new Transmission(this.#session(agreed));
    served.uses.now += 1;
    served.uses.ever += 1;
    try {
      await this.#transmission.run();
    } finally {
      served.uses.now -= 1;
    }
  }

  #session(agreed: Agreement): Session {
    const { budget, buffers, onFault } = this.shared;
    const { reader, writer } = this.#wire;
    return {
      ...agreed,
      reader,
      replies: new Replies(writer, agreed.structured),
      account: budget.account(),
      buffers,
      counters: this.counters,
      failed: (error) => {
        this.counters.errors += 1;
        agreed.served.counters.errors += 1;
        if (!(error instanceof UserError)) onFault(error);
        return failureOf(error);
      },
      hangUp: () => this.hangUp(),
    };
  }
}
