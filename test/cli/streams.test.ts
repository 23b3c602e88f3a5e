/** Data on standard output, readers that go away, and Ctrl-C, in processes of their own. */
import type { ChildProcess } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { type RunOptions, runHoldfast } from '../support/run-holdfast.js';

const script = fileURLToPath(new URL('sample/run.js', import.meta.url));
const sample = (args: readonly string[], options: RunOptions = {}) =>
  runHoldfast(args, { script, ...options });

describe('a data stream', () => {
  it('is the data and nothing beside it, --json or not', async () => {
    for (const args of [['stream'], ['stream', '--json']]) {
      const { exitCode, stdoutBytes, stderr } = await sample(args);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
      expect(stdoutBytes.equals(Buffer.alloc(65536, 'd'))).toBe(true);
    }
  });

  it('that fails amid the data tells so on standard error', async () => {
    const people = await sample(['stream', '--chunks', '3', '--fail-at', '1']);
    expect(people.exitCode).toBe(1);
    expect(people.stdoutBytes.length).toBe(65536);
    expect(people.stderr).toBe('Error: in doubt\n');
    const scripts = await sample(['stream', '--chunks', '3', '--fail-at', '1', '--json']);
    expect(scripts.stdoutBytes.length).toBe(65536);
    expect(JSON.parse(scripts.stderr)).toMatchObject({ exitCode: 1, error: { code: 'DATA_UNAVAILABLE' } });
  });

  it('that fails before the first byte tells so in the object', async () => {
    const { stdout } = await sample(['stream', '--fail-at', '0', '--json']);
    expect(JSON.parse(stdout)).toMatchObject({ exitCode: 1, error: { code: 'DATA_UNAVAILABLE' } });
  });

  it('stops quietly when its reader goes away', async () => {
    const hangUp = (child: ChildProcess): void => {
      child.stdout?.once('data', () => child.stdout?.destroy());
    };
    const { exitCode, stderr } = await sample(['stream', '--chunks', '10000'], { onStart: hangUp });
    expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
  });
});

it('words whose reader went away are dropped quietly', async () => {
  const hangUp = (child: ChildProcess): void => {
    child.stdout?.destroy();
  };
  const { exitCode, stderr } = await sample(['end', '--verdict', '3'], { onStart: hangUp });
  expect({ exitCode, stderr }).toEqual({ exitCode: 3, stderr: '' });
});

/** Sends the signals one after the other, each when the command says the word. */
function signalsAt(steps: readonly (readonly [word: string, signal: NodeJS.Signals])[]) {
  return (child: ChildProcess): void => {
    const left = [...steps];
    let seen = '';
    child.stderr?.on('data', (chunk: Buffer) => {
      seen += chunk.toString('utf8');
      while (left[0] !== undefined && seen.includes(left[0][0])) child.kill(left.shift()?.[1]);
    });
  };
}

describe('Ctrl-C', () => {
  it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)(
    '%s ends the work at a safe point, with 130',
    async (signal) => {
      const onStart = signalsAt([['working', signal]]);
      const { exitCode, stderr } = await sample(['work'], { onStart });
      expect(exitCode).toBe(130);
      expect(stderr).toBe(`working\nclosing\nError: interrupted by ${signal}\n`);
    },
  );

  it('is INTERRUPTED in the object', async () => {
    const { exitCode, stdout } = await sample(['work', '--json'], {
      onStart: signalsAt([['working', 'SIGINT']]),
    });
    expect(exitCode).toBe(130);
    expect(JSON.parse(stdout)).toMatchObject({
      exitCode: 130,
      error: { code: 'INTERRUPTED', details: { signal: 'SIGINT' } },
    });
  });

  it('is no failure of a command that is meant to be stopped by it', async () => {
    const { exitCode, stdout } = await sample(['work', '--graceful'], {
      onStart: signalsAt([['working', 'SIGTERM']]),
    });
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: 'stopped\n' });
  });

  it('twice ends a command that does not listen', async () => {
    const repeat = (child: ChildProcess): void => {
      // The first signal leaves no trace outside, so the second is sent until the process is gone.
      child.stderr?.once('data', () => {
        const timer = setInterval(() => child.kill('SIGINT'), 50);
        child.once('close', () => clearInterval(timer));
      });
    };
    const { exitCode, stderr } = await sample(['work', '--deaf'], { onStart: repeat });
    expect({ exitCode, stderr }).toEqual({ exitCode: 130, stderr: 'working\n' });
  });
});
