/**
 * Volumes with a replica for benches: made, tracked and opened by the product's own functions, each with one secondary that is an
 * image. Counters lie at the files, because they are paid for different things: the primary's image, the log, the maps, the
 * secondary's image, and what belongs to that (epoch log, marks, what a resync overwrites).
 *
 * Where time is measured nothing is counted: a counter below would hide from the stack that its image is a file.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { BlockDevice } from '../device/contract.js';
import { interpose } from '../device/open-image.js';
import type { ReplicaMode } from '../replication/settings.js';
import { openVolume, type Volume } from '../volume/index.js';
import { enableTracking } from '../volume/replication/enable.js';
import type { VolumeReplicas } from '../volume/replication/volume-replicas.js';
import type { Counts } from './bench.js';
import { type MEMBERS, MIB, varied } from './bench-array.js';
import { CountingDevice, DeviceTally } from './counting-device.js';
import { makeVolume } from './extents-volume.js';
import { inOrder, performWrites } from './workload.js';

/** Of the one replica that each volume has. */
export const REPLICA = 'replica-1';
const SECONDARY = 'second.img';

export interface TrackedShape {
  /** Where its directory is made, and how it is called. */
  readonly directory: string;
  readonly name: string;
  readonly sizeBytes: number;
  readonly members?: 1 | typeof MEMBERS;
  /** null: it is not tracked. */
  readonly mode: ReplicaMode | null;
  /** Where the secondary is, if not beside the volume: an image in this directory, or an export. */
  readonly secondaryDirectory?: string;
  readonly secondaryUri?: string;
  /** Whether all of it is written first, on both sides; else it stays sparse. */
  readonly isFilled: boolean;
}

export interface TrackedVolume {
  readonly path: string;
  readonly secondary: string;
}

/** In sync, and closed, when it returns. */
export async function makeTracked(shape: TrackedShape): Promise<TrackedVolume> {
  const { directory, name, sizeBytes, members = 1, mode, isFilled } = shape;
  const path = join(directory, name);
  const { secondaryDirectory = join(directory, `${name}-secondary`) } = shape;
  await makeVolume(path, sizeBytes, { members, extentBytes: null });
  await mkdir(secondaryDirectory, { recursive: true });
  const made = { path, secondary: shape.secondaryUri ?? join(secondaryDirectory, SECONDARY) };
  if (isFilled) await withVolume(made, (volume) => fill(volume.device));
  if (mode === null) return made;
  await withVolume(made, enableTracking);
  await withVolume(made, async ({ tracking: { replicas } }) => {
    await replicas!.add({
      ...{ name: REPLICA, to: made.secondary, mode, onLoss: 'continue' },
      ...{ force: false, limits: {}, usesAll: true },
    });
    await inSync(replicas!);
  });
  return made;
}

async function withVolume(made: TrackedVolume, work: (volume: Volume) => Promise<unknown>): Promise<void> {
  const volume = await openTracked(made);
  try {
    await work(volume);
  } finally {
    await volume.close();
  }
}

async function fill(device: BlockDevice): Promise<void> {
  const offsets = inOrder(Math.floor(device.size / MIB), MIB);
  await performWrites({ title: 'fill', requestBytes: MIB, offsets, depth: 4 }, device, varied(MIB));
}

/** As whoever uses it opens it: nothing is counted. */
export function openTracked({ path }: TrackedVolume): Promise<Volume> {
  return openVolume([path], { access: 'write', warn: () => undefined });
}

const PLACES = ['primary', 'log', 'maps', 'secondary', 'epochs'] as const;

/** One for each place; what belongs to the secondary counts with its epoch log. */
export type PlaceTally = Readonly<Record<(typeof PLACES)[number], DeviceTally>>;

/** Every image that is opened for it is counted, as long as it is open: the secondary is opened again and again. */
export async function openCountedPlaces(
  made: TrackedVolume,
): Promise<{ readonly volume: Volume; readonly tally: PlaceTally }> {
  const tally = Object.fromEntries(
    PLACES.map((place) => [place, new DeviceTally()]),
  ) as unknown as PlaceTally;
  const remove = interpose((image) => {
    const place = placeOf(image.name, made);
    return place === null ? image : new CountingDevice(image, tally[place]);
  });
  try {
    const volume = await openTracked(made);
    const close = () => volume.close().finally(remove);
    return { volume: { ...volume, close }, tally };
  } catch (error) {
    remove();
    throw error;
  }
}

function placeOf(file: string, { path, secondary }: TrackedVolume): keyof PlaceTally | null {
  if (file === secondary) return 'secondary';
  if (file.startsWith(`${secondary}.`)) return 'epochs';
  if (!file.startsWith(`${path}/`)) return null;
  if (!file.startsWith(join(path, 'replication', '/'))) return 'primary';
  return file.endsWith('transactions') ? 'log' : 'maps';
}

/** What was counted since the last time, of all places. */
export function takePlaces(tally: PlaceTally): Readonly<Record<keyof PlaceTally, Counts>> {
  return Object.fromEntries(PLACES.map((place) => [place, tally[place].take()])) as Record<
    keyof PlaceTally,
    Counts
  >;
}

export function barriersOf({ flushes, fuaWrites }: Counts): number {
  return flushes! + fuaWrites!;
}

/** Ends when the secondary has, durably, all that was written and flushed. */
export async function inSync(
  replicas: VolumeReplicas,
): Promise<{ copiedBlocks: number; copiedBytes: number }> {
  return replicas.sync(REPLICA, { signal: new AbortController().signal });
}
