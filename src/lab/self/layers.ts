/**
 * The workloads in which holdfast's own layers are explored, by layer: by the project's tests, and by whoever wants to
 * see it (`crash explore --self`). Each is recorded anew, over devices in memory, and explored; the same seed is the same run.
 */
import type { Report } from '../../crash/explorer-report.js';
import type { ExploreOptions } from '../../crash/explorer-subject.js';
import { PROFILE_NAMES, type ProfileName } from '../../crash/profiles.js';
import { exploreExtents } from './extents/run.js';
import { PLAIN, RAID, type Stand } from './extents/stand.js';
import { workloadsOn } from './extents/workloads.js';
import type { LayerName } from './layer-names.js';
import { exploreEngine } from './metadata/run.js';
import { ENGINE_WORKLOADS } from './metadata/workloads.js';
import type { Workload } from './raid/recording.js';
import { exploreWorkload } from './raid/run.js';
import { FIRST_HALF, SECOND_HALF } from './raid/workloads.js';
import { CHAIN_WORKLOADS } from './replication/chain-workloads.js';
import { JOINING_WORKLOADS } from './replication/joining-workloads.js';
import type { Side } from './replication/pair-devices.js';
import type { PairWorkload } from './replication/pair-recording.js';
import { explorePair } from './replication/pair-run.js';
import { PAIR_WORKLOADS } from './replication/pair-workloads.js';
import { exploreSecondary } from './replication/secondary-run.js';
import { SECONDARY_WORKLOADS } from './replication/secondary-workloads.js';
import { TWO_WORKLOADS } from './replication/two-workloads.js';
import type { SnapshotsWorkload } from './snapshot/recording.js';
import { exploreSnapshots } from './snapshot/run.js';
import { LOSSY_WORKLOADS, WHOLE_WORKLOADS } from './snapshot/workloads.js';

export interface SelfWorkload {
  readonly name: string;
  explore(options: Omit<ExploreOptions, 'spared'>): Promise<Report>;
}

export const ARRAYS = { first: FIRST_HALF.map(ofArrays), second: SECOND_HALF.map(ofArrays) };
export const FILES = { plain: filesOn(PLAIN), raid: filesOn(RAID) };
export const ENGINES: readonly SelfWorkload[] = ENGINE_WORKLOADS.map((workload) => ({
  name: workload.name,
  explore: (options) => exploreEngine(workload, options),
}));
export const REPLICAS = {
  pair: cutOf(['primary', 'second', 'all'], PAIR_WORKLOADS),
  several: cutOf(
    ['primary', 'second', 'third', 'all'],
    [...TWO_WORKLOADS, ...JOINING_WORKLOADS, ...CHAIN_WORKLOADS],
  ),
  secondary: (['opening', 'promote'] as const).flatMap((looksAt) =>
    SECONDARY_WORKLOADS.map(
      (workload): SelfWorkload => ({
        name: `${looksAt}: ${workload.name}`,
        explore: (options) => exploreSecondary(workload, { ...options, looksAt }),
      }),
    ),
  ),
};
export const SNAPSHOTS = { whole: WHOLE_WORKLOADS.map(ofMoments), lossy: LOSSY_WORKLOADS.map(ofMoments) };

export function workloadsOf(layer: LayerName): readonly SelfWorkload[] {
  const all = {
    raid: [...ARRAYS.first, ...ARRAYS.second],
    metadata: ENGINES,
    extents: [...FILES.plain, ...FILES.raid],
    replication: [...REPLICAS.pair, ...REPLICAS.several, ...REPLICAS.secondary],
    snapshot: [...SNAPSHOTS.whole, ...SNAPSHOTS.lossy],
  };
  return all[layer];
}

/**
 * By which a layer is explored. md keeps one superblock of one sector a member, so that noise there costs the member,
 * whatever anybody does; files on an array stand on it.
 */
export function profilesOf(layer: LayerName): readonly ProfileName[] {
  if (layer !== 'raid' && layer !== 'extents') return PROFILE_NAMES;
  return PROFILE_NAMES.filter((profile) => profile !== 'garbage-torn');
}

function ofArrays(workload: Workload): SelfWorkload {
  return {
    name: workload.name,
    explore: async (options) => (await exploreWorkload(workload, options)).report,
  };
}

function filesOn(stand: Stand): SelfWorkload[] {
  return workloadsOn(stand).map((workload) => ({
    name: `on ${stand.name}: ${workload.name}`,
    explore: (options) => exploreExtents(workload, { ...options, stand }),
  }));
}

function cutOf(sides: readonly Side[], workloads: readonly PairWorkload[]): SelfWorkload[] {
  return sides.flatMap((side) =>
    workloads.map((workload) => ({
      name: `cut of ${side}: ${workload.name}`,
      explore: (options) => explorePair(workload, { ...options, side }),
    })),
  );
}

function ofMoments(workload: SnapshotsWorkload): SelfWorkload {
  return { name: workload.name, explore: (options) => exploreSnapshots(workload, options) };
}
