/**
 * What a connection's requests work with once the handshake is over.
 */
import type { SocketReader } from '../wire/socket-reader.js';
import type { Counters } from './counters.js';
import type { Account } from './memory-budget.js';
import type { Failure, Replies } from './replies.js';
import type { ReplyBuffers } from './reply-buffers.js';
import type { ServedExport } from './served-export.js';
import type { StatusContext } from './status-contexts.js';

/** Larger requests are taken, worked off and answered in pieces of this many bytes. */
export const PIECE_BYTES = 1024 * 1024;

/** As the client selected it. */
export interface SelectedContext {
  readonly id: number;
  readonly context: StatusContext;
}

/** What the handshake came to. */
export interface Agreement {
  readonly served: ServedExport;
  readonly structured: boolean;
  readonly contexts: readonly SelectedContext[];
  /** The client was told the block sizes and keeps to them ("Size constraints"). */
  readonly keepsSizes: boolean;
}

export interface Session extends Agreement {
  readonly reader: SocketReader;
  readonly replies: Replies;
  readonly account: Account;
  readonly buffers: ReplyBuffers;
  readonly counters: Counters;
  /** What to tell the client of what was thrown; counts it, and reports what is a fault of ours. */
  readonly failed: (error: unknown) => Failure;
  /** Ends the connection at once: what was begun can not be finished. */
  readonly hangUp: () => void;
}

export function countRead({ counters, served }: Session, bytes: number): void {
  counters.readBytes += bytes;
  served.counters.readBytes += bytes;
}

export function countWritten({ counters, served }: Session, bytes: number): void {
  counters.writtenBytes += bytes;
  served.counters.writtenBytes += bytes;
}
