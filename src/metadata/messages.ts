/**
 * What can be asked of a metadata server, by name: the six primitives of the source document (data journaling,
 * paragraph 25), and what files, clients and locks need beside them. Requests and replies are plain data (and bitmaps
 * as bytes), so that they could cross a socket; every request is checked against its schema by the server.
 *
 * A reply means that what it says is durable. A message that is refused has changed nothing. Errors are UserErrors;
 * REFUSED with `fault: 'protocol'` in its details is a fault of the client (server/refusals.ts). A request is the
 * server's until it is answered: its bitmaps are not to be changed before.
 */
import { z } from 'zod';
import type { Decision } from './decision.js';

/** So many extents a file may have: their bytes are within what numbers can tell. */
export const MOST_FILE_EXTENTS = 2 ** 32;
/** Journal extents of one message. */
export const MOST_JOURNAL_AT_ONCE = 512;
/** Extents that one Swap or Commit tells of: with the longest bitmaps they still fit into an engine commit. */
export const MOST_DONE_EXTENTS = 32;

const whole = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const bitmap = z.custom<Uint8Array>((value) => value instanceof Uint8Array, 'not a bitmap');
/** Of clients: a machine and a process, say. */
const client = z.string().min(1).max(100);
/** Of files: what it may be is the server's to say, in words. */
const name = z.string();
const span = z.strictObject({ from: whole, count: whole });
const at = { client, file: whole, index: whole };
const ofTransaction = { client, transaction: whole };
const done = {
  ...ofTransaction,
  extents: z
    .array(z.strictObject({ file: whole, index: whole }))
    .min(1)
    .max(MOST_DONE_EXTENTS)
    .readonly(),
};
const journalExtents = z.array(whole).max(MOST_JOURNAL_AT_ONCE).readonly();

const extentFlags = z.strictObject({
  file: whole,
  index: whole,
  /** null: none is needed, because every block is cleared. */
  journal: whole.nullable(),
  marked: bitmap,
  cleared: bitmap,
});

export const REQUESTS = {
  /** Extents to be used as a journal. Those in `avoid` (of a target that has failed) are not given (paragraph 51). */
  Allocate_Journal_Space: z.strictObject({
    client,
    count: whole.min(1).max(MOST_JOURNAL_AT_ONCE),
    /** Whose reserve may be used. */
    file: whole.optional(),
    avoid: z.array(span).max(64).readonly().optional(),
  }),
  Associate_Data_Journal: z.strictObject({ ...at, journal: whole }),
  /**
   * `starts`: the commit begins; the transaction is whole from now on, whoever dies. Else the flags are kept for
   * a client that comes back, and others see nothing. Associates what is not associated. A size is that of the file
   * from this transaction on; what lies past a smaller one must be cleared in the same transaction. Where no commit
   * starts it is a number of the client's (flag-places.ts), which comes back as it is.
   */
  Harden_Extent_Flags: z.strictObject({
    client,
    extents: z.array(extentFlags).readonly(),
    sizes: z
      .array(z.strictObject({ file: whole, sizeBytes: whole }))
      .max(1024)
      .readonly(),
    starts: z.boolean(),
    /**
     * The caller takes it if all of the transaction is done with it. That is so where nothing of any of its extents has to
     * be copied, and nothing older waits there: then the extents are swapped in the same commit of the log.
     */
    completes: z.boolean().optional(),
  }),
  /** Of several extents, of one transaction. */
  Swap_Data_Journal: z.strictObject(done),
  Commit_Data_Journal: z.strictObject(done),
  /** Before a commit: what was written is discarded. After: nobody reads the extent any more, it can be used again. */
  Disassociate_Journal_Extent: z.strictObject({ client, extents: journalExtents }),
  /** Gives journal extents that are associated with nothing back to the pool. */
  Free_Journal_Space: z.strictObject({ client, extents: journalExtents }),
  /** A page of a transaction's entries that are not done, with all that its completion needs. */
  Read_Transaction: z.strictObject({ ...ofTransaction, from: whole, count: whole.min(1).max(1024) }),
  /** Makes transactions whose client is gone the caller's. A client whose lease has ended gets its own back so. */
  Take_Over: z.strictObject({ client }),
  /** Paragraph 51: the journal's target is lost, and nothing was copied home. */
  Abort_Transaction: z.strictObject({ ...ofTransaction, why: z.string().max(1000) }),

  Create_File: z.strictObject({ client, name, sizeBytes: whole, reserveExtents: whole.optional() }),
  Remove_File: z.strictObject({ client, file: whole }),
  Rename_File: z.strictObject({ client, file: whole, name }),
  List_Files: z.strictObject({ client, after: z.string().optional(), count: whole.min(1).max(1000) }),
  Look_Up_File: z.strictObject({ client, name }),
  Map_Extents: z.strictObject({ client, file: whole, from: whole, count: whole.min(1).max(4096) }),
  Snapshot_File: z.strictObject({ client, file: whole, name }),

  Open_Client: z.strictObject({ client }),
  Renew_Lease: z.strictObject({ client }),
  /** What is not hardened is given up. A client that is to come back does not send it. */
  Close_Client: z.strictObject({ client }),
  /** Another client is known to be dead: its lease ends now. */
  End_Client: z.strictObject({ client, ended: client }),
  Lock_File: z.strictObject({ client, file: whole, mode: z.enum(['read', 'write']) }),
  Unlock_File: z.strictObject({ client, file: whole }),
  Space: z.strictObject({ client }),
} as const;

