/**
 * What a server has done, for `status`: of each export as a whole, and of each connection. Counted where it
 * happens; reading the counters costs the server nothing.
 */

export interface RequestCounts {
  /** Answered or not. */
  read: number;
  write: number;
  flush: number;
  trim: number;
  cache: number;
  'write-zeroes': number;
  'block-status': number;
}

export type RequestKind = keyof RequestCounts;

/** Of one connection; an export adds up those of all its connections, also of those that are gone. */
export class Counters {
  readonly requests: RequestCounts = {
    read: 0,
    write: 0,
    flush: 0,
    trim: 0,
    cache: 0,
    'write-zeroes': 0,
    'block-status': 0,
  };
  /** Requests that were answered with an error. */
  errors = 0;
  /** Bytes of data sent, holes not counted. */
  readBytes = 0;
  /** Bytes that devices have taken from payloads. */
  writtenBytes = 0;
  /** Requests that are not answered yet. */
  inFlight = 0;
}

export interface ConnectionStatus {
  readonly export: string;
  /** `unix`, or address and port. */
  readonly peer: string;
  readonly secure: boolean;
  readonly structured: boolean;
  readonly counters: Readonly<Counters>;
}

export interface ExportStatus {
  readonly name: string;
  readonly size: number;
  readonly readOnly: boolean;
  /** Now. */
  readonly connections: number;
  /** Since the server started. */
  readonly connectionsEver: number;
  readonly counters: Readonly<Counters>;
}

export interface ServerStatus {
  readonly exports: readonly ExportStatus[];
  readonly connections: readonly ConnectionStatus[];
  /** Connections in the handshake now. */
  readonly handshakes: number;
  /** Connections that were turned away because too many were there. */
  readonly refused: number;
  /** Bytes that requests hold in memory now. */
  readonly heldBytes: number;
}
