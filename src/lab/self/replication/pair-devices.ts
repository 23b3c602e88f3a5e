/**
 * The devices of a primary and of its secondaries, which are explored together: what holds the data, the transaction log, the
 * maps and the list of replicas of the one; image, epoch log, container and marks of each other.
 */
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import type { BlockDevice } from '../../../device/contract.js';
import { BLOCK_BYTES, type BlockRange, blocksOf } from '../../../replication/blocks.js';
import { logFileBytes, TransactionLog } from '../../../replication/log/transaction-log.js';
import type { BlockMap } from '../../../replication/map/block-map.js';
import { MapFile } from '../../../replication/map/map-file.js';
import { mapFileBytes } from '../../../replication/map/page.js';
import { createSecondary } from '../../../replication/secondary/index.js';
import { ReplicaList, SECONDARIES, SECTOR_BYTES, type SecondaryName } from './replica-list.js';
import { FIRST, type PartName, partsBy, sizeOf } from './secondary-parts.js';

/** The last block is short. */
export const VOLUME_BYTES = 11 * BLOCK_BYTES + 4 * SECTOR_BYTES;
export const BLOCKS = blocksOf(VOLUME_BYTES);
export const VOLUME_SECTORS = VOLUME_BYTES / SECTOR_BYTES;
const SECONDARY = { imageBytes: VOLUME_BYTES, logBytes: 8192 + 128 * 1024 };

export const VOLUME_UUID = '11'.repeat(16);
const REPLICA_UUIDS = { second: '22'.repeat(16), third: '33'.repeat(16) } as const;

/** Each has its own power. */
export type Machine = 'primary' | SecondaryName;
/** Whose power is cut. Of the others the process alone is gone, or not even that. */
export type Side = Machine | 'all';

export type DeviceName = 'primary' | 'log' | 'list' | 'map' | 'uncopied' | PartName;

/** A secondary, with what its primary knows of it. */
export interface ReplicaDevices<D extends BlockDevice = BlockDevice> extends Readonly<Record<PartName, D>> {
  readonly name: SecondaryName;
  readonly map: D;
  readonly uncopied: D;
  /** Of replicas that it has itself. */
  readonly own: SourceDevices<D> | null;
}

/** Of whoever has replicas. */
export interface SourceDevices<D extends BlockDevice = BlockDevice> {
  readonly log: D;
  readonly list: D;
  readonly replicas: readonly ReplicaDevices<D>[];
}

export interface PairDevices<D extends BlockDevice = BlockDevice> extends SourceDevices<D> {
  readonly primary: D;
}

export interface PairShape {
  readonly logSectors: number;
  readonly secondaries: number;
  /** The third is the secondary's own, and not the primary's. */
  readonly isChain?: true;
  /** What has never been copied, and need not be; with it the first copy has not been made. */
  readonly uncopied?: readonly BlockRange[];
  /** The last secondary comes in amid the workload; of what holds data, this need not be copied to it. */
  readonly joins?: { readonly free: readonly BlockRange[] };
}

/** How many there are, and whose. */
export type PairTree = Pick<PairShape, 'secondaries' | 'isChain'>;

export interface DevicePlace {
  readonly name: DeviceName;
  readonly machine: Machine;
  /** No other one has it. */
  readonly label: string;
  /** Its number, in the order of all. */
  readonly device: number;
}

export function pairOf<D extends BlockDevice>(
  { secondaries, isChain }: PairTree,
  make: (place: DevicePlace) => D,
): PairDevices<D> {
  let devices = 0;
  const at = (name: DeviceName, machine: Machine, label: string = name) =>
    make({ name, machine, label, device: devices++ });
  const replica = (of: Machine, name: SecondaryName, own: readonly SecondaryName[]): ReplicaDevices<D> => ({
    ...{ name, map: at('map', of, `${name} map`), uncopied: at('uncopied', of, `${name} uncopied`) },
    ...partsBy((part) => at(part, name, `${name} ${part}`)),
    own: own.length === 0 ? null : source(name, own, `${name} `),
  });
  const source = (
    of: Machine,
    names: readonly SecondaryName[],
    label = '',
    own: readonly SecondaryName[] = [],
  ) => ({
    ...{ log: at('log', of, `${label}log`), list: at('list', of, `${label}list`) },
    replicas: names.map((name) => replica(of, name, own)),
  });
  const names = SECONDARIES.slice(0, secondaries);
  const [theirs, own] = isChain === true ? [names.slice(0, 1), names.slice(1)] : [names, []];
  return { primary: at('primary', 'primary'), ...source('primary', theirs, '', own) };
}

