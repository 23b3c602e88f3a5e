/**
 * Errors of the operating system as errors of a device: which code stands for what a user can act on, and the
 * sentence that names the device, the operation and the place.
 */
import { type ErrorCode, UserError } from '../errors.js';
import { DeviceError, type DeviceFault } from './contract.js';

const CODES: Readonly<Record<string, ErrorCode>> = {
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
  EFBIG: 'NO_SPACE',
  EACCES: 'PERMISSION_DENIED',
  EPERM: 'PERMISSION_DENIED',
  EROFS: 'PERMISSION_DENIED',
  ENOENT: 'VOLUME_NOT_FOUND',
  ENOTDIR: 'VOLUME_NOT_FOUND',
  EBUSY: 'IN_USE',
  EEXIST: 'NOT_BLANK',
};

const HINTS: Readonly<Partial<Record<ErrorCode, string>>> = {
  NO_SPACE: 'Free space (or raise the quota or the limit of file sizes) on the filesystem that holds it.',
  PERMISSION_DENIED: 'Check the permissions of the file, of its directory and of the mount.',
  VOLUME_NOT_FOUND: 'Check the path.',
  IN_USE: 'Unmount or stop what uses it.',
  NOT_BLANK: 'Nothing was created or changed: choose another name, or use the file that is there.',
};

/** The name of a system error, such as ENOSPC; undefined for what is none. */
export function systemCode(cause: unknown): string | undefined {
  if (typeof cause !== 'object' || cause === null || !('code' in cause)) return undefined;
  return typeof cause.code === 'string' ? cause.code : undefined;
}

/** "write of 4096 bytes at offset 8192", with as much of it as the fault has. */
function describe(fault: DeviceFault): string {
  const length = fault.length === undefined ? '' : ` of ${fault.length} bytes`;
  const offset = fault.offset === undefined ? '' : ` at offset ${fault.offset}`;
  return `${fault.operation}${length}${offset}`;
}

/**
 * `cause` as a DeviceError. One that is a DeviceError already (a lower device's, which names the image that
 * failed) stays as it is; an error that a user can act on keeps its code. Anything that is neither that nor the
 * operating system's is a fault of ours and is thrown on: to call it a failed disk would have members
 * thrown out for a bug.
 */
export function toDeviceError(cause: unknown, fault: Omit<DeviceFault, 'cause'>): DeviceError {
  if (cause instanceof DeviceError) return cause;
  if (cause instanceof UserError) {
    return new DeviceError(cause.code, cause.message, { ...fault, cause }, cause.hint, cause.details);
  }
  const system = systemCode(cause);
  if (system === undefined || !(cause instanceof Error)) throw cause;
  const code = CODES[system] ?? 'IO_ERROR';
  return new DeviceError(
    code,
    `${fault.device}: ${describe(fault)} failed: ${cause.message}`,
    { ...fault, cause },
    HINTS[code],
  );
}

/** Of a file beside the images, these say the same; that it is not there, or there, says nothing of a volume. */
const CODES_OF_FILES: readonly (ErrorCode | undefined)[] = ['NO_SPACE', 'PERMISSION_DENIED'];

/**
 * What the operating system said of a file or directory that is no device, as an error that names it; `what`
 * is what could not be done with it: "read", "made". Anything else is a fault of ours and stays what it is.
 */
export function fileError(path: string, what: string, cause: unknown): unknown {
  const system = systemCode(cause);
  if (system === undefined || !(cause instanceof Error) || !('syscall' in cause)) return cause;
  const known = CODES[system];
  const code = known !== undefined && CODES_OF_FILES.includes(known) ? known : 'IO_ERROR';
  const hint = HINTS[code];
  return new UserError(code, `${path}: cannot be ${what}: ${cause.message}`, {
    ...(hint === undefined ? {} : { hint }),
    details: { file: path },
    cause,
  });
}

/** A call that was refused before a byte moved. */
export function refusal(code: ErrorCode, why: string, fault: DeviceFault, hint?: string): DeviceError {
  return new DeviceError(
    code,
    `${fault.device}: ${describe(fault)} refused: ${why}`,
    fault,
    hint ?? HINTS[code],
  );
}

/** The disk (quota, limit) below a device is full: what the device holds is as good as it was. */
export function isNoSpace(error: unknown): boolean {
  return error instanceof DeviceError && error.code === 'NO_SPACE';
}
