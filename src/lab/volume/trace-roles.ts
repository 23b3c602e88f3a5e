/** Roles of what is in a trace: of a disk by ranges that somebody names, of a volume by what its images hold. */
import type { RoleOf } from '../../crash/coverage.js';
import type { Operation } from '../../crash/trace.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { UserError } from '../../errors.js';
import { openVolume } from '../../volume/volume.js';
import { initialContents } from '../explore/explore-trace.js';
import { devicesOf } from './recorded-disks.js';
import { StagedVolume } from './staged-volume.js';
import { rolesOf } from './volume-roles.js';

/** Bytes of the disk. */
export interface NamedRange {
  readonly role: string;
  readonly offset: number;
  readonly length: number;
}

/** undefined: each disk is a role. Throws USAGE for ranges of a trace that has several disks. */
export async function traceRoles(
  trace: StoredTrace,
  { ranges, directory }: { readonly ranges: readonly NamedRange[]; readonly directory: string },
): Promise<RoleOf | undefined> {
  if (ranges.length === 0) return volumeRoles(trace, directory);
  if (trace.devices.length > 1)
    throw new UserError(
      'USAGE',
      `--role names a range of a disk, and the trace has ${trace.devices.length}`,
      {
        hint: 'Leave it out: each disk is a role, and of a volume what its images hold.',
      },
    );
  return ({ offset }: Operation) =>
    ranges.find((range) => offset >= range.offset && offset < range.offset + range.length)?.role ??
    'elsewhere';
}

async function volumeRoles(trace: StoredTrace, directory: string): Promise<RoleOf | undefined> {
  if (trace.volume === null) return undefined;
  let staged: StagedVolume | null = null;
  try {
    staged = await StagedVolume.make(trace, trace.volume, directory);
    const { path } = staged;
    const indexOf = staged.indexOf.bind(staged);
    const devices = devicesOf(trace, initialContents(trace));
    return await staged.with(devices, null, async () => {
      const volume = await openVolume([path], { access: 'read', warn: () => undefined });
      try {
        return await rolesOf(trace, volume, indexOf);
      } finally {
        await volume.close();
      }
    });
  } catch (error) {
    // What cannot be put together here has its images as roles; whether it can be explored others say.
    if (error instanceof UserError) return undefined;
    throw error;
  } finally {
    await staged?.remove();
  }
}
