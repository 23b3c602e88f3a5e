/**
 * A folder that takes the place of another as a whole. What is there stays until all of the new one is durable; a cut between the
 * two steps leaves the former one under another name, which `restoreFolder` gives back to it.
 */
import { rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { syncDirectory } from '../../device/image-open.js';
import { statOrNull } from '../../device/stat-or-null.js';

/** In one step: a cut amid it leaves all of it, or none. Gives where it is now, to be removed. */
export async function putAway(directory: string): Promise<string> {
  const old = oldOf(directory);
  await rm(old, { recursive: true, force: true });
  if ((await statOrNull(directory)) !== null) await rename(directory, old);
  return old;
}

/** `begun` is durable, but for its own name. */
export async function takePlace(begun: string, directory: string): Promise<void> {
  const old = await putAway(directory);
  await rename(begun, directory);
  for (const parent of [dirname(directory), dirname(dirname(directory))]) await syncDirectory(parent);
  await rm(old, { recursive: true, force: true });
}

/** What a cut amid `takePlace` has put away is there again. */
export async function restoreFolder(directory: string): Promise<void> {
  if ((await statOrNull(directory)) !== null || (await statOrNull(oldOf(directory))) === null) return;
  await rename(oldOf(directory), directory);
}

/** With what is left of a cut. */
export async function removeFolder(directory: string): Promise<void> {
  // The old one first: alone it would be taken for what a cut has put away.
  for (const path of [oldOf(directory), directory]) await rm(path, { recursive: true, force: true });
}

function oldOf(directory: string): string {
  return `${directory}.old`;
}
