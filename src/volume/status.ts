/**
 * What a volume is and how it is, from its images alone: nothing is written, nothing is locked, and a volume
 * that another process has open can be looked at too.
 */

import type { BlockDevice } from '../device/contract.js';
import { lockHolder } from '../device/image-lock.js';
import { UserError } from '../errors.js';
import { countStripes, layoutName } from '../raid/geometry.js';
import { BadBlocks, readBadBlocks } from '../raid/md/bad-blocks.js';
import { arrayState } from '../raid/md/judge.js';
import type { JudgedMember, Judgement, MemberState, Superblock } from '../raid/md/model.js';
import { geometryOf, openArray } from '../raid/open.js';
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
import { isSingle } from './volume.js';

export type VolumeState =
  | 'clean'
  | 'active'
  | 'dirty'
  | 'degraded'
  | 'dirty-degraded'
  | 'rebuilding'
  | 'failed';

export interface MemberStatus {
  readonly slot: number | null;
  readonly image: string | null;
  readonly state: MemberState;
  readonly reason: string;
  readonly replacement: boolean;
  readonly events: number | null;
  readonly deviceNumber: number | null;
  readonly deviceUuid: string | null;
  /** How far a rebuild has come, of `memberSizeBytes`. */
  readonly rebuiltBytes: number | null;
  readonly badBlocks: readonly { offsetBytes: number; lengthBytes: number }[];
}

export interface VolumeStatus {
  readonly name: string;
  readonly uuid: string | null;
  readonly format: 'raw';
  readonly sizeBytes: number;
  readonly state: VolumeState;
  readonly members: readonly MemberStatus[];
  /** Stripes whose parity may be wrong. */
  readonly dirtyStripes: number;
  readonly replicas: readonly never[];
  readonly snapshots: readonly never[];
  /** What is wrong and what to do, for people. */
  readonly problems: readonly { code: string; message: string; hint: string }[];
  /** Who has it open for writing. */
  readonly holder: { pid: number; command: string } | 'unknown' | null;
  readonly raid?: RaidStatus;
}

export interface RaidStatus {
  readonly level: number;
  readonly layout: string;
  readonly chunkBytes: number;
  readonly raidDisks: number;
  readonly dataOffsetBytes: number;
  readonly memberSizeBytes: number;
  readonly metadataVersion: string;
  readonly events: number;
  /** null: clean. */
  readonly resyncOffsetBytes: number | null;
  readonly consistency: 'resync' | 'bitmap' | 'ppl' | 'journal';
}

export async function volumeStatus(args: readonly string[], asRaw = false): Promise<VolumeStatus> {
  const located = await locateVolume(args);
  const opened = await openImages(located.images, located.expected, 'look');
  try {
    assertHoldsVolume(located, opened.images);
    if (asRaw || isSingle(located, opened.images))
      return await singleStatus(located, await onlyImage(located, opened, asRaw));
    const judgement = judgeImages(located, opened.images);
    return await raidStatus(located, judgement, opened.absent);
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

async function singleStatus(located: Located, device: BlockDevice): Promise<VolumeStatus> {
  const holder = await lockHolder(device.name);
  const damage = cutShort(located, device.name, device.size);
  return {
    name: located.manifest?.name ?? defaultName(located.label),
    uuid: located.manifest?.uuid ?? null,
    format: 'raw',
    sizeBytes: device.size,
    state: damage !== null ? 'failed' : holder === null ? 'clean' : 'active',
    members: [],
    dirtyStripes: 0,
    replicas: [],
    snapshots: [],
    problems:
      damage === null ? [] : [{ code: damage.code, message: damage.message, hint: damage.hint ?? '' }],
    holder,
  };
}

async function raidStatus(
  located: Located,
  judgement: Judgement,
  absent: ReadonlyMap<string, string>,
): Promise<VolumeStatus> {
  const { set, freshest } = judgement;
  const holder = await firstHolder(judgement);
  const judged = arrayState(judgement);
  const dirtyStripes = judged === 'dirty' || judged === 'dirty-degraded' ? await countDirty(judgement) : 0;
  const state = holder !== null && judged === 'dirty' ? 'active' : judged;
  const geometry = set === null || judged === 'failed' ? null : geometryOf(set);
  return {
    name: set?.name || located.manifest?.name || defaultName(located.label),
    uuid: set?.uuid ?? located.manifest?.uuid ?? null,
    format: 'raw',
    sizeBytes: geometry?.arraySizeBytes ?? 0,
    state,
    members: await Promise.all(judgement.members.map(memberStatus)),
    dirtyStripes: state === 'active' ? 0 : dirtyStripes,
    replicas: [],
    snapshots: [],
    problems: problemsOf(judgement, state, absent),
    holder,
    ...(set === null || freshest === null ? {} : { raid: raidOf(judgement, freshest) }),
  };
}

/** As the array would be opened: what its superblocks and bitmaps say. */
async function countDirty(judgement: Judgement): Promise<number> {
  const array = await openArray(judgement, { name: 'status', readOnly: true, warn: () => undefined });
  const { suspect, geometry } = array.core;
  await array.close();
  return countStripes(geometry, suspect.list());
}

function raidOf(judgement: Judgement, freshest: Superblock): RaidStatus {
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
    const holder = await lockHolder(member.image);
    if (holder !== null) return holder;
  }
  return null;
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
