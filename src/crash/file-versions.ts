/**
 * Files that are replaced as a whole, as devices: what a cut leaves of one is the old or the new one, and so such a device has one sector, which
 * holds the number of the version that is there. Sectors are atomic, and a replacement is a write with fua.
 */
import type { StateDevice } from './state-device.js';
import { SECTOR_BYTES } from './state-hash.js';

/** Of such a device: as long as its sector. */
export const VERSION_DEVICE_BYTES = SECTOR_BYTES;

/** What the file holds; null: it is not there. */
export type FileVersion = Uint8Array | null;

/** A blank device holds version 0. */
export function sectorOfVersion(version: number): Uint8Array {
  const sector = new Uint8Array(VERSION_DEVICE_BYTES);
  new DataView(sector.buffer).setUint32(0, version, true);
  return sector;
}

/** Of `versions` the one that the device of a state holds. */
export function versionOn({ content }: StateDevice, versions: readonly FileVersion[]): FileVersion {
  const sector = new Uint8Array(VERSION_DEVICE_BYTES);
  content.read(0, sector);
  const version = versions[versionIn(sector)];
  if (version === undefined) throw new RangeError(`there is no version ${versionIn(sector)} of it`);
  return version;
}

function versionIn(sector: Uint8Array): number {
  return new DataView(sector.buffer).getUint32(0, true);
}
