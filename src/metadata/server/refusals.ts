/**
 * The refusals of the metadata server. A user can act on a name that is taken or a pool that is full; a message that
 * breaks the protocol is the client's own fault: REFUSED with `fault: 'protocol'` in the details, so that it is
 * told apart also when it came over a socket.
 */
import { type ErrorCode, UserError } from '../../errors.js';

export function refuse(
  code: ErrorCode,
  message: string,
  hint?: string,
  details: Record<string, unknown> = {},
): UserError {
  return new UserError(code, message, { ...(hint === undefined ? {} : { hint }), details });
}

/** The client did what it must not. */
export function breach(message: string, details: Record<string, unknown> = {}): UserError {
  return new UserError('REFUSED', `the metadata server refuses: ${message}`, {
    details: { ...details, fault: 'protocol' },
  });
}

export function isBreach(error: unknown): boolean {
  return error instanceof UserError && error.details.fault === 'protocol';
}

export function noSuchFile(file: number | string): UserError {
  const what =
    typeof file === 'string' ? `no file is called ${JSON.stringify(file)}` : `there is no file ${file}`;
  return refuse('FILE_NOT_FOUND', what, 'holdfast file list', { file });
}

export function poolFull(wanted: number, free: number, reserved: number): UserError {
  return refuse(
    'NO_SPACE',
    `the pool has no room for ${wanted} more extents: ${free} are free, of which ${reserved} are reserved`,
    'Remove files or snapshots, or commit what is in the journal.',
    { wantedExtents: wanted, freeExtents: free, reservedExtents: reserved },
  );
}
