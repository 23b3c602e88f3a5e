/**
 * Which blocks of a volume may differ from its replicas, from what is on disk alone: nothing is locked or written. What cannot be
 * believed counts as all of them, and is said.
 */
import { openImage } from '../../device/open-image.js';
import { UserError } from '../../errors.js';
import type { BlockRange } from '../../replication/blocks.js';
import { type OpenedLog, TransactionLog } from '../../replication/log/transaction-log.js';
import type { BlockMap } from '../../replication/map/block-map.js';
import { MapFile, type MapOwner } from '../../replication/map/map-file.js';
import { ownerOf } from './map-files.js';
import type { PrimaryPlaces } from './places.js';
import { type ReplicaEntry, type ReplicasContent, readReplicas } from './replicas-file.js';

export interface BlocksOnDisk {
  /** null: it cannot be read. */
  readonly map: BlockMap | null;
  /** Why it is no more than a guess, or is not there; null: it is as it was written down. */
  readonly trouble: string | null;
}

export interface TrackedOnDisk {
  readonly content: ReplicasContent;
  /** What is dirty for each replica, by its name. */
  readonly replicas: ReadonlyMap<string, BlocksOnDisk>;
  /** Of a volume that was a secondary; null: it was none. */
  readonly former: FormerOnDisk | null;
}

export interface FormerOnDisk {
  /** Written here since it was promoted. */
  readonly written: BlocksOnDisk;
  /** Put back when it was promoted. */
  readonly putBack: BlocksOnDisk;
}

type Log = OpenedLog | Trouble;
type Trouble = { readonly trouble: string };

/** @throws UserError where its list of replicas cannot be read. */
export async function readTracked(places: PrimaryPlaces): Promise<TrackedOnDisk> {
  const content = await readReplicas(places.replicas);
  const { volumeUuid, former } = content;
  const log: Log = await read(places.log, (device) => TransactionLog.open(device, { volumeUuid }));
  const replicas = new Map<string, BlocksOnDisk>();
  for (const entry of content.replicas) {
    const { name, isMapLost } = entry;
    const owner = ownerOf(content, entry);
    replicas.set(name, await dirty(places.map(name), { ...owner, kind: 'dirty' }, log, isMapLost));
  }
  if (former === null) return { content, replicas, former };
  const owner = ownerOf(content, former);
  const written = await dirty(places.sincePromote, { ...owner, kind: 'dirty' }, log, former.isMapLost);
  const putBack = await mapAt(places.putBack, { ...owner, kind: 'putBack' });
  return { content, replicas, former: { written, putBack } };
}

/** Blocks that were never copied to a replica, and need not be. One that cannot be read has none: then they are copied. */
export async function readUncopied(
  places: PrimaryPlaces,
  content: ReplicasContent,
  entry: ReplicaEntry,
): Promise<readonly BlockRange[]> {
  const owner = ownerOf(content, entry);
  const { map, trouble } = await mapAt(places.uncopied(entry.name), { ...owner, kind: 'uncopied' });
  return map === null || trouble !== null ? [] : [...map.runs()];
}

async function dirty(path: string, owner: MapOwner, log: Log, isMapLost: boolean): Promise<BlocksOnDisk> {
  if ('trouble' in log) return { map: null, trouble: log.trouble };
  const { map, trouble } = await mapAt(path, owner);
  if (map === null) return { map, trouble };
  const lost = log.damage ?? (isMapLost ? 'its map could not be written' : null);
  if (lost !== null) map.setAll();
  for (const { ranges } of log.active) for (const range of ranges) map.set(range);
  return { map, trouble: lost === null ? trouble : `all blocks count as dirty: ${lost}` };
}

async function mapAt(path: string, owner: MapOwner): Promise<BlocksOnDisk> {
  const opened = await read(path, (device) => MapFile.open(device, owner));
  if ('trouble' in opened) return { map: null, trouble: opened.trouble };
  return { map: opened.file.map, trouble: opened.damage[0] ?? null };
}

async function read<T>(
  path: string,
  look: (device: Awaited<ReturnType<typeof openImage>>) => Promise<T>,
): Promise<T | Trouble> {
  try {
    const device = await openImage(path, { readOnly: true, lock: false });
    try {
      return await look(device);
    } finally {
      await device.close();
    }
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { trouble: error.message };
  }
}
