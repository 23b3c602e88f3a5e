/** The built binary itself: what is there before any command runs. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { runHoldfast, runJson, runOnTerminal } from '../support/run-holdfast.js';

interface Manifest {
  readonly version: string;
  readonly commands: Record<
    string,
    {
      summary?: string;
      description?: string;
      examples?: unknown[];
      exitCodes?: object;
      pluginName: string;
      hidden?: boolean;
    }
  >;
}

async function readJson<T>(path: string): Promise<T> {
  return JSON.parse(await readFile(fileURLToPath(new URL(`../../${path}`, import.meta.url)), 'utf8')) as T;
}

const version = (await readJson<{ version: string }>('package.json')).version;
const manifest = await readJson<Manifest>('oclif.manifest.json');
const commands = Object.entries(manifest.commands).filter(([, command]) => command.hidden !== true);

it('--version says which it is, with the same words as oclif', async () => {
  const fast = await runHoldfast(['--version']);
  const slow = await runHoldfast(['--version', '--json']);
  expect(fast).toMatchObject({ exitCode: 0, stderr: '' });
  expect(fast.stdout).toBe(
    `holdfast/${version} ${process.platform}-${process.arch} node-${process.version}\n`,
  );
  expect(slow.stdout).toBe(fast.stdout);
});

it('--version loads nothing but node itself', async () => {
  const { stdout, stderr } = await runHoldfast(['--version'], { env: { NODE_DEBUG: 'esm,module' } });
  expect(stdout).toContain(version);
  expect(stderr).not.toContain('/node_modules/');
  expect(stderr).not.toContain('/dist/');
});

describe('threads for calls that wait', () => {
  /** Of the process that serves, as what it started sees it; and what that was told of them. */
  async function seen(env: Readonly<Record<string, string | undefined>>) {
    const directory = await mkdtemp(join(tmpdir(), 'holdfast-threads-'));
    try {
      const made = await runHoldfast(['create', 'v', '--members', '1', '--size', '1MiB'], { cwd: directory });
      expect(made.exitCode).toBe(0);
      const run = 'ls /proc/$PPID/task | wc -l; printenv UV_THREADPOOL_SIZE || echo nothing';
      const { stdout } = await runHoldfast(['serve', 'v', '--run', run], { cwd: directory, env });
      const [, threads, told] = /^(\d+)\n(\w+)$/m.exec(stdout) ?? [];
      return { threads: Number(threads), told };
    } finally {
      await rm(directory, { recursive: true });
    }
  }

  it('are sixteen, or what the environment says, which alone is handed on', async () => {
    const four = await seen({ UV_THREADPOOL_SIZE: '4' });
    const usual = await seen({ UV_THREADPOOL_SIZE: undefined });
    expect([four.told, usual.told]).toEqual(['4', 'nothing']);
    expect(usual.threads - four.threads).toBe(12);
  });
});

describe('help', () => {
  it.each([[[]], [['--help']], [['help']]])('%j lists the commands', async (args) => {
    const { exitCode, stdout } = await runHoldfast(args);
    expect(exitCode).toBe(0);
    expect(stdout).toContain('USAGE\n  $ holdfast [COMMAND]');
    for (const [id] of commands) expect(stdout).toMatch(new RegExp(`^ {2}${id.replace(/:.*/, '')}\\b`, 'm'));
  });

  it('is written into the manifest, so that no command is loaded to print it', () => {
    expect(manifest.version).toBe(version);
  });

  it('has a summary, examples and exit codes for every command', () => {
    for (const [id, command] of commands) {
      expect(command.summary ?? command.description, `${id} has no summary`).toBeTruthy();
      expect(command.examples?.length ?? 0, `${id} has no examples`).toBeGreaterThan(0);
      expect(Object.keys(command.exitCodes ?? {}), `${id} has no exit codes`).toContain('0');
    }
  });

  it('shows them', async () => {
    for (const [id] of commands) {
      const { exitCode, stdout } = await runHoldfast([...id.split(':'), '--help']);
      expect(exitCode).toBe(0);
      expect(stdout, id).toMatch(/^USAGE\n[\s\S]*^EXAMPLES\n[\s\S]*^EXIT CODES\n {4}0 {2}/m);
    }
  });
});

describe('what there is not', () => {
  it('as a command: 2 and what was probably meant, off a terminal too', async () => {
    const { exitCode, stdout, stderr } = await runHoldfast(['hepl']);
    expect({ exitCode, stdout }).toEqual({ exitCode: 2, stdout: '' });
    expect(stderr).toBe('Error: there is no command "hepl"\nHint: did you mean "holdfast help"?\n');
  });

  it('as a command to help with: the same', async () => {
    const { exitCode, stderr } = await runHoldfast(['help', 'hepl']);
    expect(exitCode).toBe(2);
    expect(stderr).toBe('Error: there is no command "hepl"\nHint: did you mean "holdfast help"?\n');
  });

  it('as a command on a terminal: the same, and nothing is run instead', async () => {
    const { exitCode, stdout } = await runOnTerminal(['hepl'], { env: { NO_COLOR: '1' } });
    expect(exitCode).toBe(2);
    expect(stdout.replaceAll('\r', '')).toBe(
      'Error: there is no command "hepl"\nHint: did you mean "holdfast help"?\n',
    );
  });

  it('as a command under --json: one object', async () => {
    const { exitCode, json } = await runJson(['xyzzy', 'volume']);
    expect(exitCode).toBe(2);
    expect(json).toEqual({
      formatVersion: 1,
      command: 'xyzzy',
      exitCode: 2,
      error: {
        code: 'USAGE',
        message: 'there is no command "xyzzy"',
        hint: 'see holdfast --help',
        details: { typed: 'xyzzy' },
      },
      warnings: [],
    });
  });

  it('a flag without a command: 2', async () => {
    const { exitCode, stderr } = await runHoldfast(['--jsn']);
    expect(exitCode).toBe(2);
    expect(stderr).toMatch(/^Error: a command is missing\n/);
  });
});
