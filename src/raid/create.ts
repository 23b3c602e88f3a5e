/**
 * Makes a new array of images that are all zeroes: its parity is right as it is, so it is born clean.
 *
 * Where the data begins follows mdadm's habit (super1.c, validate_geometry1): at least 1 MiB, and about a
 * thousandth of the member up to 128 MiB, in whole MiB. The gap before it is what `mdadm --grow` moves data
 * into, and where records have their place.
 */
import { randomBytes } from 'node:crypto';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { SECTOR_BYTES } from './md/model.js';
import { formatSuperblock } from './md/superblock-v1-encode.js';
import { formatUuid } from './md/uuid.js';

const MIB = 1024 * 1024;
const MAX_GAP_BYTES = 128 * MIB;
const GAP_SHARE = 1024;
const SUPERBLOCK_OFFSET = 4096;
const SUPERBLOCK_ROOM_BYTES = 4096;

export const MIN_MEMBERS = 3;
export const MAX_MEMBERS = 64;
export const MIN_CHUNK_BYTES = 4096;
export const MAX_CHUNK_BYTES = 64 * MIB;

export interface ArrayShape {
  readonly members: number;
  readonly chunkBytes: number;
  /** md's number. */
  readonly layout: number;
  /** What is to be usable; rounded up to whole stripes. */
  readonly sizeBytes: number;
}

export interface MemberShape {
  readonly imageSizeBytes: number;
  readonly dataOffset: number;
  readonly memberSizeBytes: number;
  /** What the array will hold. */
  readonly arraySizeBytes: number;
}

/** Throws USAGE for what md cannot have, with the limits. */
export function memberShape(shape: ArrayShape): MemberShape {
  checkShape(shape);
  const dataDisks = shape.members - 1;
  const stripes = Math.ceil(shape.sizeBytes / (dataDisks * shape.chunkBytes));
  const memberSizeBytes = stripes * shape.chunkBytes;
  const dataOffset = gapBytes(memberSizeBytes);
  const arraySizeBytes = memberSizeBytes * dataDisks;
  if (!Number.isSafeInteger(arraySizeBytes + dataOffset)) {
    throw new UserError(
      'USAGE',
      `a volume of ${shape.sizeBytes} bytes is larger than this version can address`,
    );
  }
  return { imageSizeBytes: dataOffset + memberSizeBytes, dataOffset, memberSizeBytes, arraySizeBytes };
}

function checkShape({ members, chunkBytes, sizeBytes }: ArrayShape): void {
  if (!Number.isInteger(members) || members < MIN_MEMBERS || members > MAX_MEMBERS) {
    throw new UserError(
      'USAGE',
      `a RAID-5 volume has ${MIN_MEMBERS} to ${MAX_MEMBERS} members, not ${members}`,
      {
        hint: 'or --members 1 for a plain image',
      },
    );
  }
  const powerOfTwo = chunkBytes > 0 && Number.isInteger(Math.log2(chunkBytes));
  if (!powerOfTwo || chunkBytes < MIN_CHUNK_BYTES || chunkBytes > MAX_CHUNK_BYTES) {
    throw new UserError(
      'USAGE',
      `a chunk of ${chunkBytes} bytes is not possible: md wants a power of two from 4 KiB to 64 MiB`,
    );
  }
  if (sizeBytes <= 0) throw new UserError('USAGE', 'the size must be more than 0');
}

function gapBytes(memberSizeBytes: number): number {
  const share = Math.min(MAX_GAP_BYTES, Math.floor(memberSizeBytes / GAP_SHARE));
  return Math.max(MIB, Math.ceil(share / MIB) * MIB);
}

export interface CreateArrayOptions {
  readonly name: string;
  readonly shape: ArrayShape;
  /** Seconds since 1970. */
  readonly now?: number;
}

/** Writes the superblocks, durably. `devices` are blank, one a slot. Returns the set's UUID. */
export async function createArray(
  devices: readonly BlockDevice[],
  options: CreateArrayOptions,
): Promise<string> {
  const { shape } = options;
  const { dataOffset, memberSizeBytes } = memberShape(shape);
  const setUuid = newUuid();
  const roles = devices.map((_, slot) => slot);
  const ctime = options.now ?? Math.floor(Date.now() / 1000);
  await Promise.all(
    devices.map(async (device, slot) => {
      const bytes = formatSuperblock({
        setUuid,
        deviceUuid: newUuid(),
        setName: options.name,
        ctime,
        level: 5,
        layout: shape.layout,
        chunkBytes: shape.chunkBytes,
        raidDisks: shape.members,
        memberSizeBytes,
        dataOffset,
        dataSizeBytes: Math.floor((device.size - dataOffset) / SECTOR_BYTES) * SECTOR_BYTES,
        deviceNumber: slot,
        roles,
        events: 1n,
        resyncOffset: null,
      });
      await device.write(SUPERBLOCK_OFFSET, bytes, { fua: true });
    }),
  );
  return setUuid;
}

/** Takes back what a `createArray` on these devices has written, done or not: they are blank again. */
export async function eraseArray(devices: readonly BlockDevice[]): Promise<void> {
  await Promise.all(
    devices.map(async (device) => {
      await device.writeZeroes(SUPERBLOCK_OFFSET, SUPERBLOCK_ROOM_BYTES);
      await device.flush();
    }),
  );
}

/** A random UUID (version 4), as mdadm shows them. */
export function newUuid(): string {
  const bytes = randomBytes(16);
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  return formatUuid(bytes);
}
