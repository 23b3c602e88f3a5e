/**
 * Has the operating system fail, or interrupt, at a call that is counted: a library in C that is compiled on
 * the spot and preloaded into holdfast.
 */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('failing-calls.c', import.meta.url));

export interface CallsToFail {
  /** What the names of the files end with. */
  readonly files: string;
  /** Any of the letters w (write), f (flush), r (read). */
  readonly calls: string;
  /** How many go well first. */
  readonly after: number;
  /** Sent instead of a failure. */
  readonly signal?: 'SIGINT' | 'SIGKILL';
  /** Gets one line for every write (w) and flush (f) of any file and every failure (!): kind, offset, path. */
  readonly log?: string;
}

const SIGNALS = { SIGINT: '2', SIGKILL: '9' } as const;

export type FailingCalls = (what: CallsToFail) => Record<string, string>;

/** Gives environments for holdfast in which calls fail; null where there is no compiler. */
export function compileFailingCalls(folder: string): FailingCalls | null {
  const library = join(folder, 'failing-calls.so');
  try {
    execFileSync('cc', ['-shared', '-fPIC', '-O1', '-Wall', '-o', library, SOURCE, '-ldl'], {
      stdio: 'pipe',
    });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null;
    throw error;
  }
  return ({ files, calls, after, signal, log }) => ({
    LD_PRELOAD: library,
    // Node can leave its calls to the kernel's own queue, past the library.
    UV_USE_IO_URING: '0',
    FAILING_FILES: files,
    FAILING_CALLS: calls,
    FAILING_AFTER: String(after),
    ...(signal === undefined ? {} : { FAILING_SIGNAL: SIGNALS[signal] }),
    ...(log === undefined ? {} : { FAILING_LOG: log }),
  });
}
