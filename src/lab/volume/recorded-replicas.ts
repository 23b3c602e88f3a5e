/**
 * The replicas that a recorded volume had from beginning to end: where each is among the trace's devices, and since when it was waited for (mode
 * `sync`). That is told by the volume's list, which says of each when it was away, was paused or had to be copied: from the last of those on, it
 * has all that was answered.
 */
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import type { SecondaryParts } from '../../replication/secondary/index.js';
import { locateVolume } from '../../volume/locate.js';
import { isRemote } from '../../volume/remote.js';
import { findPrimaryPlaces, SecondaryPlaces } from '../../volume/replication/places.js';
import { type ReplicaEntry, readReplicas } from '../../volume/replication/replicas-file.js';
import { contentsAtCut } from '../explore/replay.js';
import { devicesOf } from './recorded-disks.js';
import type { StagedVolume } from './staged-volume.js';

export const PARTS = ['image', 'epochs', 'kept', 'marks'] as const;

/** Devices of the trace. */
export type ReplicaParts = Readonly<Record<keyof SecondaryParts, number>>;

export interface RecordedReplica {
  readonly name: string;
  /** null: they were not all open while it was recorded. */
  readonly parts: ReplicaParts | null;
  /** It has all that was answered once more than so many requests have come; null: nobody waits for it, or not at the end. */
  readonly waitedForAfter: number | null;
}

interface Listed {
  readonly entries: readonly ReplicaEntry[];
  /** The device that the list is; null: it was not replaced. */
  readonly device: number | null;
}

export async function recordedReplicas(
  trace: StoredTrace,
  staged: StagedVolume,
): Promise<readonly RecordedReplica[]> {
  const before = await listedAt(trace, staged, 0);
  const after = await listedAt(trace, staged, trace.events.length);
  const byName = new Map(after.entries.map((entry) => [entry.name, entry]));
  const settled = requestsUntilListed(trace, after.device);
  return before.entries.flatMap(({ name, to }) => {
    const last = byName.get(name);
    if (last === undefined) return [];
    const waitedForAfter = isWaitedFor(last) ? settled : null;
    return { name, parts: isRemote(to) ? null : partsOf(to, staged), waitedForAfter };
  });
}

/** With all that was asked for by then. */
function listedAt(trace: StoredTrace, staged: StagedVolume, event: number): Promise<Listed> {
  const contents = contentsAtCut(trace, { event, keep: 'all', profile: 'sector-512' });
  return staged.with(devicesOf(trace, contents), null, async () => {
    const places = await findPrimaryPlaces(await locateVolume([staged.path]), { isLook: true });
    if (places === null) return { entries: [], device: null };
    const { replicas } = await readReplicas(places.replicas);
    return { entries: replicas, device: staged.indexOf(places.replicas) ?? null };
  });
}

function partsOf(image: string, staged: StagedVolume): ReplicaParts | null {
  const { marks, epochs, kept } = new SecondaryPlaces(image);
  const paths = { image, epochs, kept, marks };
  const found = PARTS.map((part) => [part, staged.indexOf(paths[part])] as const);
  return found.some(([, index]) => index === undefined) ? null : (Object.fromEntries(found) as ReplicaParts);
}

function isWaitedFor({ mode, isPaused, isWhole, diverged, awaySinceMs }: ReplicaEntry): boolean {
  return mode === 'sync' && isWhole && !isPaused && diverged === null && awaySinceMs === null;
}

/** How many requests had come when the list was replaced for the last time. */
function requestsUntilListed({ events, requests }: StoredTrace, device: number | null): number {
  const last = events.findLastIndex((event) => event.kind !== 'mark' && event.operation.device === device);
  return requests.filter(({ at }) => at <= last).length;
}
