/** A version of a file that is replaced as a whole, as that file. */
import { rmSync, writeFileSync } from 'node:fs';
import type { FileVersion } from '../../crash/file-versions.js';
import { fileError } from '../../device/device-errors.js';

/** False: it is a version in which it is not there. Throws what writing a file throws (NO_SPACE). */
export function putVersion(path: string, version: FileVersion): boolean {
  try {
    if (version === null) rmSync(path, { force: true });
    else writeFileSync(path, version);
  } catch (error) {
    throw fileError(path, 'written', error);
  }
  return version !== null;
}
