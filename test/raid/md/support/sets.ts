/** Arrays of our own making, in memory: superblocks without content, to be changed and judged. */
import { MemoryDevice } from '../../../../src/device/memory.js';
import { examineImage } from '../../../../src/raid/md/examine.js';
import { SUPERBLOCK_V1 } from '../../../../src/raid/md/fields-superblock.js';
import type {
  DeviceRole,
  ExaminedImage,
  Superblock,
  SuperblockChange,
} from '../../../../src/raid/md/model.js';
import {
  changeSuperblock,
  type FormatOptions,
  formatSuperblock,
  superblockBytes,
} from '../../../../src/raid/md/superblock.js';
import { checksumV1 } from '../../../../src/raid/md/superblock-v1.js';

export const SUPER_OFFSET = 4096;
export const MEMBER_BYTES = 4 * 1024 * 1024;
export const DATA_OFFSET = 1024 * 1024;

export function uuid(n: number): string {
  return ['0', '0', '0', n.toString(16)].map((part) => part.padStart(8, '0')).join(':');
}

export function formatOptions(slot: number, changes: Partial<FormatOptions> = {}): FormatOptions {
  return {
    setUuid: uuid(0xa),
    deviceUuid: uuid(0x100 + slot),
    setName: 'test',
    ctime: 1_700_000_000,
    level: 5,
    layout: 2,
    chunkBytes: 65536,
    raidDisks: 4,
    memberSizeBytes: MEMBER_BYTES - DATA_OFFSET,
    dataOffset: DATA_OFFSET,
    dataSizeBytes: MEMBER_BYTES - DATA_OFFSET,
    deviceNumber: slot,
    roles: [0, 1, 2, 3],
    events: 20n,
    resyncOffset: null,
    ...changes,
  };
}

export async function formatted(
  options: FormatOptions,
  name = `member-${options.deviceNumber}`,
): Promise<MemoryDevice> {
  const device = new MemoryDevice(MEMBER_BYTES, { name });
  await device.write(SUPER_OFFSET, formatSuperblock(options));
  return device;
}

/** A clean array of four, or as `changes` have it for each slot. */
export async function makeSet(
  changes: (slot: number) => Partial<FormatOptions> = () => ({}),
): Promise<MemoryDevice[]> {
  return Promise.all([0, 1, 2, 3].map((slot) => formatted(formatOptions(slot, changes(slot)))));
}

export async function examineAll(devices: readonly MemoryDevice[]): Promise<ExaminedImage[]> {
  return Promise.all(devices.map((device) => examineImage(device)));
}

export async function superblockOf(device: MemoryDevice): Promise<Superblock> {
  const [superblock] = (await examineImage(device)).superblocks;
  if (superblock === undefined) throw new Error(`${device.name} has no good superblock`);
  return superblock;
}

export async function change(device: MemoryDevice, changes: SuperblockChange): Promise<void> {
  const superblock = await superblockOf(device);
  await device.write(superblock.superOffset, superblockBytes(changeSuperblock(superblock, changes)));
}

/** Roles by device number, the rest spare. */
export function roles(...given: DeviceRole[]): DeviceRole[] {
  return given;
}

/** Changes raw fields and makes the checksum right again, as damage that no checksum finds. */
export async function forge(
  device: MemoryDevice,
  edit: (view: ReturnType<(typeof SUPERBLOCK_V1)['at']>, raw: Uint8Array) => void,
): Promise<void> {
  const raw = new Uint8Array(4096);
  await device.read(SUPER_OFFSET, raw);
  const view = SUPERBLOCK_V1.at(raw);
  edit(view, raw);
  const maxDev = view.number('max_dev');
  if (maxDev <= 1920) view.setNumber('sb_csum', checksumV1(raw, maxDev));
  await device.write(SUPER_OFFSET, raw);
}
