/**
 * What all commands share, seen from outside: sample commands (test/cli/sample) on the built base class, each
 * run in a process of its own.
 */
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type RunOptions, runHoldfast, runJson, runOnTerminal } from '../support/run-holdfast.js';

const script = fileURLToPath(new URL('sample/run.js', import.meta.url));
const sample = (args: readonly string[], options: RunOptions = {}) =>
  runHoldfast(args, { script, ...options });
const sampleJson = (args: readonly string[]) => runJson(args, { script });

describe('an outcome', () => {
  it('is words on standard output, and exit code 0', async () => {
    const { exitCode, stdout, stderr } = await sample(['end']);
    expect({ exitCode, stdout, stderr }).toEqual({
      exitCode: 0,
      stdout: 'Name:   vol\nState:  clean\n',
      stderr: '',
    });
  });

  it.each([3, 4])('may have a verdict: %d', async (verdict) => {
    const { exitCode, json } = await sampleJson(['end', '--verdict', String(verdict)]);
    expect(exitCode).toBe(verdict);
    expect(json).toMatchObject({
      formatVersion: 1,
      command: 'end',
      exitCode: verdict,
      result: { sizeBytes: 0 },
    });
    expect(json.error).toBeUndefined();
  });

  it('has its warnings: on standard error for people, in the object for scripts', async () => {
    const people = await sample(['end', '--warning', 'one', '--warning', 'two']);
    expect(people.stderr).toBe('Warning: one\nWarning: two\n');
    const scripts = await sampleJson(['end', '--warning', 'one', '--warning', 'two']);
    expect(scripts.json.warnings).toEqual(['one', 'two']);
    expect(scripts.stderr).toBe('');
  });

  it('that cannot be delivered is a failure', async () => {
    const shell = `"$0" "$1" end > /dev/full`;
    const { exitCode, stderr } = await runShell(shell);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^Error: cannot write to standard output: ENOSPC/);
  });

  it('under --json that cannot be delivered is told on standard error', async () => {
    const { exitCode, stderr } = await runShell(`"$0" "$1" end --json > /dev/full`);
    expect(exitCode).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ exitCode: 1, error: { code: 'IO_ERROR' } });
  });
});

/** In the shell's words $0 is node and $1 the sample program. */
function runShell(shell: string) {
  return runHoldfast([process.execPath, script], {
    script: fileURLToPath(new URL('sample/shell.js', import.meta.url)),
    env: { SHELL_LINE: shell },
  });
}

