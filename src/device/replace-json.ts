/**
 * A file of JSON beside the images that is replaced as a whole: written beside, fsynced, renamed, and the directory
 * fsynced, so that a cut leaves the old or the new one.
 */
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from './device-errors.js';
import { syncDirectory } from './image-open.js';

/** Resolves when the file is durable; until then, and when it fails, the old one counts. */
export async function replaceJson(path: string, value: unknown): Promise<void> {
  try {
    await replaceWhole(path, value);
  } catch (error) {
    await rm(`${path}.new`, { force: true }).catch(() => undefined);
    throw fileError(path, 'written', error);
  }
}

async function replaceWhole(path: string, value: unknown): Promise<void> {
  const beside = `${path}.new`;
  const file = await open(beside, 'w', 0o644);
  try {
    await file.writeFile(`${JSON.stringify(value, null, 2)}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  await syncDirectory(dirname(path));
}
