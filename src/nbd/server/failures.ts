/**
 * What a client is told of a request that fails: the protocol's error number, and a sentence that gives away
 * nothing of the server's files ("Error values" of proto.md says which number is for what).
 */
import { UserError } from '../../errors.js';
import { ERRORS } from '../protocol/constants.js';
import type { Failure } from './replies.js';

export const FAILURES = {
  readOnly: { error: ERRORS.NBD_EPERM, message: 'the export is read-only' },
  beyondEnd: { error: ERRORS.NBD_EINVAL, message: 'the request ends beyond the export' },
  writeBeyondEnd: { error: ERRORS.NBD_ENOSPC, message: 'the request ends beyond the export' },
  unaligned: { error: ERRORS.NBD_EINVAL, message: 'the request is not aligned to the minimum block size' },
  badFlags: { error: ERRORS.NBD_EINVAL, message: 'a flag that this command does not have here' },
  badCommand: { error: ERRORS.NBD_EINVAL, message: 'an unknown command' },
  badFlush: { error: ERRORS.NBD_EINVAL, message: 'a flush has neither offset nor length' },
  tooLong: { error: ERRORS.NBD_EINVAL, message: 'the payload is larger than the export takes' },
  tooLongToRead: { error: ERRORS.NBD_EOVERFLOW, message: 'the payload is larger than the export gives' },
  noContext: { error: ERRORS.NBD_EINVAL, message: 'no metadata context was selected for this export' },
  noLength: { error: ERRORS.NBD_EINVAL, message: 'the status of no bytes' },
  notFast: { error: ERRORS.NBD_ENOTSUP, message: 'zeroing would be no faster than writing' },
  stopping: { error: ERRORS.NBD_ESHUTDOWN, message: 'the server is being stopped' },
  device: { error: ERRORS.NBD_EIO, message: 'the device failed' },
  deviceFull: { error: ERRORS.NBD_ENOSPC, message: 'no space is left below the device' },
  deviceRefused: { error: ERRORS.NBD_EPERM, message: 'the device may not be changed' },
} as const satisfies Record<string, Failure>;

/** For what a device threw. What is no UserError is a fault of ours: to the client an I/O error like others. */
export function failureOf(error: unknown): Failure {
  if (!(error instanceof UserError)) return FAILURES.device;
  if (error.code === 'NO_SPACE') return FAILURES.deviceFull;
  return error.code === 'PERMISSION_DENIED' ? FAILURES.deviceRefused : FAILURES.device;
}