describe('an error', () => {
  it('says what failed and what to try, without a stack', async () => {
    const { exitCode, stdout, stderr } = await sample(['end', '--code', 'IO_ERROR']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toBe('Error: a.img: cannot read at vol\nHint: try another\n');
  });

  it.each([
    ['VOLUME_NOT_FOUND', 10],
    ['IN_USE', 11],
    ['CONFIRMATION_REQUIRED', 2],
    ['REFUSED', 1],
    ['INTERRUPTED', 130],
  ])('%s is one object under --json, with exit code %d', async (code, expected) => {
    const { exitCode, json, stderr } = await sampleJson(['end', '--code', code, '--warning', 'w']);
    expect(exitCode).toBe(expected);
    expect(stderr).toBe('');
    expect(json).toEqual({
      formatVersion: 1,
      command: 'end',
      exitCode: expected,
      error: {
        code,
        message: 'a.img: cannot read at vol',
        hint: 'try another',
        details: { image: 'a.img', offsetBytes: 4096 },
      },
      warnings: ['w'],
    });
  });

  it('does not obey control characters that it names', async () => {
    const { stderr } = await sample(['end', '--code', 'IO_ERROR', '--name', 'a\u001b[2J']);
    expect(stderr).toContain('a\\x1b[2J');
  });

  it('that is a fault of ours says so, with its stack', async () => {
    const { exitCode, stderr } = await sample(['end', '--fault']);
    expect(exitCode).toBe(1);
    expect(stderr).toMatch(/^Error: internal error: x is not a function\n/);
    expect(stderr).toMatch(/at .*end\.js/);
    expect(stderr).toMatch(/please report/);
    const { json } = await sampleJson(['end', '--fault']);
    expect(json.error).toMatchObject({
      code: 'INTERNAL',
      details: { stack: expect.stringContaining('first cause') },
    });
  });

  it('that nobody waited for is told as well', async () => {
    const { exitCode, json } = await sampleJson(['end', '--late']);
    expect(exitCode).toBe(1);
    expect(json.error).toMatchObject({ code: 'INTERNAL', message: 'internal error: too late' });
  });
});

describe('wrong usage', () => {
  it.each([
    [['end', '--verdct', '3'], 'unknown flag: --verdct', 'did you mean --verdict?'],
    [['end', '--verdct=3'], 'unknown flag: --verdct', 'did you mean --verdict?'],
    [
      ['end', '--layout', 'left-symetric'],
      '--layout cannot be "left-symetric"',
      'did you mean "left-symmetric"?',
    ],
    [['end', '--size', '1.5G'], '--size: "1.5G" is not a size', 'sizes are written like'],
    [['end', '--size', '512'], '--size is 512 bytes: at least 4 KiB (4096 bytes)', ''],
    [['end', '--size'], '--size expects a value', 'see holdfast end --help'],
    [['end', '--verdict', '-1'], '--verdict cannot be "-1"', ''],
    [['end', 'more'], 'unexpected: more', 'see holdfast end --help'],
    [['box', 'remove'], 'missing: VOLUME', 'see holdfast box remove --help'],
    [['box', 'remov', 'v'], 'there is no command "box remov"', 'did you mean "holdfast box remove"?'],
    [['bx'], 'there is no command "bx"', 'did you mean "holdfast box"?'],
    [['strem', '--help'], 'there is no command "strem"', 'did you mean "holdfast stream"?'],
  ])('%j: 2, one sentence and a hint, for people and scripts', async (args, message, hint) => {
    const [people, { exitCode, json }] = await Promise.all([sample(args), sampleJson(args)]);
    expect(people.exitCode).toBe(2);
    expect(people.stdout).toBe('');
    expect(people.stderr).toContain(`Error: ${message}`);
    if (hint !== '') expect(people.stderr).toContain(`Hint: ${hint}`);
    expect(people.stderr.trimEnd().split('\n').length).toBeLessThanOrEqual(2);
    expect(exitCode).toBe(2);
    expect(json.error).toMatchObject({ code: 'USAGE', message: expect.stringContaining(message) });
    expect(json.error?.hint).toContain(hint);
    expect(Object.keys(json).sort()).toEqual(['command', 'error', 'exitCode', 'formatVersion', 'warnings']);
  });
});

describe('a destructive command', () => {
  it('off a terminal wants --yes', async () => {
    const { exitCode, json } = await sampleJson(['box', 'remove', 'v']);
    expect(exitCode).toBe(2);
    expect(json.error).toMatchObject({
      code: 'CONFIRMATION_REQUIRED',
      hint: expect.stringContaining('--yes'),
    });
  });

  it('takes no --force for a yes', async () => {
    expect((await sample(['box', 'remove', 'v', '--force'])).exitCode).toBe(2);
  });

  it('does it with --yes, for all that were named', async () => {
    const { exitCode, json } = await sampleJson(['box', 'remove', 'v', 'w', '--yes']);
    expect(exitCode).toBe(0);
    expect(json).toMatchObject({ command: 'box remove', result: { removed: ['v', 'w'] } });
  });

  it('with --dry-run asks nothing and does nothing', async () => {
    const { exitCode, json } = await sampleJson(['box', 'remove', 'v', '--dry-run']);
    expect(exitCode).toBe(0);
    expect(json.result).toEqual({ removed: [] });
  });

  it('does not take standard input for its arguments', async () => {
    const { exitCode, stderr } = await sample(['box', 'remove', '--yes'], { input: 'from-stdin\n' });
    expect(exitCode).toBe(2);
    expect(stderr).toContain('missing: VOLUME');
  });
});

describe('on a terminal', () => {
  const onTerminal = (args: readonly string[], answers = '', awaited = '') =>
    runOnTerminal(args, { script, answers, awaited });
  const question = 'Remove all of it?';

  it('a destructive command asks, and yes is yes', async () => {
    const { exitCode, stdout } = await onTerminal(['box', 'remove', 'v'], 'y\r', question);
    expect(stdout).toContain('removed: v');
    expect(exitCode).toBe(0);
  });

  it.each([
    ['Enter alone', '\r'],
    ['no', 'n\r'],
  ])('%s is no', async (_what, answer) => {
    const { exitCode, stdout } = await onTerminal(['box', 'remove', 'v'], answer, question);
    expect(stdout).toContain('not confirmed, nothing was done');
    expect(exitCode).toBe(2);
  });

  it('Ctrl-C at the question is an interruption', async () => {
    const { exitCode, stdout } = await onTerminal(['box', 'remove', 'v'], '\u0003', question);
    expect(stdout).not.toContain('removed');
    expect(exitCode).toBe(130);
  });

  it('words have colour, and none with NO_COLOR', async () => {
    expect((await onTerminal(['end'])).stdout).toContain('\u001b[32mclean\u001b[39m');
    const plain = await runOnTerminal(['end'], { script, env: { NO_COLOR: '1' } });
    expect(plain.stdout).toContain('clean');
    expect(plain.stdout).not.toContain('\u001b[3');
  });

  it('progress is a bar', async () => {
    const { stdout } = await onTerminal(['box', 'progress']);
    expect(stdout).toMatch(/rebuild \[#+-+\] 50% 512 KiB of 1 MiB/);
  });
});

it('progress of quick work off a terminal is silent', async () => {
  const { exitCode, stdout, stderr } = await sample(['box', 'progress']);
  expect({ exitCode, stdout, stderr }).toEqual({ exitCode: 0, stdout: '', stderr: '' });
});
