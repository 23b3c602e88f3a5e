/** Looks at a volume's snapshots for fsck: at the list, at what each needs, and, where data is read, at all that is kept. */
import type { CheckedSnapshots } from '../check/context.js';
import { ClaimingDevice } from '../device/claiming-device.js';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { RaidArray } from '../raid/array.js';
import type { Located } from './locate.js';
import { isRemote } from './remote.js';
import { stampsOfArray, stampsOfImage } from './snapshots/stamp-sources.js';
import { VolumeSnapshots } from './snapshots/volume-snapshots.js';

export interface SnapshotsLook {
  /** What they are of, open for reading. */
  readonly device: BlockDevice;
  /** null for a single image. */
  readonly array: RaidArray | null;
  /** Reads all that is kept, too. */
  readonly isScrub: boolean;
  readonly signal: AbortSignal | undefined;
}

/** null: it has none. Nothing is written. */
export async function lookIntoSnapshots(
  located: Located,
  { device, array, isScrub, signal }: SnapshotsLook,
): Promise<CheckedSnapshots | null> {
  if (isRemote(device.name)) return null;
  const source = array === null ? stampsOfImage(device.name) : stampsOfArray(array);
  // Each is a finding.
  const warn = () => {};
  const asked = { source, sizeBytes: device.size, readOnly: true, warn };
  return VolumeSnapshots.during(located, asked, async (snapshots) => {
    await snapshots.open({
      ...{ label: located.label, device: new ClaimingDevice(device), moments: null, warn },
    });
    try {
      return await checked(snapshots, isScrub, signal);
    } catch (error) {
      if (!(error instanceof UserError) || error.code !== 'METADATA_DAMAGED') throw error;
      return { trouble: error, unusable: [], damaged: [] };
    } finally {
      await snapshots.close();
    }
  });
}

async function checked(
  { current }: VolumeSnapshots,
  isScrub: boolean,
  signal: AbortSignal | undefined,
): Promise<CheckedSnapshots | null> {
  if (current === null) return null;
  // Of a mark that is no good a comparison is as good.
  const unusable = current
    .list()
    .flatMap(({ name, kind, why }) => (why === null || kind === 'mark' ? [] : [{ name, why }]));
  const damaged: UserError[] = [];
  if (isScrub) for await (const error of current.damaged(signal)) damaged.push(error);
  if (signal?.aborted === true)
    throw new UserError('INTERRUPTED', 'stopped while the containers of snapshots were read');
  return { trouble: null, unusable, damaged };
}
