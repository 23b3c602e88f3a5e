/**
 * The small files beside a volume's images: its manifest, its lists of replicas and of snapshots, what else lies in its folder. They are
 * replaced as a whole and seldom: a trace has what they held before, and which of them have changed.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError } from '../../device/device-errors.js';

const SMALL_BYTES = 1024 * 1024;

/** By their paths; small images may be among them. `named`: a directory or an image, without links. */
export async function smallFilesOf(named: string): Promise<Map<string, Uint8Array>> {
  const files = new Map<string, Uint8Array>();
  for (const folder of await foldersOf(named)) {
    const names = await readdir(folder, { recursive: true, withFileTypes: true }).catch((error: unknown) => {
      throw fileError(folder, 'read', error);
    });
    for (const entry of names) {
      const path = join(entry.parentPath, entry.name);
      if (!entry.isFile() || (await stat(path)).size > SMALL_BYTES) continue;
      files.set(path, await readFile(path));
    }
  }
  return files;
}

/** Those of `after` that are not as before; what is gone is empty. */
export function changedFiles(
  before: ReadonlyMap<string, Uint8Array>,
  after: ReadonlyMap<string, Uint8Array>,
): Map<string, Uint8Array> {
  const changed = new Map<string, Uint8Array>();
  for (const path of new Set([...before.keys(), ...after.keys()])) {
    const [was, is] = [before.get(path), after.get(path)];
    if (was === undefined || is === undefined || Buffer.compare(was, is) !== 0)
      changed.set(path, is ?? new Uint8Array());
  }
  return changed;
}

/** A volume is a directory, or an image with a folder beside it, which need not be there. */
async function foldersOf(named: string): Promise<string[]> {
  if ((await stat(named)).isDirectory()) return [named];
  const beside = `${named}.holdfast`;
  const found = await stat(beside).catch(() => null);
  return found?.isDirectory() === true ? [beside] : [];
}
