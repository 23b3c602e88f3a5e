/** Whether there is a file of a name. */
import type { Stats } from 'node:fs';
import { stat } from 'node:fs/promises';
import { fileError, systemCode } from './device-errors.js';

/** null: there is none. Throws UserError where that cannot be told. */
export async function statOrNull(path: string): Promise<Stats | null> {
  try {
    return await stat(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw fileError(path, 'read', error);
  }
}
