/**
 * What extents stand on while the power is cut: one plain image, or RAID-5. And how a store is opened there, as the
 * product does it: array, metadata engine, server, client; with clocks that stand still.
 */
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import type { BlockDevice } from '../../../device/contract.js';
import type { Clock } from '../../../extents/contract.js';
import { slotBytes } from '../../../extents/flags/local.js';
import {
  type ClientPool,
  ExtentStore,
  type LocalFlagsFile,
  type StoreOptions,
} from '../../../extents/index.js';
import type { MetadataEngine } from '../../../metadata/engine/contract.js';
import { makeEngine } from '../../../metadata/engine/make-engine.js';
import { openEngine } from '../../../metadata/engine/open-engine.js';
import { OverlayEngine } from '../../../metadata/engine/overlay-engine.js';
import type { FlagPlace } from '../../../metadata/flag-places.js';
import { formatMetadata } from '../../../metadata/server/format.js';
import { MetadataServer } from '../../../metadata/server/server.js';
import { openArray } from '../../../raid/open.js';
import { recoverArray } from '../../../volume/recovery.js';
import { judgeDevices, makeMembers, type TestShape } from '../raid/arrays.js';

export const BLOCK_BYTES = 4096;
const PAGE_BYTES = 16 * 1024;
/** The least that the server wants of a log, and the least that an engine takes beside it. */
const LOG_BYTES = 66 * PAGE_BYTES;
const ENGINE_BYTES = 2 * (68 * PAGE_BYTES + LOG_BYTES);
const VOLUME_UUID = 'c0'.repeat(16);
const NEVER_MS = 2 ** 31 - 1;
export const CLIENT = 'client';

/** Stands still, but for who waits for it: his time has passed at once. What is done in the background with time never is. */
function standingClock(): Clock {
  let nowMs = 0;
  return {
    nowMs: () => nowMs,
    wait: async (ms, { isBackground = false } = {}) => {
      if (isBackground) await new Promise(() => undefined);
      nowMs += ms;
    },
  };
}

/** Devices, and the one that they make together. */
export interface Stand {
  readonly name: string;
  readonly blocksPerExtent: number;
  readonly extents: number;
  /** Whether it goes on without each of its devices. */
  readonly isRedundant: boolean;
  /** The last of its devices is no part of it: the file in which the client keeps flags. */
  readonly hasLocalFile: boolean;
  /** Blank devices, formatted. */
  make(): Promise<StateDevice[]>;
  /** Over those that are there. For writing it is recovered first. */
  open(devices: readonly BlockDevice[], readOnly: boolean): Promise<Base>;
}

export interface Base {
  readonly device: BlockDevice;
  close(): Promise<void>;
  /** Gives back what it has of the pool of buffers; nothing is written. */
  abandon(): void;
}

export interface OpenedStore {
  readonly store: ExtentStore;
  readonly engine: MetadataEngine;
  readonly device: BlockDevice;
  close(): Promise<void>;
  abandon(): void;
}

export function extentBytesOf({ blocksPerExtent }: Stand): number {
  return blocksPerExtent * BLOCK_BYTES;
}

function poolBytes(stand: { readonly blocksPerExtent: number; readonly extents: number }): number {
  return stand.extents * stand.blocksPerExtent * BLOCK_BYTES;
}

const SIZES = { blocksPerExtent: 4, extents: 24 };

export const PLAIN: Stand = {
  name: 'a plain image',
  ...SIZES,
  isRedundant: false,
  hasLocalFile: true,
  async make() {
    const size = ENGINE_BYTES + poolBytes(SIZES);
    const localBytes = 2 * slotBytes(SIZES.extents, SIZES.blocksPerExtent);
    return [
      new StateDevice(StateContent.blank(0), { name: 'image', size }),
      new StateDevice(StateContent.blank(1), { name: 'local', size: localBytes }),
    ];
  },
  async open([device]) {
    return { device: device!, close: async () => undefined, abandon: () => undefined };
  },
};

const CHUNK_BYTES = 8192;
const RAID_SIZES = { blocksPerExtent: 4, extents: 24 };
const SHAPE: TestShape = {
  members: 3,
  chunkBytes: CHUNK_BYTES,
  layout: 2,
  stripes: (ENGINE_BYTES + poolBytes(RAID_SIZES)) / (2 * CHUNK_BYTES),
};

