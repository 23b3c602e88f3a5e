/**
 * Runs the built binary as a user would, in a process of its own, and captures what it says. Nothing here
 * reaches into src/: what these tests see is what scripts see.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect } from 'vitest';

export const BINARY = fileURLToPath(new URL('../../bin/run.js', import.meta.url));

export interface RunOptions {
  /** Given on standard input; without it that is closed at once. */
  readonly input?: string | Uint8Array;
  readonly cwd?: string;
  /** Added to the environment; undefined takes a variable away. */
  readonly env?: Readonly<Record<string, string | undefined>>;
  /** As another user (and group of that number); only root may. */
  readonly uid?: number;
  /** Another program than holdfast's own bin/run.js. */
  readonly script?: string;
  /** Called once with the process, to send it signals or read its streams as they come. */
  readonly onStart?: (child: ChildProcess) => void;
}

export interface RunResult {
  /** Of the process, or 128 + signal as a shell has it. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stdoutBytes: Buffer;
  readonly stderr: string;
}

/** The environment without what this test run itself would change in the child. */
function environment(extra: RunOptions['env'] = {}): NodeJS.ProcessEnv {
  const env: NodeJS.ProcessEnv = { ...process.env, ...extra };
  for (const name of ['NODE_ENV', 'NODE_OPTIONS', 'FORCE_COLOR', 'VITEST', 'DEBUG']) {
    if (!(name in extra)) delete env[name];
  }
  for (const [name, value] of Object.entries(extra)) if (value === undefined) delete env[name];
  return env;
}

const SIGNAL_NUMBERS: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGKILL: 9,
  SIGPIPE: 13,
  SIGTERM: 15,
};

function run(program: string, args: readonly string[], options: RunOptions): Promise<RunResult> {
  return new Promise((resolve, reject) => {
    const { cwd, uid } = options;
    const user = uid === undefined ? {} : { uid, gid: uid };
    const child = spawn(program, args, { cwd, env: environment(options.env), stdio: 'pipe', ...user });
    const stdout: Buffer[] = [];
    const stderr: Buffer[] = [];
    child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
    child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
    // A child that does not read its input is no failure of the test's.
    child.stdin.on('error', () => undefined);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const stdoutBytes = Buffer.concat(stdout);
      resolve({
        exitCode: code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0),
        stdout: stdoutBytes.toString('utf8'),
        stdoutBytes,
        stderr: Buffer.concat(stderr).toString('utf8'),
      });
    });
    options.onStart?.(child);
    if (options.onStart === undefined || options.input !== undefined) child.stdin.end(options.input);
  });
}

/** Runs `holdfast ARGS`. */
export function runHoldfast(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  return run(process.execPath, [options.script ?? BINARY, ...args], options);
}

/** What `--json` printed, checked to be one object on one line and nothing beside it. */
export async function runJson(args: readonly string[], options: RunOptions = {}): Promise<JsonResult> {
  const result = await runHoldfast([...args, '--json'], options);
  if (!/^\{.*\}\n$/.test(result.stdout)) {
    throw new Error(
      `not one JSON object: ${JSON.stringify(result.stdout)}; on standard error: ${result.stderr}`,
    );
  }
  return { ...result, json: JSON.parse(result.stdout) as JsonEnvelope };
}

/** The result of `holdfast ARGS`, which all went well. */
export async function ok(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { json } = await runJson(args);
  expect({ args, exitCode: json.exitCode, error: json.error }).toEqual({ args, exitCode: 0 });
  return json.result!;
}

/** And it had nothing to say beside it. */
export async function okQuietly(...args: readonly string[]): Promise<Record<string, unknown>> {
  const { json, stderr } = await runJson(args);
  const { exitCode, error } = json;
  expect({ args, exitCode, error, stderr }).toEqual({ args, exitCode: 0, stderr: '' });
  return json.result!;
}

export interface JsonEnvelope {
  readonly formatVersion: number;
  readonly command: string;
  readonly exitCode: number;
  readonly result?: Record<string, unknown>;
  readonly error?: { code: string; message: string; hint: string; details: Record<string, unknown> };
  readonly warnings: string[];
}

export interface JsonResult extends RunResult {
  readonly json: JsonEnvelope;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

/**
 * Runs `holdfast ARGS` on a terminal (a pty of util-linux' script(1)), where standard output and standard
 * error are one; `answers` is typed once `awaited` was printed, or each answer of `talk` after its question.
 * @throws Error where script(1) is missing: what was not tested must not look tested.
 */
export function runOnTerminal(
  args: readonly string[],
  { answers = '', awaited = '', talk = [[awaited, answers]], ...options }: RunOptions & TerminalTalk = {},
): Promise<RunResult> {
  const words = [process.execPath, options.script ?? BINARY, ...args];
  // A shell that stays would hear Ctrl-C too, and its end would hide holdfast's: bash gives way by itself, dash does not.
  return run(findScript(), ['-qec', `exec ${words.map(quote).join(' ')}`, '/dev/null'], {
    ...options,
    env: { TERM: 'xterm', ...options.env },
    onStart: (child) => typeWhenAsked(child, talk),
  });
}

interface TerminalTalk {
  readonly awaited?: string;
  readonly answers?: string;
  readonly talk?: readonly (readonly [awaited: string, answers: string])[];
}

function typeWhenAsked(child: ChildProcess, talk: Required<TerminalTalk>['talk']): void {
  let seen = '';
  let next = 0;
  child.stdout?.on('data', (chunk: Buffer) => {
    seen += chunk.toString('utf8');
    for (let turn = talk[next]; turn !== undefined && seen.includes(turn[0]); turn = talk[next]) {
      child.stdin?.write(turn[1]);
      next++;
    }
  });
}

function findScript(): string {
  for (const folder of (process.env.PATH ?? '').split(':')) {
    const path = `${folder}/script`;
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not in this folder: the next one, and after the last the error below.
    }
  }
  throw new Error(
    'script(1) of util-linux is not installed: prompts and terminals cannot be tested without it',
  );
}
