/**
 * The crash lab finds a flush that a program has forgotten: a small log-structured store is recorded with and without that fault, and what
 * power cuts may leave of it is explored.
 */
import { packagePath } from '../package-root.js';
import type { Runner } from './runner.js';

/** As many values as it takes until a segment is cleaned. */
const VALUES = '9';
const PROGRAMS = ['dist', 'src', 'demo', 'log-store'] as const;

interface Explored {
  readonly states: number;
  readonly isExhaustive: boolean;
  readonly failures: readonly { readonly output: string; readonly text: string }[];
}

export async function findForgottenFlush(runner: Runner): Promise<void> {
  runner.title(
    'A program of somebody else, a store that writes a log, is recorded on a disk; it has forgotten a flush',
  );
  await record(runner, 'hasty', ['--hasty']);
  const found = await explore(runner, 'hasty', 4);
  const [failure] = found.failures;
  runner.check(
    'the crash lab finds a power cut that loses what was acknowledged',
    failure?.output.includes('was acknowledged, and is gone') === true,
    JSON.stringify(found),
  );
  for (const line of `${failure!.output}${failure!.text}`.trimEnd().split('\n')) runner.note(`    ${line}`);
  runner.title('The same program, with that flush');
  await record(runner, 'mended', []);
  const mended = await explore(runner, 'mended', 0);
  runner.check(
    `whatever a power cut leaves of it, what was acknowledged is there: ${mended.states} states, all that there are`,
    mended.failures.length === 0 && mended.isExhaustive && mended.states > 0,
    JSON.stringify(mended),
  );
}

async function record(runner: Runner, name: string, flags: readonly string[]): Promise<void> {
  const disk = [`${name}.img`, '--size', '16KiB', '--trace', `${name}.trace`];
  const program = [process.execPath, packagePath(...PROGRAMS, 'append.js'), VALUES, ...flags];
  await runner.holdfast(['crash', 'record', ...disk, '--', ...program]);
}

function explore(runner: Runner, name: string, exitCode: number): Promise<Explored> {
  const check = `"${process.execPath}" "${packagePath(...PROGRAMS, 'check.js')}"`;
  return runner.result<Explored>(['crash', 'explore', `${name}.trace`, '--check', check], [exitCode]);
}
