/**
 * What is on each image, as found, valid or not: for `holdfast examine`. Nothing is judged against the others.
 */
import { openImage } from '../device/open-image.js';
import { layoutName } from '../raid/geometry.js';
import { BadBlocks, readBadBlocks } from '../raid/md/bad-blocks.js';
import { countDirtyBits, readBitmapCopy } from '../raid/md/bitmap-copy.js';
import { examineImage } from '../raid/md/examine.js';
import type { DamagedSuperblock, DeviceRole, ExaminedImage, Superblock } from '../raid/md/model.js';
import { readPpl } from '../raid/md/ppl.js';
import { describeExtents, type ExtentsReport } from './examine-extents.js';
import { describeRecords, type RecordReport } from './examine-record.js';

export interface ImageReport {
  readonly image: string;
  readonly sizeBytes: number;
  readonly superblocks: readonly SuperblockReport[];
  readonly damaged: readonly Pick<DamagedSuperblock, 'version' | 'superOffset' | 'reason'>[];
  /** Of the format extents, on an image of its own; null: nothing of it is there. */
  readonly extents: ExtentsReport | null;
}

export interface SuperblockReport {
  readonly metadataVersion: string;
  readonly superOffsetBytes: number;
  readonly uuid: string;
  readonly name: string;
  readonly createdAt: string;
  readonly updatedAt: string;
  readonly level: number;
  readonly layout: string;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly memberSizeBytes: number;
  readonly dataOffsetBytes: number;
  readonly dataSizeBytes: number;
  readonly deviceUuid: string | null;
  readonly deviceNumber: number;
  readonly role: DeviceRole;
  readonly roles: readonly DeviceRole[];
  readonly events: number;
  readonly state: 'clean' | 'dirty';
  readonly resyncOffsetBytes: number | null;
  readonly recoveryOffsetBytes: number | null;
  readonly featureMap: number;
  readonly unknownFeatures: number;
  /** 16 hexadecimal digits: left by the last opening of holdfast's that wrote; zeroes: the kernel wrote since. */
  readonly openingStamp: string;
  readonly bitmap: BitmapReport | null;
  readonly ppl: {
    offsetBytes: number;
    lengthBytes: number;
    entries: number | null;
    problem: string | null;
  } | null;
  readonly badBlockLog: { offsetBytes: number; lengthBytes: number; problem: string | null } | null;
  readonly badBlocks: readonly { offsetBytes: number; lengthBytes: number }[];
  /** Dirty-stripe records, one for each slot that holds one. */
  readonly records: readonly RecordReport[];
  readonly reshaping: boolean;
}

export interface BitmapReport {
  readonly offsetBytes: number;
  readonly chunkBytes: number | null;
  readonly events: number | null;
  readonly eventsCleared: number | null;
  readonly bits: number | null;
  readonly dirtyBits: number | null;
  readonly problem: string | null;
}

export async function examineImages(paths: readonly string[]): Promise<ImageReport[]> {
  const reports: ImageReport[] = [];
  for (const path of paths) {
    const device = await openImage(path, { readOnly: true, lock: false });
    try {
      reports.push(await report(await examineImage(device)));
    } finally {
      await device.close();
    }
  }
  return reports;
}

async function report(examined: ExaminedImage): Promise<ImageReport> {
  const superblocks: SuperblockReport[] = [];
  for (const superblock of examined.superblocks) superblocks.push(await describe(examined, superblock));
  const damaged = examined.damaged.map(({ version, superOffset, reason }) => ({
    version,
    superOffset,
    reason,
  }));
  const extents = await describeExtents(examined.device);
  return { image: examined.image, sizeBytes: examined.device.size, superblocks, damaged, extents };
}

async function describe(examined: ExaminedImage, superblock: Superblock): Promise<SuperblockReport> {
  const { device } = examined;
  const bad = await readBadBlocks(device, superblock);
  const log = superblock.badBlockLog;
  return {
    metadataVersion: superblock.version,
    superOffsetBytes: superblock.superOffset,
    uuid: superblock.setUuid,
    name: superblock.setName,
    createdAt: new Date(superblock.ctime * 1000).toISOString(),
    updatedAt: new Date(superblock.utime * 1000).toISOString(),
    level: superblock.level,
    layout: layoutName(superblock.layout),
    chunkBytes: superblock.chunkBytes,
    raidDisks: superblock.raidDisks,
    memberSizeBytes: superblock.memberSizeBytes,
    dataOffsetBytes: superblock.dataOffset,
    dataSizeBytes: superblock.dataSizeBytes,
    deviceUuid: superblock.deviceUuid || null,
    deviceNumber: superblock.deviceNumber,
    role: superblock.roles[superblock.deviceNumber] ?? 'spare',
    roles: superblock.roles,
    events: Number(superblock.events),
    state: superblock.resyncOffset === null ? 'clean' : 'dirty',
    resyncOffsetBytes: superblock.resyncOffset,
    recoveryOffsetBytes: superblock.recoveryOffset,
    featureMap: superblock.features.raw,
    unknownFeatures: superblock.features.unknown,
    openingStamp: superblock.stamp.toString(16).padStart(16, '0'),
    bitmap: await describeBitmap(examined, superblock),
    ppl: await describePpl(examined, superblock),
    badBlockLog:
      log === null
        ? null
        : {
            offsetBytes: log.offset,
            lengthBytes: log.lengthBytes,
            problem: bad instanceof BadBlocks ? null : bad.reason,
          },
    badBlocks: bad instanceof BadBlocks ? badBlocksOf(bad, superblock) : [],
    records: await describeRecords(device, superblock),
    reshaping: superblock.reshape !== null,
  };
}

/** Where they lie in the image. */
export function badBlocksOf(
  bad: BadBlocks,
  { dataOffset }: Superblock,
): { offsetBytes: number; lengthBytes: number }[] {
  return bad.list().map(({ start, end }) => ({ offsetBytes: dataOffset + start, lengthBytes: end - start }));
}

async function describeBitmap(
  { device }: ExaminedImage,
  superblock: Superblock,
): Promise<BitmapReport | null> {
  if (superblock.bitmapOffset === null) return null;
  const copy = await readBitmapCopy(device, superblock);
  const none = { chunkBytes: null, events: null, eventsCleared: null, bits: null, dirtyBits: null };
  const offsetBytes = superblock.bitmapOffset;
  if (copy === null) return null;
  if ('reason' in copy) return { offsetBytes, ...none, problem: copy.reason };
  return {
    offsetBytes,
    chunkBytes: copy.chunkBytes,
    events: Number(copy.events),
    eventsCleared: Number(copy.eventsCleared),
    bits: copy.bits,
    dirtyBits: countDirtyBits(copy),
    problem: copy.markedStale ? 'it says that it is stale' : null,
  };
}

async function describePpl(
  { device }: ExaminedImage,
  superblock: Superblock,
): Promise<SuperblockReport['ppl']> {
  if (superblock.ppl === null) return null;
  const { offset, lengthBytes } = superblock.ppl;
  const log = await readPpl(device, superblock);
  if (!('entries' in log)) return { offsetBytes: offset, lengthBytes, entries: null, problem: log.reason };
  return { offsetBytes: offset, lengthBytes, entries: log.entries.length, problem: log.reason || null };
}