export type RequestName = keyof typeof REQUESTS;
export type RequestOf<N extends RequestName> = z.infer<(typeof REQUESTS)[N]>;
/** A request with its name. */
export type Message<N extends RequestName = RequestName> = {
  [K in N]: { readonly type: K } & RequestOf<K>;
}[N];
export type ExtentFlags = z.infer<typeof extentFlags>;

export interface FileInfo {
  readonly file: number;
  readonly name: string;
  readonly sizeBytes: number;
  readonly createdMs: number;
  readonly isReadOnly: boolean;
  readonly reservedExtents: number;
  /** The file that it is a snapshot of. */
  readonly snapshotOf: number | null;
}

/** A hardened change of an extent that is not done. */
export interface PendingExtent {
  readonly transaction: number;
  readonly journal: number | null;
  readonly marked: Uint8Array;
  readonly cleared: Uint8Array;
}

export interface MappedExtent {
  readonly index: number;
  readonly extent: number | null;
  readonly used: Uint8Array;
  readonly isShared: boolean;
  /** Oldest first; the later ones lie over the earlier ones. */
  readonly pending: readonly PendingExtent[];
}

export interface TransactionExtent {
  readonly n: number;
  readonly file: number;
  readonly index: number;
  readonly journal: number | null;
  readonly marked: Uint8Array;
  readonly cleared: Uint8Array;
  readonly data: number | null;
  readonly used: Uint8Array;
  readonly isShared: boolean;
  /** An older transaction has this place before it: it is not this one's turn yet. */
  readonly isBlocked: boolean;
}

export interface KeptJournal {
  readonly extent: number;
  /** What it is associated with. */
  readonly file: number;
  readonly index: number;
  /** null: the server was never told. */
  readonly flags: { readonly marked: Uint8Array; readonly cleared: Uint8Array } | null;
}

/** What is left of a client's earlier life. */
export interface OpenedClient {
  readonly isNew: boolean;
  readonly leaseMs: number;
  readonly blocksPerExtent: number;
  readonly extents: number;
  readonly journal: readonly KeptJournal[];
  readonly sizes: readonly { readonly file: number; readonly sizeBytes: number }[];
  readonly locks: readonly { readonly file: number; readonly mode: 'read' | 'write' }[];
  /** Sealed and not done, oldest first: they are the client's to complete. */
  readonly transactions: readonly number[];
}

/** In extents. */
export interface SpaceInfo {
  readonly extents: number;
  readonly free: number;
  readonly reserved: number;
  readonly journal: number;
}

export interface DoneExtent {
  /** The client's journal extents from now on, to be disassociated when nobody reads them any more. */
  readonly journal: readonly number[];
  /** It had been done before. */
  readonly wasDone: boolean;
}

/** An extent that was done with its hardening. */
export interface DoneAtOnce {
  /** As it was before. */
  readonly entry: TransactionExtent;
  readonly decision: Decision;
  /** As of DoneExtent. */
  readonly journal: readonly number[];
}

/** What Swap and Commit answer: in the order in which was asked. */
export interface DoneExtents {
  readonly extents: readonly DoneExtent[];
  /** The whole transaction is done. */
  readonly isTransactionDone: boolean;
}

type Nothing = Readonly<Record<string, never>>;

export interface Replies {
  Allocate_Journal_Space: { readonly extents: readonly number[] };
  Associate_Data_Journal: Nothing;
  /**
   * `transaction`: null where it has no extent, and is done; or it was not to start. `done`: in the order of its extents,
   * where all of it is done.
   */
  Harden_Extent_Flags: {
    readonly transaction: number | null;
    readonly done: readonly DoneAtOnce[] | null;
  };
  Swap_Data_Journal: DoneExtents;
  Commit_Data_Journal: DoneExtents;
  Disassociate_Journal_Extent: Nothing;
  Free_Journal_Space: Nothing;
  /** `next`: where the next page begins; null: this was the last. */
  Read_Transaction: { readonly extents: readonly TransactionExtent[]; readonly next: number | null };
  Take_Over: { readonly transactions: readonly number[] };
  Abort_Transaction: Nothing;
  Create_File: FileInfo;
  Remove_File: Nothing;
  Rename_File: Nothing;
  List_Files: { readonly files: readonly FileInfo[] };
  Look_Up_File: FileInfo;
  Map_Extents: { readonly sizeBytes: number; readonly extents: readonly MappedExtent[] };
  Snapshot_File: FileInfo;
  Open_Client: OpenedClient;
  Renew_Lease: { readonly leaseMs: number };
  Close_Client: Nothing;
  End_Client: Nothing;
  Lock_File: { readonly isGranted: boolean };
  Unlock_File: Nothing;
  Space: SpaceInfo;
}

/** What the server tells clients without being asked. */
export type ServerEvent =
  /** What was looked up of these extents of the file is out of date; null: of all. */
  | { readonly type: 'map-changed'; readonly file: number; readonly indexes: readonly number[] | null }
  | { readonly type: 'file-removed'; readonly file: number }
  /** Another client wants what this one's lock keeps from it. */
  | { readonly type: 'lock-wanted'; readonly file: number; readonly mode: 'read' | 'write' }
  /** A lock that was refused may be had now: ask again. */
  | { readonly type: 'lock-free'; readonly file: number }
  /** The client's lease has ended: what it had not hardened is gone, others complete what it had. */
  | { readonly type: 'lease-ended' };

export interface MetadataService {
  request<N extends RequestName>(message: { readonly type: N } & RequestOf<N>): Promise<Replies[N]>;
  /** The returned function ends it. */
  subscribe(client: string, callback: (event: ServerEvent) => void): () => void;
}
