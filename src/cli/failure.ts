/**
 * What is told of an error. A UserError is the user's to act on and is shown as it is; all else that was
 * thrown is a fault of ours, is called so, and keeps its stack for the report.
 */
import { UserError } from '../errors.js';
import type { ReportedCode } from './exit-codes.js';

export interface Failure {
  readonly code: ReportedCode;
  readonly message: string;
  /** '' where there is nothing to try. */
  readonly hint: string;
  readonly details: Readonly<Record<string, unknown>>;
}

export const FAULT_HINT = "this is a fault of holdfast's, please report it with the lines above";

export function toFailure(error: unknown): Failure {
  if (error instanceof UserError) {
    return { code: error.code, message: error.message, hint: error.hint ?? '', details: error.details };
  }
  const thrown = error instanceof Error ? error : new Error(`not an error was thrown: ${String(error)}`);
  return {
    code: 'INTERNAL',
    message: `internal error: ${thrown.message}`,
    hint: FAULT_HINT,
    details: { stack: stackOf(thrown) },
  };
}

/** The stack with those of its causes, as the first cause is what a report needs. */
function stackOf(error: Error): string {
  const own = error.stack ?? `${error.name}: ${error.message}`;
  return error.cause instanceof Error ? `${own}\nCaused by: ${stackOf(error.cause)}` : own;
}

/**
 * The interruption itself where work ended because of it: whatever was thrown while the signal stood (an
 * AbortError of the platform, an operation that was cut off) says less than that the user asked for it.
 */
export function unlessInterrupted(error: unknown, signal: AbortSignal): unknown {
  if (!signal.aborted || error instanceof UserError) return error;
  const isAbort = error instanceof Error && (error.name === 'AbortError' || error === signal.reason);
  return isAbort ? signal.reason : error;
}
