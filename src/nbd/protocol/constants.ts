/**
 * The numbers of the NBD protocol, by the names that they have in doc/proto.md of NetworkBlockDevice/nbd
 * (called "proto.md" in this folder), section "Values". Only those of the base protocol: the experimental
 * extensions are not spoken here.
 */

/** "NBDMAGIC", the first of the two 64-bit magics that a server greets with. */
export const NBDMAGIC = 0x4e42444d41474943n;
/** "IHAVEOPT": the second of them, and before each option. */
export const IHAVEOPT = 0x49484156454f5054n;
/** Of an old-style server's greeting, in place of IHAVEOPT. */
export const CLISERV_MAGIC = 0x00420281861253n;
export const NBD_REP_MAGIC = 0x3e889045565a9n;
export const NBD_REQUEST_MAGIC = 0x25609513;
export const NBD_SIMPLE_REPLY_MAGIC = 0x67446698;
export const NBD_STRUCTURED_REPLY_MAGIC = 0x668e33ef;

/** "A string MUST be no longer than 4096 bytes" (Conventions). */
export const MAX_STRING_BYTES = 4096;
/** Reserved bytes after the answer to EXPORT_NAME, unless NBD_FLAG_C_NO_ZEROES was agreed on. */
export const EXPORT_NAME_PADDING_BYTES = 124;
/** IANA's port of NBD. */
export const NBD_PORT = 10809;
/** What is sure to be taken where no sizes were agreed on ("Size constraints"). */
export const DEFAULT_MAX_PAYLOAD_BYTES = 32 * 1024 * 1024;
/** A read with NBD_CMD_FLAG_DF of at most this many bytes may not be refused as too large. */
export const MIN_UNFRAGMENTED_BYTES = 65536;
/** "SHOULD NOT send more than 2^20 status descriptors in a single chunk." */
export const MAX_STATUS_DESCRIPTORS = 2 ** 20;
export const MAX_MIN_BLOCK_BYTES = 65536;

/** Of the server, 16 bits. */
export const HANDSHAKE_FLAGS = { NBD_FLAG_FIXED_NEWSTYLE: 1 << 0, NBD_FLAG_NO_ZEROES: 1 << 1 } as const;

/** The client's answer, 32 bits. */
export const CLIENT_FLAGS = { NBD_FLAG_C_FIXED_NEWSTYLE: 1 << 0, NBD_FLAG_C_NO_ZEROES: 1 << 1 } as const;

/** What an export can do, 16 bits. */
export const TRANSMISSION_FLAGS = {
  NBD_FLAG_HAS_FLAGS: 1 << 0,
  NBD_FLAG_READ_ONLY: 1 << 1,
  NBD_FLAG_SEND_FLUSH: 1 << 2,
  NBD_FLAG_SEND_FUA: 1 << 3,
  NBD_FLAG_ROTATIONAL: 1 << 4,
  NBD_FLAG_SEND_TRIM: 1 << 5,
  NBD_FLAG_SEND_WRITE_ZEROES: 1 << 6,
  NBD_FLAG_SEND_DF: 1 << 7,
  NBD_FLAG_CAN_MULTI_CONN: 1 << 8,
  NBD_FLAG_SEND_RESIZE: 1 << 9,
  NBD_FLAG_SEND_CACHE: 1 << 10,
  NBD_FLAG_SEND_FAST_ZERO: 1 << 11,
} as const;

export const OPTIONS = {
  NBD_OPT_EXPORT_NAME: 1,
  NBD_OPT_ABORT: 2,
  NBD_OPT_LIST: 3,
  NBD_OPT_PEEK_EXPORT: 4,
  NBD_OPT_STARTTLS: 5,
  NBD_OPT_INFO: 6,
  NBD_OPT_GO: 7,
  NBD_OPT_STRUCTURED_REPLY: 8,
  NBD_OPT_LIST_META_CONTEXT: 9,
  NBD_OPT_SET_META_CONTEXT: 10,
  NBD_OPT_EXTENDED_HEADERS: 11,
} as const;

/**
 * Options of holdfast's own, beside the document: numbers far from those that it gives out. Servers that do not know them
 * answer NBD_REP_ERR_UNSUP, as to any they do not know ("Option types"). docs/nbd.md draws them.
 */
export const OWN_OPTIONS = {
  /** "hfsc". A place for the secondary of a replicated volume. */
  NBD_OPT_HOLDFAST_SECONDARY: 0x68667363,
} as const;

