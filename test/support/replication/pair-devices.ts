/**
 * The devices of a primary and of its secondary, which are explored together: what holds the data, the transaction log, the
 * maps and the list of replicas of the one; image, epoch log, container and marks of the other.
 */
import { StateContent } from '../../../src/crash/state-content.js';
import { StateDevice } from '../../../src/crash/state-device.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { BLOCK_BYTES, type BlockRange, blocksOf } from '../../../src/replication/blocks.js';
import { logFileBytes, TransactionLog } from '../../../src/replication/log/transaction-log.js';
import { MapFile } from '../../../src/replication/map/map-file.js';
import { mapFileBytes } from '../../../src/replication/map/page.js';
import { createSecondary } from '../../../src/replication/secondary/index.js';
import { FIRST, PARTS, type PartName, sizeOf } from './secondary-parts.js';

export const SECTOR_BYTES = 512;
/** The last block is short. */
export const VOLUME_BYTES = 11 * BLOCK_BYTES + 4 * SECTOR_BYTES;
export const BLOCKS = blocksOf(VOLUME_BYTES);
export const VOLUME_SECTORS = VOLUME_BYTES / SECTOR_BYTES;
const SECONDARY = { imageBytes: VOLUME_BYTES, logBytes: 8192 + 128 * 1024 };

const PRIMARY_PARTS = ['primary', 'log', 'map', 'uncopied', 'list'] as const;
export type DeviceName = (typeof PRIMARY_PARTS)[number] | PartName;
export const DEVICES: readonly DeviceName[] = [...PRIMARY_PARTS, ...PARTS];
export type PairDevices<D extends BlockDevice = BlockDevice> = Readonly<Record<DeviceName, D>>;

/** Whose power is cut. Of the other the process alone is gone, or not even that. */
export type Side = 'primary' | 'secondary' | 'both';

/** Numbers of the devices whose power stays on. */
export function sparedBy(side: Side): number[] {
  const isSpared = (device: number) => (device < PRIMARY_PARTS.length ? 'primary' : 'secondary') !== side;
  return side === 'both' ? [] : DEVICES.map((_, device) => device).filter(isSpared);
}

export const VOLUME_UUID = '11'.repeat(16);
export const REPLICA_UUID = '22'.repeat(16);
const owner = { volumeUuid: VOLUME_UUID, replicaUuid: REPLICA_UUID, blocks: BLOCKS };

export interface PairShape {
  readonly logSectors: number;
  /** What has never been copied, and need not be; with it the first copy has not been made. */
  readonly uncopied?: readonly BlockRange[];
}

export function pairOf<D extends BlockDevice>(make: (name: DeviceName, device: number) => D): PairDevices<D> {
  return Object.fromEntries(DEVICES.map((name, device) => [name, make(name, device)])) as Record<
    DeviceName,
    D
  >;
}

function bytesFor(name: DeviceName, { logSectors }: PairShape): number {
  const sizes: Partial<Record<DeviceName, number>> = {
    primary: VOLUME_BYTES,
    log: logFileBytes(logSectors),
    map: mapFileBytes(BLOCKS),
    uncopied: mapFileBytes(BLOCKS),
    list: ReplicaList.bytes,
  };
  return sizes[name] ?? sizeOf(name as PartName, SECONDARY);
}

/** Both blank and alike; or with content, before the first copy. */
export async function makePair(
  shape: PairShape,
  content: Uint8Array | null,
): Promise<PairDevices<StateDevice>> {
  const pair = pairOf(
    (name, device) => new StateDevice(StateContent.blank(device), { name, size: bytesFor(name, shape) }),
  );
  if (content !== null) await pair.primary.write(0, content);
  await TransactionLog.format(pair.log, owner);
  const dirty = await MapFile.format(pair.map, { ...owner, kind: 'dirty' });
  const uncopied = await MapFile.format(pair.uncopied, { ...owner, kind: 'uncopied' });
  if (shape.uncopied !== undefined) {
    dirty.map.setAll();
    for (const range of shape.uncopied) {
      dirty.map.clear(range);
      uncopied.map.set(range);
    }
    for (const file of [dirty, uncopied]) await file.persist([{ from: 0, count: BLOCKS }]);
  }
  await new ReplicaList(pair.list).put({ isWhole: shape.uncopied === undefined, isMapLost: false });
  await createSecondary(pair, {
    volumeUuid: Buffer.from(VOLUME_UUID, 'hex'),
    replicaUuid: Buffer.from(REPLICA_UUID, 'hex'),
    sizeBytes: VOLUME_BYTES,
    generation: FIRST,
    state: shape.uncopied === undefined ? 'consistent' : 'initial',
  });
  return pair;
}

export interface ReplicaEntry {
  readonly isWhole: boolean;
  readonly isMapLost: boolean;
}

/** Stands for the list of replicas, a file that is replaced by a new one, durably: as there, it is the old or the new. */
export class ReplicaList {
  static readonly bytes = 2 * SECTOR_BYTES;
  #sequence = 0;

  constructor(private readonly device: BlockDevice) {}

  async read(): Promise<ReplicaEntry> {
    const bytes = new Uint8Array(ReplicaList.bytes);
    await this.device.read(0, bytes);
    const good = [0, SECTOR_BYTES].flatMap((at) => {
      const [magic, sequence, isWhole, isMapLost] = bytes.subarray(at, at + 4) as unknown as number[];
      const isGood = magic === 0x4c && bytes.subarray(at + 4, at + SECTOR_BYTES).every((byte) => byte === 0);
      return isGood ? [{ sequence: sequence!, isWhole: isWhole === 1, isMapLost: isMapLost === 1 }] : [];
    });
    const [newest] = good.sort((a, b) => b.sequence - a.sequence);
    if (newest === undefined) throw new Error('the list of replicas is gone');
    this.#sequence = newest.sequence;
    return newest;
  }

  async put({ isWhole, isMapLost }: ReplicaEntry): Promise<void> {
    this.#sequence += 1;
    const sector = new Uint8Array(SECTOR_BYTES);
    sector.set([0x4c, this.#sequence, Number(isWhole), Number(isMapLost)]);
    await this.device.write((this.#sequence % 2) * SECTOR_BYTES, sector, { fua: true });
  }
}
