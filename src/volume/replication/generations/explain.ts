/**
 * How a volume and each of its secondaries came to differ: since when, which side wrote what, and what can be done. From what is
 * on disk alone, on both sides, and what the server of a secondary tells of its own; nothing is locked or written. Of a side that
 * is in use it is a moment old.
 *
 * Whether one side goes on from the other is told by generations: promote begins a new one, whose parent is the one before.
 */
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import type { BlockMap } from '../../../replication/map/block-map.js';
import { locateVolume } from '../../locate.js';
import { type BlocksOnDisk, readTracked, type TrackedOnDisk } from '../on-disk.js';
import { findPrimaryPlaces } from '../places.js';
import type { Generation, ReplicaEntry, ReplicasContent } from '../replicas-file.js';
import { placeOf } from '../secondary/connect.js';
import { isSameSecondary, type PlaceChanges, type PlaceMarks, type PlaceSide } from '../secondary/place.js';
import { type ReplicaStateName, type ReplicaStatus, statusOnDisk } from '../status.js';
import { lookAtOldPrimary } from './coming-back.js';
import type { OldPrimary } from './old-primary.js';
import { FOREIGN, united } from './promoted-side.js';

/** `ahead`: it was promoted, and this side has nothing that it has not. `diverged`: this side has. */
export type Relation = 'same' | 'ahead' | 'diverged' | 'unrelated' | 'unknown';

/** More are counted, and not listed. */
const MOST_RANGES = 16;

/** Blocks of one side. */
export interface ChangedBlocks {
  /** null: that cannot be told. */
  readonly blocks: number | null;
  /** The first of them. */
  readonly ranges: readonly { readonly offsetBytes: number; readonly lengthBytes: number }[];
  /** How many ranges are not listed. */
  readonly moreRanges: number;
  /** Why it is a guess, or not known; null: it is neither. */
  readonly trouble: string | null;
}

export interface SecondarySide {
  readonly state: string;
  readonly generation: Generation;
  /** null: its server does not say. */
  readonly parent: Generation | null;
  readonly point: { readonly epoch: number; readonly atMs: number };
  /** Of one that was promoted; null: it was not, or that is not known. */
  readonly promotedAtMs: number | null;
  readonly written: ChangedBlocks | null;
  readonly putBack: ChangedBlocks | null;
}

export interface ReplicaExplanation {
  readonly name: string;
  readonly to: string;
  readonly state: ReplicaStateName;
  readonly relation: Relation;
  /** Since when it is not in sync, milliseconds since 1970; null: it is, or nobody saw it. */
  readonly awaySinceMs: number | null;
  readonly here: { readonly generation: Generation; readonly written: ChangedBlocks };
  /** null: it cannot be looked at from here. */
  readonly there: SecondarySide | null;
  /** Why it cannot be looked at, or why it is not known what was written there. */
  readonly whyNot: string | null;
  /** What would be copied to make both alike, in either direction; null: that cannot be told. */
  readonly differingBlocks: number | null;
  readonly differingBytes: number | null;
  readonly advice: string;
}

/** Of a volume that was a secondary. */
export interface FormerExplanation {
  readonly sinceMs: number;
  readonly generation: Generation;
  readonly parent: Generation | null;
  readonly written: ChangedBlocks;
  readonly putBack: ChangedBlocks;
  readonly advice: string;
}

export interface Explanation {
  readonly replicas: readonly ReplicaExplanation[];
  readonly former: FormerExplanation | null;
}

/** `statuses`: how they are now, also where a server has the volume. */
export async function explainReplicas(
  name: string,
  statuses: readonly Pick<ReplicaStatus, 'name' | 'state'>[],
): Promise<Explanation> {
  const tracked = await trackedOf(name);
  if (tracked === null) return { replicas: [], former: null };
  const { content } = tracked;
  return {
    replicas: await Promise.all(
      content.replicas.map((entry) => {
        const blocks = tracked.replicas.get(entry.name)!;
        const now = statuses.find((one) => one.name === entry.name) ?? statusOnDisk(entry, blocks);
        return explain(entry, content, blocks, now.state);
      }),
    ),
    former: formerOf(tracked),
  };
}

/** What `replica add --discard-changes` would cost. @throws UserError REFUSED where it is no former primary of the volume. */
export async function explainReturn(name: string, to: string): Promise<OldPrimary> {
  const tracked = await trackedOf(name);
  if (tracked === null)
    throw new UserError('REFUSED', `${name} is not tracked: it knows of no former primary`, {
      hint: 'holdfast replica add with --force makes a secondary of any image: all of it is copied, and what it holds is lost.',
      details: { image: to },
    });
  return lookAtOldPrimary(to, tracked.content);
}

async function trackedOf(name: string): Promise<TrackedOnDisk | null> {
  const places = await findPrimaryPlaces(await locateVolume([name]), { isLook: true });
  return places === null ? null : readTracked(places);
}