/** The type of replies to all of them; what they hold belongs to the option. */
export const NBD_REP_HOLDFAST = 0x68660001;

/** Replies to options. */
export const REPLIES = {
  NBD_REP_ACK: 1,
  NBD_REP_SERVER: 2,
  NBD_REP_INFO: 3,
  NBD_REP_META_CONTEXT: 4,
} as const;

/** Set in every reply that refuses an option. */
export const REPLY_ERROR_BIT = 2 ** 31;

export const ERROR_REPLIES = {
  NBD_REP_ERR_UNSUP: REPLY_ERROR_BIT + 1,
  NBD_REP_ERR_POLICY: REPLY_ERROR_BIT + 2,
  NBD_REP_ERR_INVALID: REPLY_ERROR_BIT + 3,
  NBD_REP_ERR_PLATFORM: REPLY_ERROR_BIT + 4,
  NBD_REP_ERR_TLS_REQD: REPLY_ERROR_BIT + 5,
  NBD_REP_ERR_UNKNOWN: REPLY_ERROR_BIT + 6,
  NBD_REP_ERR_SHUTDOWN: REPLY_ERROR_BIT + 7,
  NBD_REP_ERR_BLOCK_SIZE_REQD: REPLY_ERROR_BIT + 8,
  NBD_REP_ERR_TOO_BIG: REPLY_ERROR_BIT + 9,
  NBD_REP_ERR_EXT_HEADER_REQD: REPLY_ERROR_BIT + 10,
} as const;

/** What NBD_OPT_INFO and NBD_OPT_GO ask for and are told in NBD_REP_INFO. */
export const INFOS = {
  NBD_INFO_EXPORT: 0,
  NBD_INFO_NAME: 1,
  NBD_INFO_DESCRIPTION: 2,
  NBD_INFO_BLOCK_SIZE: 3,
} as const;

export const COMMANDS = {
  NBD_CMD_READ: 0,
  NBD_CMD_WRITE: 1,
  NBD_CMD_DISC: 2,
  NBD_CMD_FLUSH: 3,
  NBD_CMD_TRIM: 4,
  NBD_CMD_CACHE: 5,
  NBD_CMD_WRITE_ZEROES: 6,
  NBD_CMD_BLOCK_STATUS: 7,
} as const;

export const COMMAND_FLAGS = {
  NBD_CMD_FLAG_FUA: 1 << 0,
  NBD_CMD_FLAG_NO_HOLE: 1 << 1,
  NBD_CMD_FLAG_DF: 1 << 2,
  NBD_CMD_FLAG_REQ_ONE: 1 << 3,
  NBD_CMD_FLAG_FAST_ZERO: 1 << 4,
} as const;

/** Of a structured reply's chunk. */
export const REPLY_FLAGS = { NBD_REPLY_FLAG_DONE: 1 << 0 } as const;

/** Set in the type of every chunk that tells of an error. */
export const CHUNK_ERROR_BIT = 2 ** 15;

/** Types of a structured reply's chunks. */
export const CHUNKS = {
  NBD_REPLY_TYPE_NONE: 0,
  NBD_REPLY_TYPE_OFFSET_DATA: 1,
  NBD_REPLY_TYPE_OFFSET_HOLE: 2,
  NBD_REPLY_TYPE_BLOCK_STATUS: 5,
  NBD_REPLY_TYPE_ERROR: CHUNK_ERROR_BIT + 1,
  NBD_REPLY_TYPE_ERROR_OFFSET: CHUNK_ERROR_BIT + 2,
} as const;

/** Flags of a descriptor of the context base:allocation. */
export const ALLOCATION_FLAGS = { NBD_STATE_HOLE: 1 << 0, NBD_STATE_ZERO: 1 << 1 } as const;

/** The context that this document itself defines. */
export const BASE_ALLOCATION = 'base:allocation';

/** Of replies to requests. */
export const ERRORS = {
  NBD_EPERM: 1,
  NBD_EIO: 5,
  NBD_ENOMEM: 12,
  NBD_EINVAL: 22,
  NBD_ENOSPC: 28,
  NBD_EOVERFLOW: 75,
  NBD_ENOTSUP: 95,
  NBD_ESHUTDOWN: 108,
} as const;

/** The name of a number in one of the tables above, for messages; the number itself where it has none. */
export function nameOf(table: Readonly<Record<string, number>>, value: number): string {
  return Object.entries(table).find(([, number]) => number === value)?.[0] ?? String(value);
}
