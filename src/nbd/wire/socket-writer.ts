/**
 * Bytes to a socket, many small messages a turn of the event loop in one call of the operating system.
 *
 * - What is queued goes out at the end of the turn, or when the batch before it has gone: answers of one turn,
 *   and all that gathers while the socket is busy, leave together.
 * - Short messages are written next to each other into one slab (`claim`); long ones are passed on as they
 *   are and may not change until `sent` is called. `sent` is called exactly once, also when the connection
 *   breaks before, and never before the caller has returned.
 * - Nothing here limits what is queued: who produces it asks `queuedBytes`, or waits for `ready`, before
 *   making more, so that a peer that no longer reads costs a bounded amount of memory.
 */
import type { Socket } from 'node:net';

const SLAB_BYTES = 64 * 1024;
/** So much is not kept back until the turn ends. */
const EARLY_BYTES = 512 * 1024;
const READY_BELOW_BYTES = 1024 * 1024;

type Sent = () => void;

export class SocketWriter {
  readonly #socket: Socket;
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** Of the slab: what is queued and not in #parts yet is [#runStart, #slabEnd). */
  #runStart = 0;
  #slabEnd = 0;
  #parts: Uint8Array[] = [];
  #sent: Sent[] = [];
  /** Of the batch that the socket has now; null when it has none. */
  #leaving: { readonly bytes: number; readonly sent: readonly Sent[] } | null = null;
  #gatheredBytes = 0;
  #scheduled = false;
  #closed = false;
  #ready: (() => void)[] = [];
  #idle: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on('close', this.#onClose);
  }

  /** Bytes that the kernel has not taken yet. */
  get queuedBytes(): number {
    return this.#gatheredBytes + (this.#leaving?.bytes ?? 0);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /**
   * Room for a short message (at most 4 KiB), to be written at once into `slab`, from the answer on. What is
   * claimed is queued: it cannot be given back.
   */
  claim(bytes: number): number {
    if (this.#slabEnd + bytes > SLAB_BYTES) this.#newSlab();
    const at = this.#slabEnd;
    this.#slabEnd += bytes;
    this.#gatheredBytes += bytes;
    this.#schedule();
    return at;
  }

  /** Where `claim` claimed last. */
  get slab(): Buffer {
    return this.#slab;
  }

  /** Queues bytes that are not copied. */
  send(bytes: Uint8Array, sent?: Sent): void {
    this.#closeRun();
    if (bytes.byteLength > 0) this.#parts.push(bytes);
    if (sent !== undefined) this.#sent.push(sent);
    this.#gatheredBytes += bytes.byteLength;
    this.#schedule();
  }

  /** Ends when little enough is queued to make more, or nobody will ever take it. */
  async ready(): Promise<void> {
    while (!this.#closed && this.queuedBytes >= READY_BELOW_BYTES) {
      await new Promise<void>((resolve) => this.#ready.push(resolve));
    }
  }

  /** Ends when the kernel has all that was queued, or the connection is gone. */
  async flushed(): Promise<void> {
    while (!this.#closed && (this.#scheduled || this.#leaving !== null)) {
      await new Promise<void>((resolve) => this.#idle.push(resolve));
    }
  }

  /** Leaves the socket to somebody else. All must have been flushed. */
  detach(): void {
    this.#socket.off('close', this.#onClose);
  }

  #newSlab(): void {
    this.#closeRun();
    this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
    this.#runStart = 0;
    this.#slabEnd = 0;
  }

  #closeRun(): void {
    if (this.#runStart === this.#slabEnd) return;
    this.#parts.push(this.#slab.subarray(this.#runStart, this.#slabEnd));
    this.#runStart = this.#slabEnd;
  }

  #schedule(): void {
    if (this.#scheduled) {
      if (this.#gatheredBytes >= EARLY_BYTES && this.#leaving === null) queueMicrotask(this.#flush);
      return;
    }
    this.#scheduled = true;
    if (this.#leaving === null || this.#closed) setImmediate(this.#flush);
  }

  /** Gives the socket all that is queued, unless it is still busy with the last batch. */
  readonly #flush = (): void => {
    if (!this.#scheduled || (this.#leaving !== null && !this.#closed)) return;
    this.#scheduled = false;
    this.#closeRun();
    const parts = this.#parts;
    const batch = { bytes: this.#gatheredBytes, sent: this.#sent };
    this.#parts = [];
    this.#sent = [];
    this.#gatheredBytes = 0;
    if (this.#closed) {
      for (const sent of batch.sent) sent();
      return;
    }
    this.#leaving = batch;
    this.#socket.cork();
    for (let i = 0; i < parts.length - 1; i++) this.#socket.write(parts[i]!);
    this.#socket.write(parts.at(-1) ?? Buffer.alloc(0), this.#onSent);
    this.#socket.uncork();
  };

  /**
   * What failed once fails from then on: `close` follows, but work that never waits for the event loop would be done
   * for nobody until then.
   */
  readonly #onSent = (error?: Error | null): void => {
    if (error) this.#closed = true;
    const batch = this.#leaving;
    this.#leaving = null;
    for (const sent of batch?.sent ?? []) sent();
    if (this.#scheduled) this.#flush();
    this.#wake();
  };

  readonly #onClose = (): void => {
    this.#closed = true;
    if (this.#leaving !== null) this.#onSent();
    else this.#flush();
    this.#wake();
  };

  #wake(): void {
    if (this.#closed || this.queuedBytes < READY_BELOW_BYTES)
      for (const wake of this.#ready.splice(0)) wake();
    if (this.#closed || (!this.#scheduled && this.#leaving === null))
      for (const wake of this.#idle.splice(0)) wake();
  }
}
