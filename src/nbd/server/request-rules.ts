/**
 * Which requests are refused before anything is done: unknown commands and flags, ranges that are not there,
 * writes to what is read-only, sizes that were agreed on and are not kept ("Request types", "Size constraints"
 * and "Error values" of proto.md).
 */
import { COMMAND_FLAGS, COMMANDS } from '../protocol/constants.js';
import type { RequestHeader } from '../protocol/transmission.js';
import type { RequestKind } from './counters.js';
import { FAILURES } from './failures.js';
import type { Failure } from './replies.js';
import type { Agreement } from './session.js';

const {
  NBD_CMD_FLAG_FUA,
  NBD_CMD_FLAG_NO_HOLE,
  NBD_CMD_FLAG_DF,
  NBD_CMD_FLAG_REQ_ONE,
  NBD_CMD_FLAG_FAST_ZERO,
} = COMMAND_FLAGS;

interface Rule {
  readonly kind: RequestKind;
  /** Beside FUA, which every command has. */
  readonly flags: number;
  readonly changes: boolean;
  readonly hasRange: boolean;
  readonly beyondEnd: Failure;
}

const READING = { changes: false, hasRange: true, beyondEnd: FAILURES.beyondEnd };
const CHANGING = { changes: true, hasRange: true, beyondEnd: FAILURES.writeBeyondEnd };

/** By command. */
const RULES: readonly (Rule | undefined)[] = [];
const rules = RULES as Rule[];
rules[COMMANDS.NBD_CMD_READ] = { kind: 'read', flags: NBD_CMD_FLAG_DF, ...READING };
rules[COMMANDS.NBD_CMD_WRITE] = { kind: 'write', flags: 0, ...CHANGING };
rules[COMMANDS.NBD_CMD_FLUSH] = { kind: 'flush', flags: 0, ...READING, hasRange: false };
rules[COMMANDS.NBD_CMD_TRIM] = { kind: 'trim', flags: 0, ...CHANGING, beyondEnd: FAILURES.beyondEnd };
rules[COMMANDS.NBD_CMD_CACHE] = { kind: 'cache', flags: 0, ...READING };
rules[COMMANDS.NBD_CMD_WRITE_ZEROES] = {
  kind: 'write-zeroes',
  flags: NBD_CMD_FLAG_NO_HOLE | NBD_CMD_FLAG_FAST_ZERO,
  ...CHANGING,
};
rules[COMMANDS.NBD_CMD_BLOCK_STATUS] = { kind: 'block-status', flags: NBD_CMD_FLAG_REQ_ONE, ...READING };

export function kindOf(command: number): RequestKind | null {
  return RULES[command]?.kind ?? null;
}

/** Why the request is refused, or null. */
export function refusalOf(request: RequestHeader, agreed: Agreement): Failure | null {
  const rule = RULES[request.command];
  if (rule === undefined) return FAILURES.badCommand;
  if ((request.flags & ~(rule.flags | NBD_CMD_FLAG_FUA)) !== 0) return FAILURES.badFlags;
  if (!rule.hasRange) return request.offset === 0 && request.length === 0 ? null : FAILURES.badFlush;
  if (rule.changes && agreed.served.readOnly) return FAILURES.readOnly;
  return refusalOfRange(request, rule, agreed) ?? refusalOfOne(request, agreed);
}

function refusalOfRange(request: RequestHeader, rule: Rule, agreed: Agreement): Failure | null {
  const { offset, length } = request;
  const { size, sizes } = agreed.served;
  if (offset > size || length > size - offset) return rule.beyondEnd;
  const { minimum } = sizes;
  if (agreed.keepsSizes && (offset % minimum !== 0 || length % minimum !== 0)) return FAILURES.unaligned;
  return null;
}

/** What holds for single commands. */
function refusalOfOne({ command, flags, length }: RequestHeader, agreed: Agreement): Failure | null {
  const { structured, served } = agreed;
  const isTooLong = length > served.sizes.maximumPayload;
  switch (command) {
    case COMMANDS.NBD_CMD_READ:
      if ((flags & NBD_CMD_FLAG_DF) !== 0 && !structured) return FAILURES.badFlags;
      if (!isTooLong) return null;
      return structured ? FAILURES.tooLongToRead : FAILURES.tooLong;
    case COMMANDS.NBD_CMD_WRITE:
      return isTooLong ? FAILURES.tooLong : null;
    case COMMANDS.NBD_CMD_BLOCK_STATUS:
      if (agreed.contexts.length === 0) return FAILURES.noContext;
      return length === 0 ? FAILURES.noLength : null;
    default:
      return null;
  }
}
