/**
 * What a volume is and how it is, from its images alone: nothing is written, nothing is locked, and a volume
 * that another process has open can be looked at too.
 */

import type { BlockDevice } from '../device/contract.js';
import { lockHolder } from '../device/image-lock.js';
import { UserError } from '../errors.js';
import { layoutName } from '../raid/geometry.js';
import { BadBlocks, readBadBlocks } from '../raid/md/bad-blocks.js';
import type { JudgedMember, Judgement, Superblock } from '../raid/md/model.js';
import { geometryOf } from '../raid/open.js';
import { badBlocksOf } from './examine.js';
import { judgeImages, type OpenedImages, openImages } from './images.js';
import {
  assertHoldsVolume,
  assertWhole,
  cutShort,
  defaultName,
  type Located,
  locateVolume,
} from './locate.js';
import { isRemote } from './remote.js';
import { findPrimaryPlaces } from './replication/places.js';
import { replicasOnDisk } from './replication/status.js';
import { findSnapshotPlaces } from './snapshots/places.js';
import { stampOfImage, stampOfMembers, type VolumeStamp } from './snapshots/stamp.js';
import { type SnapshotStatus, snapshotsOnDisk } from './snapshots/status.js';
import { type FilesLook, lookAtFiles, stateWithFiles } from './status-extents.js';
import { lookInside } from './status-inside.js';
import type { MemberStatus, RaidStatus, VolumeState, VolumeStatus } from './status-model.js';
import { withServer } from './status-served.js';
import { isSingle } from './volume.js';

export interface StatusOptions {
  readonly asRaw?: boolean;
  /** Where the dirty-stripe record is kept, if not where the manifest says. */
  readonly record?: string | undefined;
}

export async function volumeStatus(
  args: readonly string[],
  { asRaw = false, record }: StatusOptions = {},
): Promise<VolumeStatus> {
  const located = await locateVolume(args);
  const status = await statusOfImages(located, { asRaw, record });
  return asRaw ? status : withReplicas(located, status);
}

/** As they are on disk; `stamp`: of the volume as it is found. What somebody has open and writes has no stamp. */
async function snapshotsOf(
  located: Located,
  holder: VolumeStatus['holder'],
  stamp: () => Promise<VolumeStamp>,
): Promise<SnapshotStatus[]> {
  const places = await findSnapshotPlaces(located, { isLook: true });
  if (places === null) return [];
  return snapshotsOnDisk(places, holder === null ? await stamp() : null);
}

/** As its server has them, or as they are on disk. */
async function withReplicas(located: Located, status: VolumeStatus): Promise<VolumeStatus> {
  const served = status.serving?.replicas;
  if (served !== undefined && served !== null) return { ...status, replicas: served };
  const places = await findPrimaryPlaces(located, { isLook: true });
  return places === null ? status : { ...status, replicas: await replicasOnDisk(places) };
}

async function statusOfImages(
  located: Located,
  { asRaw = false, record }: StatusOptions,
): Promise<VolumeStatus> {
  const opened = await openImages(located.images, located.expected, 'look');
  try {
    assertHoldsVolume(located, opened.images);
    if (asRaw || isSingle(located, opened.images))
      return await withServer(
        located,
        await singleStatus(located, await onlyImage(located, opened, asRaw), asRaw),
      );
    const judgement = judgeImages(located, opened.images);
    return await withServer(located, await raidStatus(located, judgement, opened.absent, record));
  } finally {
    await opened.close();
  }
}

/** Throws where there is not just one. */
async function onlyImage(located: Located, { images }: OpenedImages, asRaw: boolean): Promise<BlockDevice> {
  const [only, ...others] = images;
  if (only !== undefined && others.length === 0) return only.device;
  if (!asRaw) for (const path of located.images) await assertWhole(located, path);
  throw new UserError('USAGE', `${located.label}: a raw volume is one image, ${images.length} were found`);
}

async function singleStatus(located: Located, device: BlockDevice, asRaw: boolean): Promise<VolumeStatus> {
  const holder = await holderOf(device.name);
  const damage = cutShort(located, device.name, device.size);
  const files = asRaw || damage !== null ? null : await lookAtFiles(located, device, holder !== null);
  const state = damage !== null ? 'failed' : holder === null ? 'clean' : 'active';
  return {
    name: located.manifest?.name ?? defaultName(located.label),
    uuid: located.manifest?.uuid ?? null,
    ...filesStatus(files, device.size),
    state: stateWithFiles(state, files),
    members: [],
    dirtyStripes: 0,
    inDoubt: [],
    replicas: [],
    snapshots: isRemote(device.name)
      ? []
      : await snapshotsOf(located, holder, () => stampOfImage(device.name)),
    problems: [
      ...(damage === null ? [] : [{ code: damage.code, message: damage.message, hint: damage.hint ?? '' }]),
      ...(files?.problems ?? []),
    ],
    holder,
  };
}

function filesStatus(
  files: FilesLook | null,
  sizeBytes: number,
): Pick<VolumeStatus, 'format' | 'sizeBytes' | 'extents'> {
  if (files === null) return { format: 'raw', sizeBytes };
  const { extents } = files;
  return { format: 'extents', sizeBytes: files.sizeBytes, ...(extents === null ? {} : { extents }) };
}

