import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { packagePath } from '../../src/package-root.js';

const execute = promisify(execFile);
const holdfast = packagePath('bin', 'run.js');

test('holdfast bench prints the report as JSON and keeps it where it is told to', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'bench-test-'));
  try {
    const output = join(directory, 'report.json');
    const arguments_ = [holdfast, 'bench', 'kernels', '--rounds', '1', '--json', '--output', output];
    const { stdout } = await execute(process.execPath, arguments_);
    const { result, exitCode } = JSON.parse(stdout);
    expect(exitCode).toBe(0);
    const { reportFile, ...report } = result;
    expect(reportFile).toBe(output);
    expect(JSON.parse(await readFile(output, 'utf8'))).toEqual(report);
    expect(report.benches[0].name).toBe('kernels');
  } finally {
    await rm(directory, { recursive: true });
  }
});

test('a bench that is none is wrong usage', async () => {
  const failure = await execute(process.execPath, [holdfast, 'bench', 'colonels', '--json']).catch(
    (error) => error,
  );
  expect(failure.code).toBe(2);
  expect(JSON.parse(failure.stdout)).toMatchObject({
    error: { code: 'USAGE', hint: expect.stringContaining('kernels') },
  });
});
