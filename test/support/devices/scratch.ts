/** A directory of a test's own, gone when the test has ended. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';

export async function scratchDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'holdfast-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}
