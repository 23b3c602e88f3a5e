/** Volumes with something in them, of which backups are taken. */
import { randomBytes } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ok } from './run-holdfast.js';
import { temporaryFolder } from './temporary-folder.js';

export const MIB = 1024 * 1024;
export const BLOCK_BYTES = 4096;

export async function filled(
  shape: readonly string[],
  contentBytes = 3 * MIB,
): Promise<{ folder: string; volume: string }> {
  const folder = await temporaryFolder();
  const volume = join(folder, 'v');
  await ok('create', volume, ...shape);
  await writeFile(join(folder, 'content'), randomBytes(contentBytes));
  await ok('write', volume, '--offset', '5000', '--input', join(folder, 'content'));
  return { folder, volume };
}

export const RAID = ['--members', '3', '--size', '32MiB', '--chunk', '16KiB'];
export const ONE = ['--members', '1', '--size', '32MiB'];