export const RAID: Stand = {
  name: 'RAID-5',
  ...RAID_SIZES,
  isRedundant: true,
  hasLocalFile: false,
  make: () =>
    makeMembers(
      SHAPE,
      (size, slot) => new StateDevice(StateContent.blank(slot), { name: `member-${slot}`, size }),
    ),
  async open(devices, readOnly) {
    const judgement = await judgeDevices(devices);
    const warn = () => undefined;
    const array = await openArray(judgement, { name: 'array', readOnly, warn, idleMs: NEVER_MS });
    try {
      // What is in doubt without a member is refused when it is read.
      if (!readOnly) await recoverArray(array, judgement, { warn, force: true });
    } catch (error) {
      array.core.closeArena();
      throw error;
    }
    return { device: array, close: () => array.close(), abandon: () => array.core.closeArena() };
  },
};

/** New devices with a store that has nothing in it. */
export async function makeStand(stand: Stand): Promise<StateDevice[]> {
  const devices = await stand.make();
  const base = await stand.open(devices, false);
  const range = { device: base.device, offset: 0, length: ENGINE_BYTES };
  await makeEngine(range, { logBytes: LOG_BYTES });
  const engine = await openEngine(range, { warn: () => undefined });
  await formatMetadata(engine, stand);
  await engine.checkpoint();
  await engine.close();
  await base.close();
  return devices;
}

export interface OpenStandOptions extends Partial<StoreOptions> {
  readonly readOnly?: boolean;
  readonly plant?: Plant | undefined;
  /** Where flags of what is not committed are kept. */
  readonly where?: FlagPlace;
}

/** Between the store and what it stands on: something is taken out there. */
export interface Plant {
  readonly device?: (device: BlockDevice) => BlockDevice;
  readonly engine?: (engine: MetadataEngine) => MetadataEngine;
}

export async function openStand(
  stand: Stand,
  devices: readonly BlockDevice[],
  { readOnly = false, ...options }: OpenStandOptions = {},
): Promise<OpenedStore> {
  const base = await stand.open(devices, readOnly);
  try {
    const local = stand.hasLocalFile ? devices.at(-1)! : null;
    return await openStore(stand, base, local, { readOnly, ...options });
  } catch (error) {
    base.abandon();
    throw error;
  }
}

async function openStore(
  stand: Stand,
  base: Base,
  local: BlockDevice | null,
  { readOnly = false, plant = {}, where = 'metadata', ...options }: OpenStandOptions,
): Promise<OpenedStore> {
  const device = plant.device?.(base.device) ?? base.device;
  const range = { device, offset: 0, length: ENGINE_BYTES };
  const opened = await openEngine(range, { warn: () => undefined, readOnly });
  const own = readOnly ? new OverlayEngine(opened) : opened;
  const engine = plant.engine?.(own) ?? own;
  const server = await MetadataServer.open(engine, { nowMs: () => 0, leaseMs: NEVER_MS });
  const store = await ExtentStore.open({
    service: server,
    pool: poolOn(device, stand),
    client: CLIENT,
    journalShares: true,
    clock: standingClock(),
    readOnly,
    flags: { volumeUuid: VOLUME_UUID, where, local: localFile(local, plant) },
    ...options,
  });
  const close = async () => {
    await store.close();
    await server.close();
    await engine.close();
    await base.close();
  };
  return { store, engine, device, close, abandon: () => base.abandon() };
}

/** It is there from the beginning, blank. */
function localFile(device: BlockDevice | null, plant: Plant): LocalFlagsFile | null {
  if (device === null) return null;
  const open = async () => plant.device?.(device) ?? device;
  return { name: device.name, open, make: open };
}

function poolOn(device: BlockDevice, stand: Stand): ClientPool {
  const { extents } = stand;
  const extentBytes = extentBytesOf(stand);
  return {
    blockBytes: BLOCK_BYTES,
    locate: (extent) => ({ device, offsetBytes: ENGINE_BYTES + extent * extentBytes }),
    targets: [{ device, from: 0, count: extents }],
  };
}
