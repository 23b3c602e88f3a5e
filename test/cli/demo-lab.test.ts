/** The chapter of the demo in which the crash lab finds a forgotten flush: the commands that it shows, and that it fails where they find nothing. */
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { findForgottenFlush } from '../../src/demo/lab.js';
import { Runner } from '../../src/demo/runner.js';
import { packagePath } from '../../src/package-root.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const LIMIT = { timeout: 120_000 };
const { signal } = new AbortController();

it('tells the state that fails, and that none does with the flush', LIMIT, async () => {
  const directory = await temporaryFolder();
  const said: string[] = [];
  const program = [process.execPath, packagePath('bin', 'run.js')];
  const runner = new Runner({ program, directory, say: (line) => said.push(line), signal });
  await findForgottenFlush(runner);
  expect(runner.passed).toBe(2);
  const text = said.join('\n');
  expect(text).toMatch(/^ {2}\$ holdfast crash explore hasty\.trace --check '"\S+" "\S+check\.js"' --json$/m);
  expect(text).toContain('value 1 of "once" was acknowledged, and is gone');
  expect(text).toMatch(/cut before event \d+ of \d+ \(after "stored 8"\)/);
  expect(text).toMatch(/is there: \d+ states, all that there are/);
});

it('fails where the fault is not found', LIMIT, async () => {
  const directory = await temporaryFolder();
  // A holdfast that finds nothing, whatever it is asked.
  const program = [process.execPath, '-e', 'process.exit(0)', join(directory, 'no')];
  const runner = new Runner({ program, directory, say: () => undefined, signal });
  await expect(findForgottenFlush(runner)).rejects.toThrow('exited 0, not 4');
});