/** Those of all, whosever they are. */
export function allReplicas<D extends BlockDevice>({ replicas }: SourceDevices<D>): ReplicaDevices<D>[] {
  return replicas.flatMap((one) => [one, ...(one.own === null ? [] : allReplicas(one.own))]);
}

/** Who keeps its map. */
export function keeperOf(name: SecondaryName, { isChain }: PairTree): Machine {
  return isChain === true && name === 'third' ? 'second' : 'primary';
}

/** All devices, in their order. */
export function placesOf(shape: PairTree): DevicePlace[] {
  const places: DevicePlace[] = [];
  pairOf(shape, (place) => {
    places.push(place);
    return null as unknown as BlockDevice;
  });
  return places;
}

/** Numbers of the devices whose power stays on. */
export function sparedBy(side: Side, shape: PairTree): number[] {
  const spared = placesOf(shape).filter(({ machine }) => side !== 'all' && machine !== side);
  return spared.map(({ device }) => device);
}

export function uuidOf(name: SecondaryName): string {
  return REPLICA_UUIDS[name];
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

/** All alike, or before the first copy; in their order. */
export async function makePair(shape: PairShape, content: Uint8Array): Promise<StateDevice[]> {
  const devices = placesOf(shape).map(
    ({ name, label, device }) =>
      new StateDevice(StateContent.blank(device), { name: label, size: bytesFor(name, shape) }),
  );
  const pair = pairOf(shape, ({ device }) => devices[device]!);
  await writeData(pair.primary, content);
  await makeSource(pair, shape, content);
  return devices;
}

async function makeSource(
  { log, list, replicas }: SourceDevices,
  shape: PairShape,
  content: Uint8Array,
): Promise<void> {
  await TransactionLog.format(log, { volumeUuid: VOLUME_UUID });
  const isWhole = shape.uncopied === undefined;
  for (const replica of shape.joins === undefined ? replicas : replicas.slice(0, -1)) {
    if (isWhole) await writeData(replica.image, content);
    await makeMaps(replica, shape.uncopied);
    await makeSecondary(replica, isWhole ? 'consistent' : 'initial');
    await new ReplicaList(list).put(replica.name, { isWhole, isMapLost: false });
    if (replica.own !== null) await makeSource(replica.own, shape, content);
  }
}

/** What is zeroes stays a hole. */
async function writeData(device: BlockDevice, content: Uint8Array): Promise<void> {
  for (let at = 0; at < content.byteLength; at += BLOCK_BYTES) {
    const block = content.subarray(at, at + BLOCK_BYTES);
    if (block.some((byte) => byte !== 0)) await device.write(at, block);
  }
}

/** `never`: all else is to be copied; undefined: nothing is. */
export async function makeMaps(
  { name, map, uncopied }: ReplicaDevices,
  never?: readonly BlockRange[],
): Promise<void> {
  const owner = { volumeUuid: VOLUME_UUID, replicaUuid: uuidOf(name), blocks: BLOCKS };
  const files = {
    dirty: await MapFile.format(map, { ...owner, kind: 'dirty' }),
    uncopied: await MapFile.format(uncopied, { ...owner, kind: 'uncopied' }),
  };
  if (never === undefined) return;
  files.dirty.map.setAll();
  for (const range of never) {
    files.dirty.map.clear(range);
    files.uncopied.map.set(range);
  }
  for (const file of [files.dirty, files.uncopied]) await file.persist([{ from: 0, count: BLOCKS }]);
}

export async function makeSecondary(replica: ReplicaDevices, state: 'consistent' | 'initial'): Promise<void> {
  await createSecondary(replica, {
    volumeUuid: Buffer.from(VOLUME_UUID, 'hex'),
    replicaUuid: Buffer.from(uuidOf(replica.name), 'hex'),
    sizeBytes: VOLUME_BYTES,
    generation: FIRST,
    state,
  });
}

/** Its blocks, a bit each. */
export function maskOf(map: BlockMap | null): number {
  let mask = 0;
  for (const { from, count } of map?.runs() ?? [])
    for (let block = from; block < from + count; block++) mask |= 1 << block;
  return mask;
}
