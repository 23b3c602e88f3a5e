/** Told before anything is opened: a file that could not be made there. */
import { access } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from '../../device/device-errors.js';

/** Throws what making a file in a folder that is not there throws. */
export async function assertFolder(path: string): Promise<void> {
  await access(dirname(path)).catch((error: unknown) => {
    throw fileError(path, 'made', error);
  });
}
