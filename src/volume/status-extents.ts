/**
 * What `status` says of a volume of files, from its metadata alone: opened for reading without locks, and closed again.
 * While somebody else writes, what is read may be half of it: then the numbers are left out.
 */
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { Role } from '../extents/format/superblock.js';
import { describeDamaged, findSuperblock } from '../extents/format/superblock-copies.js';
import { openEngine } from '../metadata/engine/open-engine.js';
import { type MetadataSummary, summarize } from '../metadata/server/summary.js';
import { assertFits } from './extents.js';
import { type ExtentsDevices, openExtentsDevices, placedIn, roleOf } from './extents-devices.js';
import type { Located } from './locate.js';
import type { ExtentsStatus, VolumeState, VolumeStatus } from './status-model.js';

/** null: it is of another format. */
export async function lookAtFiles(
  located: Located,
  device: BlockDevice,
  isHeld: boolean,
): Promise<FilesLook | null> {
  const role = await roleOf(located, device);
  if (role === null) return null;
  if (role !== 'volume') return await lookAtPart(located, device, role);
  try {
    const devices = await openExtentsDevices(located, device, { access: 'look' });
    try {
      return await lookInside(located, devices, isHeld);
    } finally {
      await devices.close();
    }
  } catch (error) {
    return { extents: null, sizeBytes: 0, problems: [problemOf(error)], isFailed: !isHeld };
  }
}

/** Of a volume that is somewhere else: by itself it holds nothing that could be had. */
async function lookAtPart({ label }: Located, device: BlockDevice, role: Role): Promise<FilesLook> {
  const found = await findSuperblock(device);
  const whose = found === null ? '' : ` ${found.superblock.volumeUuid}`;
  const problem = {
    code: 'NOT_ASSEMBLED',
    message: `${label} is the ${role} image of the volume of files${whose}, and no volume itself`,
    hint: 'name the volume by its directory; holdfast examine shows whose image is whose',
  };
  return { extents: null, sizeBytes: 0, problems: [problem], isFailed: true };
}

export interface FilesLook {
  /** null: not even its superblock can be had. */
  readonly extents: ExtentsStatus | null;
  readonly sizeBytes: number;
  readonly problems: VolumeStatus['problems'];
  readonly isFailed: boolean;
}

async function lookInside(located: Located, devices: ExtentsDevices, isHeld: boolean): Promise<FilesLook> {
  const { extentBytes, blockBytes } = devices.pool;
  const { flags } = devices.volume.found.superblock;
  const sizes = { extentBytes, blockBytes, flags };
  const sizeBytes = devices.volume.found.superblock.pool!.extents * extentBytes;
  const problems: VolumeStatus['problems'][number][] = placedIn(devices).flatMap(({ device, found }) =>
    describeDamaged(device, found).map((message) => ({
      code: 'EXTENTS_COPY_DAMAGED',
      message,
      hint: COPY_HINT,
    })),
  );
  try {
    const summary = await summaryOf(located, devices, (message) => {
      if (!isHeld) problems.push({ code: 'METADATA_COPY_DAMAGED', message, hint: COPY_HINT });
    });
    if (summary.transactionsToComplete > 0 && !isHeld) problems.push(unfinished(summary));
    return { extents: { ...sizes, ...summary }, sizeBytes, problems, isFailed: false };
  } catch (error) {
    const problem = problemOf(error);
    const all = isHeld ? problems : [...problems, problem];
    return { extents: { ...sizes, ...UNKNOWN }, sizeBytes, problems: all, isFailed: !isHeld };
  }
}

const COPY_HINT = 'holdfast fsck -p mends it from the other copy; so does the next command that writes';

const UNKNOWN = {
  extents: null,
  free: null,
  reserved: null,
  journal: null,
  files: null,
  uncommitted: null,
  transactionsToComplete: null,
} as const;

async function summaryOf(
  located: Located,
  { range, pool }: ExtentsDevices,
  warn: (message: string) => void,
): Promise<MetadataSummary> {
  const engine = await openEngine(range, { readOnly: true, warn: ({ message }) => warn(message) });
  try {
    await assertFits(located, { range, pool }, engine);
    return await summarize(engine);
  } finally {
    await engine.close();
  }
}

function unfinished({ transactionsToComplete: count }: MetadataSummary): VolumeStatus['problems'][number] {
  return {
    code: 'EXTENTS_UNFINISHED',
    message: `${count} committed transactions are not completed: what they hold lies in the journal still`,
    hint: 'holdfast recover completes them; so does the next command that writes files',
  };
}

/** What no user can act on is thrown. */
function problemOf(error: unknown): VolumeStatus['problems'][number] {
  if (!(error instanceof UserError)) throw error;
  const { code, message, hint = '' } = error;
  return { code, message, hint };
}

/** The state of the volume, with what its files say: an array that is degraded stays that. */
export function stateWithFiles(state: VolumeState, look: FilesLook | null): VolumeState {
  if (look === null || state === 'active') return state;
  if (look.isFailed) return 'failed';
  const isUnfinished = (look.extents?.transactionsToComplete ?? 0) > 0;
  return state === 'clean' && isUnfinished ? 'dirty' : state;
}