async function explain(
  entry: ReplicaEntry,
  content: ReplicasContent,
  blocks: BlocksOnDisk,
  stateNow: ReplicaStateName,
): Promise<ReplicaExplanation> {
  const { name, to, awaySinceMs } = entry;
  const { marks, changes, whyNot } = await lookThere(entry);
  const relation = marks === null ? 'unknown' : relate(entry, content, marks, blocks.map);
  const state = stateSeen(stateNow, relation);
  const differingBlocks = differing(state, blocks, changes);
  return {
    ...{ name, to, state, relation, awaySinceMs },
    here: { generation: content.generation, written: listed(blocks) },
    there: marks === null ? null : sideOf(marks, changes),
    ...{
      whyNot,
      differingBlocks,
      differingBytes: differingBlocks === null ? null : differingBlocks * BLOCK_BYTES,
    },
    advice: advise(state, relation, entry),
  };
}

/** Whoever has the volume open may not have seen yet that it was promoted, or that it is a secondary again. */
function stateSeen(state: ReplicaStateName, relation: Relation): ReplicaStateName {
  if (relation === 'ahead' || relation === 'diverged') return 'diverged';
  return relation === 'same' && state === 'diverged' ? 'unsynchronized' : state;
}

async function lookThere(entry: ReplicaEntry): Promise<PlaceSide> {
  const nothing = { marks: null, changes: null };
  try {
    const place = await placeOf(entry);
    if (place === null) return { ...nothing, whyNot: `it is ${FOREIGN}` };
    const side = await place.side();
    return side.marks === null ? { ...nothing, whyNot: 'no secondary is there' } : side;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { ...nothing, whyNot: error.message };
  }
}

function relate(
  { uuid }: ReplicaEntry,
  { volumeUuid }: ReplicasContent,
  marks: PlaceMarks,
  dirty: BlockMap | null,
): Relation {
  if (!isSameSecondary(marks, { volumeUuid, replicaUuid: uuid })) return 'unrelated';
  if (marks.state !== 'promoted' && marks.state !== 'promoting') return 'same';
  return dirty?.isEmpty === true ? 'ahead' : 'diverged';
}

function sideOf(
  { state, generation, parent, point }: PlaceMarks,
  changes: PlaceChanges | null,
): SecondarySide {
  return {
    ...{ state, point, generation, parent },
    promotedAtMs: changes?.sinceMs ?? null,
    written: changes === null ? null : listed(changes.written),
    putBack: changes === null ? null : listed(changes.putBack),
  };
}

/** While it was not promoted what is dirty here is all. */
function differing(
  state: ReplicaStateName,
  { map }: BlocksOnDisk,
  changes: PlaceChanges | null,
): number | null {
  if (map === null || state !== 'diverged') return map?.count ?? null;
  if (changes?.written.map == null || changes.putBack.map === null) return null;
  return united(map, changes.written.map, changes.putBack.map).count;
}

function formerOf({ content, former }: TrackedOnDisk): FormerExplanation | null {
  if (former === null || content.former === null) return null;
  return {
    ...{ sinceMs: content.former.sinceMs, generation: content.generation, parent: content.parent },
    written: listed(former.written),
    putBack: listed(former.putBack),
    advice:
      'When its former primary is back: holdfast replica add with --to and --discard-changes makes that its secondary.',
  };
}

function advise(state: ReplicaStateName, relation: Relation, { name }: ReplicaEntry): string {
  if (relation === 'unrelated')
    return 'Another secondary is in its place: bring back the right one, or remove this replica and add it anew.';
  if (state === 'diverged')
    return `Choose a side: holdfast replica resume --name ${name} --discard-changes gives up what was written there; holdfast replica add NEWVOLUME --to OLDVOLUME --discard-changes, over there, what was written here.`;
  if (state === 'paused') return `holdfast replica resume --name ${name} copies what was written meanwhile.`;
  if (state === 'in-sync') return 'Nothing is to be done.';
  return relation === 'unknown'
    ? 'It is away: bring it back, and what was written meanwhile is copied by itself.'
    : 'What differs is copied while the volume is open: holdfast replica sync waits for it.';
}

function listed({ map, trouble }: BlocksOnDisk): ChangedBlocks {
  if (map === null) return { blocks: null, ranges: [], moreRanges: 0, trouble };
  const ranges: { offsetBytes: number; lengthBytes: number }[] = [];
  let moreRanges = 0;
  for (const { from, count } of map.runs()) {
    if (ranges.length === MOST_RANGES) moreRanges += 1;
    else ranges.push({ offsetBytes: from * BLOCK_BYTES, lengthBytes: count * BLOCK_BYTES });
  }
  return { blocks: map.count, ranges, moreRanges, trouble };
}
