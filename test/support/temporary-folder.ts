/** Folders of a test file's own, which go with it. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

const folders: string[] = [];

// Here, and not where one is made: within a test it would be heard by nobody.
afterAll(async () => {
  // Work whose power a test has cut goes on in this process, and may still put a file where it was.
  const options = { recursive: true, force: true, maxRetries: 10, retryDelay: 100 };
  await Promise.all(folders.map((folder) => rm(folder, options)));
});

/** In a test, or at the top of its file. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'holdfast-test-'));
  folders.push(folder);
  return folder;
}
