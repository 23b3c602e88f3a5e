/**
 * The errors that a user can act on. Anything else that is thrown is a fault of ours and is reported as
 * such. What exit code belongs to which error is the command line's business (src/cli/exit-codes.ts).
 */

export type ErrorCode =
  | 'USAGE'
  | 'CONFIRMATION_REQUIRED'
  | 'VOLUME_NOT_FOUND'
  | 'FILE_NOT_FOUND'
  | 'FILE_EXISTS'
  | 'IN_USE'
  | 'PERMISSION_DENIED'
  | 'NOT_BLANK'
  | 'IO_ERROR'
  | 'NO_SPACE'
  | 'OUT_OF_RANGE'
  | 'NOT_ASSEMBLED'
  | 'UNSUPPORTED'
  | 'REFUSED'
  | 'DATA_UNAVAILABLE'
  | 'METADATA_DAMAGED'
  | 'INTERRUPTED';

export interface UserErrorOptions {
  /** What to try next: one sentence, or a command. */
  hint?: string;
  /** Facts for scripts: image, offsetBytes, lengthBytes and the like. */
  details?: Record<string, unknown>;
  cause?: unknown;
}

/** An error whose message is written for the user: what failed, on which image, at which offset. */
export class UserError extends Error {
  readonly hint: string | undefined;
  readonly details: Record<string, unknown>;

  constructor(
    readonly code: ErrorCode,
    message: string,
    options: UserErrorOptions = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'UserError';
    this.hint = options.hint;
    this.details = options.details ?? {};
  }
}
