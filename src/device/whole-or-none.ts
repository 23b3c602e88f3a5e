/**
 * Files that are made and are of no use in part: on a disk that is full amid it nothing is left of them, so that the same can be tried again
 * and nobody takes a part for the whole.
 */
import { rm } from 'node:fs/promises';
import { statOrNull } from './stat-or-null.js';

/** `make` makes what is at `path`, a file or a folder. Where it fails that is removed, unless something was there before. */
export async function wholeOrNone<T>(path: string, make: () => Promise<T>): Promise<T> {
  const before = await statOrNull(path);
  try {
    return await make();
  } catch (error) {
    if (before === null) await rm(path, { recursive: true, force: true }).catch(() => undefined);
    throw error;
  }
}
