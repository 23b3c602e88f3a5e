/**
 * Bytes to a socket, many small messages a turn of the event loop in one call of the operating system.
 *
 * - What is queued goes out at the end of the turn, or when the batch before it has gone: answers of one turn,
 *   and all that gathers while the socket is busy, leave together.
 * - Short messages are written next to each other into one slab (`claim`); long ones are passed on as they
 *   are and may not change until `sent` is called. `sent` is called exactly once, also when the connection
 *   breaks before, and never before the caller has returned.
 * - TLS gets little at a time: it copies a batch, and keeps all of it encrypted beside that, until it has left. So what
 *   waits costs its own bytes once, as it does in plain text, where nothing is copied.
 * - Nothing here limits what is queued: who produces it asks `queuedBytes`, or waits for `ready`, before
 *   making more, so that a peer that no longer reads costs a bounded amount of memory.
 */
import type { Socket } from 'node:net';

const SLAB_BYTES = 64 * 1024;
/** So much is not kept back until the turn ends. */
const EARLY_BYTES = 512 * 1024;
const READY_BELOW_BYTES = 1024 * 1024;
/** Of a batch for TLS, or one message that is larger. */
const TLS_BATCH_BYTES = 1024 * 1024;

type Sent = () => void;

export class SocketWriter {
  readonly #socket: Socket;
  #slab = Buffer.allocUnsafeSlow(SLAB_BYTES);
  /** Of the slab: what is queued and not in #parts yet is [#runStart, #slabEnd). */
  #runStart = 0;
  #slabEnd = 0;
  #parts: Uint8Array[] = [];
  #sent: Sent[] = [];
  /** For each of #sent: how many of #parts have to leave before. */
  #sentAfter: number[] = [];
  readonly #batchBytes: number;
  /** Of the batch that the socket has now; null when it has none. */
  #leaving: { readonly bytes: number; readonly sent: readonly Sent[] } | null = null;
  #gatheredBytes = 0;
  #scheduled = false;
  #closed = false;
  #ready: (() => void)[] = [];
  #idle: (() => void)[] = [];

  constructor(socket: Socket) {
    this.#socket = socket;
    this.#batchBytes = 'encrypted' in socket ? TLS_BATCH_BYTES : Number.POSITIVE_INFINITY;
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
    if (sent !== undefined) {
      this.#sent.push(sent);
      this.#sentAfter.push(this.#parts.length);
    }
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

  /** Gives the socket all that is queued, or what TLS takes of it, unless it is still busy with the last batch. */
  readonly #flush = (): void => {
    if (!this.#scheduled || (this.#leaving !== null && !this.#closed)) return;
    this.#scheduled = false;
    this.#closeRun();
    const isAll = this.#closed || this.#gatheredBytes <= this.#batchBytes;
    const { parts, bytes, sent } = this.#takeParts(isAll ? this.#parts.length : this.#firstParts());
    if (this.#closed) {
      for (const each of sent) each();
      return;
    }
    this.#leaving = { bytes, sent };
    this.#socket.cork();
    for (let i = 0; i < parts.length - 1; i++) this.#socket.write(parts[i]!);
    this.#socket.write(parts.at(-1) ?? Buffer.alloc(0), this.#onSent);
    this.#socket.uncork();
  };

  /** How many parts make a batch. */
  #firstParts(): number {
    let bytes = 0;
    let count = 0;
    for (const part of this.#parts) {
      bytes += part.byteLength;
      if (count > 0 && bytes > this.#batchBytes) break;
      count += 1;
    }
    return count;
  }

  /** The first parts off what is queued, and who is to be told of them; the rest is next. */
  #takeParts(count: number): { parts: Uint8Array[]; bytes: number; sent: Sent[] } {
    const taken = { parts: this.#parts, bytes: this.#gatheredBytes, sent: this.#sent };
    const later = count < taken.parts.length ? taken.parts.splice(count) : [];
    if (later.length === 0) {
      this.#parts = [];
      this.#sent = [];
      this.#sentAfter = [];
      this.#gatheredBytes = 0;
      return taken;
    }
    const told = this.#sentAfter.findIndex((parts) => parts > count);
    this.#parts = later;
    this.#sent = told < 0 ? [] : taken.sent.splice(told);
    this.#sentAfter = told < 0 ? [] : this.#sentAfter.slice(told).map((parts) => parts - count);
    this.#gatheredBytes = later.reduce((sum, part) => sum + part.byteLength, 0);
    this.#scheduled = true;
    return { ...taken, bytes: taken.bytes - this.#gatheredBytes };
  }

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