async function raidStatus(
  located: Located,
  judgement: Judgement,
  absent: ReadonlyMap<string, string>,
  record: string | undefined,
): Promise<VolumeStatus> {
  const { set, freshest } = judgement;
  const holder = await firstHolder(judgement);
  const { files, ...seen } = await lookInside(located, judgement, record, holder !== null);
  // Open for writing it is clean whenever nobody has written for a while.
  const isWell = seen.state === 'dirty' || seen.state === 'clean';
  const ofArray = holder !== null && isWell ? 'active' : seen.state;
  const state = stateWithFiles(ofArray, files);
  const geometry = set === null || ofArray === 'failed' ? null : geometryOf(set);
  return {
    name: set?.name || located.manifest?.name || defaultName(located.label),
    uuid: set?.uuid ?? located.manifest?.uuid ?? null,
    ...filesStatus(files, geometry?.arraySizeBytes ?? 0),
    state,
    members: await Promise.all(judgement.members.map(memberStatus)),
    dirtyStripes: state === 'active' ? 0 : seen.dirtyStripes,
    inDoubt: state === 'active' ? [] : seen.inDoubt,
    replicas: [],
    snapshots: await snapshotsOf(located, holder, async () => stampOfJudged(judgement)),
    problems: [...problemsOf(judgement, ofArray, absent), ...seen.problems, ...(files?.problems ?? [])],
    holder,
    ...(set === null || freshest === null
      ? {}
      : { raid: { ...raidOf(judgement, freshest), record: seen.record } }),
  };
}

function stampOfJudged({ members }: Judgement): VolumeStamp {
  return stampOfMembers(
    members.flatMap(({ state, superblock }) =>
      state === 'in-sync' && superblock !== null ? [superblock] : [],
    ),
  );
}

function raidOf(judgement: Judgement, freshest: Superblock): Omit<RaidStatus, 'record'> {
  const set = judgement.set!;
  return {
    level: set.level,
    layout: layoutName(set.layout),
    chunkBytes: set.chunkBytes,
    raidDisks: set.raidDisks,
    dataOffsetBytes: freshest.dataOffset,
    memberSizeBytes: set.memberSizeBytes,
    metadataVersion: set.version,
    events: Number(set.events),
    resyncOffsetBytes: set.resyncOffset,
    consistency: consistencyOf(freshest),
  };
}

function consistencyOf(freshest: Superblock): RaidStatus['consistency'] {
  if (freshest.features.journal) return 'journal';
  if (freshest.ppl !== null) return 'ppl';
  return freshest.bitmapOffset !== null ? 'bitmap' : 'resync';
}

async function memberStatus(member: JudgedMember): Promise<MemberStatus> {
  const { superblock, device } = member;
  const bad = superblock === null || device === null ? null : await readBadBlocks(device, superblock);
  return {
    slot: member.slot,
    image: member.image,
    state: member.state,
    reason: member.reason,
    replacement: member.replacement,
    events: superblock === null ? null : Number(superblock.events),
    deviceNumber: superblock?.deviceNumber ?? null,
    deviceUuid: superblock?.deviceUuid || null,
    rebuiltBytes: superblock?.recoveryOffset ?? null,
    badBlocks: bad instanceof BadBlocks ? badBlocksOf(bad, superblock!) : [],
  };
}

async function firstHolder(judgement: Judgement): Promise<VolumeStatus['holder']> {
  for (const member of judgement.members) {
    if (member.image === null || member.state === 'foreign') continue;
    const holder = await holderOf(member.image);
    if (holder !== null) return holder;
  }
  return null;
}

/** What lies behind a server has no lock that could be asked for. */
async function holderOf(image: string): Promise<VolumeStatus['holder']> {
  return isRemote(image) ? null : lockHolder(image);
}

const ADVICE: Partial<Record<VolumeState, { message: string; hint: string }>> = {
  dirty: {
    message: 'it was not closed: parity may be wrong in the dirty stripes',
    hint: 'holdfast recover makes it right; so does the next command that writes',
  },
  degraded: {
    message: 'a member is missing or not to be trusted: the next failure loses data',
    hint: 'holdfast member add VOLUME --image FILE rebuilds it on another image',
  },
  'dirty-degraded': {
    message:
      'it was not closed and a member is missing: what that member held in the dirty stripes is in doubt',
    hint: 'bring the member back if it can be; else holdfast recover --force starts with what there is',
  },
  rebuilding: {
    message: 'a member is only partly rebuilt',
    hint: 'holdfast member add VOLUME goes on with it',
  },
};

const SPARE_ADVICE = {
  message: 'a member is missing or not to be trusted, and a spare is there',
  hint: 'holdfast member add VOLUME rebuilds it on the spare',
};

function problemsOf(
  judgement: Judgement,
  state: VolumeState,
  absent: ReadonlyMap<string, string>,
): VolumeStatus['problems'] {
  const refusals = judgement.refusals.map(({ code, message, hint }) => ({ code, message, hint }));
  const missing = [...absent].map(([image, why]) => ({
    code: 'IMAGE_ABSENT',
    message: `${image}: ${why}`,
    hint: 'bring it back, or rebuild its slot on another image',
  }));
  const spare = judgement.members.some((member) => member.state === 'spare');
  const advice = state === 'degraded' && spare ? SPARE_ADVICE : ADVICE[state];
  const own = advice === undefined ? [] : [{ code: state.toUpperCase().replace('-', '_'), ...advice }];
  return [...refusals, ...missing, ...own];
}
