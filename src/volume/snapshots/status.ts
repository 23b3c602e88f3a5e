/** What `status` and `snapshot list` say of snapshots: while the volume is open, and from what is on disk. */
import { statOrNull } from '../../device/stat-or-null.js';
import type { MomentStatus } from '../../snapshot/moment.js';
import type { SnapshotPlaces } from './places.js';
import { judged, readSnapshots, type SnapshotsContent } from './snapshots-file.js';
import type { VolumeStamp } from './stamp.js';

export interface SnapshotStatus {
  readonly name: string;
  readonly state: 'good' | 'unusable';
  /** Why it is unusable; null: it is good. */
  readonly reason: string | null;
  /** ISO 8601. */
  readonly createdAt: string;
  /** Whether it outlives a crash, and the end of the server. */
  readonly isDurable: boolean;
  /** Of the volume, in blocks that were changed since; null where the volume is not open. */
  readonly changedBytes: number | null;
  /** What its container takes. */
  readonly usedBytes: number;
  /** What it may take; null where the volume is not open. */
  readonly capacityBytes: number | null;
}

/** Marks are nobody's snapshots. */
export function snapshotsOpen(moments: readonly MomentStatus[]): SnapshotStatus[] {
  return moments
    .filter(({ kind }) => kind !== 'mark')
    .map(({ name, kind, state, why, createdMs, changedBytes, usedBytes, capacityBytes }) => ({
      ...{ name, state, reason: why, createdAt: new Date(createdMs).toISOString() },
      ...{ isDurable: kind === 'snapshot', changedBytes, usedBytes, capacityBytes },
    }));
}

/** `stamp`: of the volume as it is found; null: somebody has it open, and writes. Throws where the list cannot be read. */
export async function snapshotsOnDisk(
  places: SnapshotPlaces,
  stamp: VolumeStamp | null,
): Promise<SnapshotStatus[]> {
  const content = await readSnapshots(places.list);
  const { moments } = stamp === null ? content : judged(content, stamp, content.sizeBytes);
  return Promise.all(
    moments
      .filter(({ kind }) => kind === 'snapshot')
      .map(async ({ name, createdMs, unusable, layers }) => ({
        ...{ name, state: unusable === null ? ('good' as const) : ('unusable' as const), reason: unusable },
        ...{ createdAt: new Date(createdMs).toISOString(), isDurable: true },
        ...{ changedBytes: null, usedBytes: await usedBytes(places, layers), capacityBytes: null },
      })),
  );
}

async function usedBytes(
  places: SnapshotPlaces,
  layers: SnapshotsContent['moments'][number]['layers'],
): Promise<number> {
  const taken = layers.map(async (layer) => {
    const place = places.layer(layer);
    // All of it is the container's, whatever is in it.
    if (place.kind === 'range') return place.range.length;
    return ((await statOrNull(place.path))?.blocks ?? 0) * 512;
  });
  return (await Promise.all(taken)).reduce((sum, bytes) => sum + bytes, 0);
}
