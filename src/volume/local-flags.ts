/**
 * The file in which a client of this machine keeps flags of what is not committed (--flags local): in the volume's
 * directory, one for each client. It is made when it is first needed, and opened when something may be in it.
 *
 * A volume that is named by its images has no directory, and no such file.
 */
import { rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { type BlockDevice, DeviceError } from '../device/contract.js';
import { fileError, systemCode } from '../device/device-errors.js';
import { openImage } from '../device/open-image.js';
import type { LocalFlagsFile } from '../extents/index.js';
import { LOCAL_FLAGS_NAME, type Located } from './locate.js';

export interface OpenedLocalFlags extends LocalFlagsFile {
  /** Closes it if it was opened. Closing twice is allowed. */
  close(): Promise<void>;
}

function localFlagsPath(directory: string, client: string): string {
  return join(directory, `${LOCAL_FLAGS_NAME}-${encodeURIComponent(client)}`);
}

/** null: there is no place for one. Nothing is opened yet. */
export function localFlagsOf(
  { directory }: Located,
  client: string,
  readOnly: boolean,
): OpenedLocalFlags | null {
  if (directory === null) return null;
  const name = localFlagsPath(directory, client);
  let device: BlockDevice | null = null;
  return {
    name,
    async open() {
      device ??= await openThere(name, readOnly);
      return device;
    },
    async make(size) {
      // A crash amid its making leaves it empty.
      if ((await sizeOf(name)) === 0) await remove(name);
      device = await openImage(name, { readOnly: false, create: { size } });
      return device;
    },
    async close() {
      await device?.close();
    },
  };
}

/** Of a volume that is no more: what is kept was its own. */
export async function removeLocalFlags(directory: string, client: string): Promise<void> {
  await remove(localFlagsPath(directory, client));
}

async function openThere(path: string, readOnly: boolean): Promise<BlockDevice | null> {
  try {
    const device = await openImage(path, { readOnly });
    if (device.size > 0) return device;
    await device.close();
    return null;
  } catch (error) {
    if (error instanceof DeviceError && systemCode(error.fault.cause) === 'ENOENT') return null;
    throw error;
  }
}

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (systemCode(error) === 'ENOENT') return null;
    throw fileError(path, 'read', error);
  }
}

async function remove(path: string): Promise<void> {
  await rm(path, { force: true }).catch((error: unknown) => {
    throw fileError(path, 'removed', error);
  });
}
