/** Progress off a terminal: a line at most every 10 s. The clock is the test's own. */
import { PassThrough } from 'node:stream';
import { expect, it } from 'vitest';
import { startProgress } from '../../src/cli/progress.js';

function fakeStream(): { stream: NodeJS.WriteStream; printed: () => string } {
  const through = new PassThrough();
  const stream = through as unknown as NodeJS.WriteStream;
  return { stream, printed: () => String(through.read() ?? '') };
}

it('tells nothing before 10 s, and then a line each 10 s', async () => {
  const { stream, printed } = fakeStream();
  let clockMs = 1_000_000;
  const progress = await startProgress('rebuild', 4 * 1024 ** 3, { stream, now: () => clockMs });
  progress.update(1024 ** 3);
  clockMs += 9_999;
  progress.update(1024 ** 3);
  expect(printed()).toBe('');
  clockMs += 1;
  progress.update(1024 ** 3);
  expect(printed()).toBe('rebuild: 25% (1 GiB of 4 GiB)\n');
  clockMs += 5_000;
  progress.update(2 * 1024 ** 3);
  expect(printed()).toBe('');
  clockMs += 5_000;
  progress.update(4 * 1024 ** 3 - 1);
  expect(printed()).toMatch(/^rebuild: 99% /);
  progress.finish();
  expect(printed()).toBe('');
});

it('tells nothing at all when it is to be quiet, and stands work of no bytes', async () => {
  const { stream, printed } = fakeStream();
  let clockMs = 0;
  const quiet = await startProgress('scrub', 100, { stream, quiet: true, now: () => clockMs });
  const empty = await startProgress('scrub', 0, { stream, now: () => clockMs });
  clockMs += 60_000;
  quiet.update(50);
  expect(printed()).toBe('');
  empty.update(0);
  expect(printed()).toBe('scrub: 100% (0 B of 0 B)\n');
});
