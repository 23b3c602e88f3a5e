/** A file of a directory of certificates, whose names are libnbd's and qemu's; the client and the server have theirs. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileError, systemCode } from '../device/device-errors.js';

/** null: there is none. @throws DeviceError for one that cannot be read. */
export async function readCertificateFile(directory: string, name: string): Promise<Buffer | null> {
  const path = join(directory, name);
  try {
    return await readFile(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') return null;
    throw fileError(path, 'read', error);
  }
}
