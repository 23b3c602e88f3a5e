/** Somebody's command: how it ended, what it said, and that nothing of it is left running. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it, vi } from 'vitest';
import { runCommand } from '../../../src/lab/explore/run-command.js';
import { temporaryFolder } from '../../support/temporary-folder.js';

const run = (command: string, limitMs = 20_000, signal = new AbortController().signal) =>
  runCommand(command, { env: { word: 'given' }, limitMs, signal });

/** One that has ended may wait for somebody to take its exit code. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

it.each([
  ['true', { how: 'exited', code: 0 }, ''],
  ['echo "$word"; echo more >&2; exit 7', { how: 'exited', code: 7 }, 'given\nmore\n'],
  ['kill -SEGV $$', { how: 'killed', signal: 'SIGSEGV' }, ''],
  ['no-such-program-here', { how: 'exited', code: 127 }, expect.stringContaining('not found')],
])('%s', async (command, end, output) => {
  expect(await run(command)).toEqual({ end, output });
});

it('of much output the end is kept', async () => {
  const { output } = await run('i=0; while [ $i -lt 20000 ]; do echo "line $i"; i=$((i+1)); done');
  expect(output.length).toBeLessThan(20_000);
  expect(output.startsWith('[...]\n')).toBe(true);
  expect(output.endsWith('line 19998\nline 19999\n')).toBe(true);
});

it('what takes too long is ended, with what it has begun', async () => {
  const pids = join(await temporaryFolder(), 'pids');
  const { end } = await run(`sh -c 'echo $$ >> ${pids}; exec sleep 600' & echo $$ >> ${pids}; wait`, 300);
  expect(end).toEqual({ how: 'hung' });
  const found = (await readFile(pids, 'utf8')).trim().split('\n').map(Number);
  expect(found).toHaveLength(2);
  await vi.waitFor(() => expect(found.filter(isRunning)).toEqual([]));
});

it('what it leaves behind does not hold anybody up, and is ended', async () => {
  const pids = join(await temporaryFolder(), 'pids');
  const began = performance.now();
  const { end, output } = await run(`sh -c 'echo $$ > ${pids}; exec sleep 600' & sleep 0.2; echo done`);
  expect([end, output]).toEqual([{ how: 'exited', code: 0 }, 'done\n']);
  expect(performance.now() - began).toBeLessThan(20_000);
  const pid = Number(await readFile(pids, 'utf8'));
  await vi.waitFor(() => expect(isRunning(pid)).toBe(false));
});

it('who asks for an end gets it', async () => {
  const controller = new AbortController();
  const running = run('sleep 600', 600_000, controller.signal);
  setTimeout(() => controller.abort(new Error('enough')), 100);
  await expect(running).rejects.toThrow('enough');
  await expect(run('true', 1000, controller.signal)).rejects.toThrow('enough');
});
