/**
 * How a connection can go wrong, told apart by what may be done about it: try again, or not.
 *
 * Every message names the server by its URI (NbdTarget.name, which has no secrets).
 */
import { type ErrorCode, UserError } from '../../errors.js';
import { ERRORS, nameOf } from '../protocol/constants.js';
import { addressText, type NbdTarget } from './uri.js';

/** There is no connection, or none any more. What was asked for may have been done or not; another try may help. */
export class ConnectionLost extends UserError {
  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown; image: string }) {
    const { image, ...rest } = options;
    super(code, message, { ...rest, details: { image } });
    this.name = 'ConnectionLost';
  }
}

/** The server has answered, and what it said is final for this target. */
export function refusedBy(target: NbdTarget, code: ErrorCode, why: string, hint?: string): UserError {
  return new UserError(code, `${target.name}: ${why}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { image: target.name },
  });
}

export function lost(target: NbdTarget, why: string, cause?: unknown): ConnectionLost {
  return new ConnectionLost('IO_ERROR', `${target.name}: ${why}`, { image: target.name, cause });
}

/** What the operating system said of connecting. Anything may change while a server is started again. */
export function cannotConnect(target: NbdTarget, cause: NodeJS.ErrnoException): ConnectionLost {
  const where = addressText(target.address);
  const [code, why, hint] = reasons(target, where)[cause.code ?? ''] ?? [
    'IO_ERROR' as const,
    `cannot be connected to: ${cause.message || cause.code}`,
    'Check the address, and that the server runs.',
  ];
  return new ConnectionLost(code, `${target.name}: ${why}`, { image: target.name, hint, cause });
}

function reasons(target: NbdTarget, where: string): Readonly<Record<string, [ErrorCode, string, string]>> {
  const start = 'Start the server, or check the address.';
  const isUnix = target.address.kind === 'unix';
  return {
    ECONNREFUSED: ['IO_ERROR', `no server listens at ${where} (connection refused)`, start],
    ENOENT: ['VOLUME_NOT_FOUND', `there is no socket ${where}`, start],
    ENOTSOCK: ['UNSUPPORTED', `${where} is no socket`, start],
    ENOTFOUND: ['VOLUME_NOT_FOUND', `no host is called ${where}`, 'Check the name of the host.'],
    EACCES: [
      'PERMISSION_DENIED',
      `${where} may not be connected to (permission denied)`,
      isUnix
        ? 'Check the permissions of the socket and of its directory.'
        : 'Check the rules of the firewall.',
    ],
  };
}

/** A request that the server answered with an error; `code` is the system's name of it, such as ENOSPC. */
export class AnsweredError extends Error {
  readonly code: string;

  constructor(error: number, text: string) {
    // proto.md, "Error values": an unexpected one is to be taken for EINVAL.
    const name = nameOf(ERRORS, error).replace(/^NBD_/, '');
    const isKnown = !/^\d/.test(name);
    super(
      `the server answered ${isKnown ? name : `error ${error}`}${text === '' ? '' : ` (${printed(text)})`}`,
    );
    this.name = 'AnsweredError';
    this.code = isKnown ? name : 'EINVAL';
  }
}

/** Words of a server's, fit for one line of ours. */
export function printed(text: string): string {
  return text.replace(/\p{Cc}+/gu, ' ').trim();
}
