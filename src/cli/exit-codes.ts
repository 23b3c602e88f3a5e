/**
 * Which exit code belongs to which outcome. Scripts rely on these numbers: they never change their meaning.
 * The table over ErrorCode is total, so a new code does not compile before it has been given its number.
 */
import type { ErrorCode } from '../errors.js';

/** INTERNAL is a fault of ours: something was thrown that is no UserError. */
export type ReportedCode = ErrorCode | 'INTERNAL';

export const EXIT = {
  done: 0,
  failed: 1,
  usage: 2,
  /** Whole, but degraded, dirty, unsynchronized, or differing where it can be repaired. */
  unwell: 3,
  /** Data lost, in doubt or corrupt. */
  lost: 4,
  notFound: 10,
  inUse: 11,
  /** The power was cut, as asked (`crash inject`). */
  powerCut: 75,
  interrupted: 130,
} as const;

const EXIT_CODES: Readonly<Record<ReportedCode, number>> = {
  USAGE: EXIT.usage,
  CONFIRMATION_REQUIRED: EXIT.usage,
  VOLUME_NOT_FOUND: EXIT.notFound,
  FILE_NOT_FOUND: EXIT.notFound,
  FILE_EXISTS: EXIT.failed,
  IN_USE: EXIT.inUse,
  PERMISSION_DENIED: EXIT.failed,
  NOT_BLANK: EXIT.failed,
  IO_ERROR: EXIT.failed,
  NO_SPACE: EXIT.failed,
  OUT_OF_RANGE: EXIT.failed,
  NOT_ASSEMBLED: EXIT.failed,
  UNSUPPORTED: EXIT.failed,
  REFUSED: EXIT.failed,
  DATA_UNAVAILABLE: EXIT.failed,
  METADATA_DAMAGED: EXIT.failed,
  INTERRUPTED: EXIT.interrupted,
  INTERNAL: EXIT.failed,
};

/** The exit code of a command that ended with this error. fsck alone has numbers of its own. */
export function exitCodeOf(code: ReportedCode): number {
  return EXIT_CODES[code];
}

/** What the help of every command says under EXIT CODES; a command adds to it what it alone can end with. */
export const COMMON_EXIT_CODES: Readonly<Record<string, string>> = {
  '0': 'done and well',
  '1': 'failed',
  '2': 'wrong usage, or a confirmation is missing',
  '10': 'no such volume or image',
  '11': 'in use by another process',
  '130': 'interrupted',
};

/** For the commands whose result is the state of a volume. */
export const STATE_EXIT_CODES: Readonly<Record<string, string>> = {
  ...COMMON_EXIT_CODES,
  '3': 'whole, but degraded, dirty, or differing where it can be repaired',
  '4': 'data lost, in doubt or corrupt, or a set that cannot be assembled',
};
