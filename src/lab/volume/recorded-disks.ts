/** What clients of a recorded volume see: the disks that they use, as they were before the trace, and what is owed of each after a cut. */
import type { StateContent } from '../../crash/state-content.js';
import { StateDevice } from '../../crash/state-device.js';
import type { StoredTrace, StoredVolume } from '../../crash/trace-file/trace-reader.js';
import type { BlockDevice } from '../../device/contract.js';
import type { Range } from '../../device/range-set.js';
import { FileDevice } from '../../extents/index.js';
import type { Volume } from '../../volume/model.js';
import { openVolume } from '../../volume/volume.js';
import { contentsAtCut } from '../explore/replay.js';
import { DiskBase, type DiskReading } from './disk-reading.js';
import { OwedDisk, sectorsAsked } from './owed.js';
import type { StagedVolume } from './staged-volume.js';

export interface RecordedDisk {
  readonly name: string;
  readonly base: DiskBase;
  readonly owed: OwedDisk;
}

export type RecordedDisks = readonly RecordedDisk[];

const warn = (): void => undefined;

/** What clients found when they came. Throws UNSUPPORTED where they changed more than can be held to what is owed. */
export async function disksBefore(
  trace: StoredTrace,
  { disks }: StoredVolume,
  staged: StagedVolume,
): Promise<RecordedDisks> {
  const initial = contentsAtCut(trace, { event: 0, keep: 'none', profile: 'sector-512' });
  return staged.with(devicesOf(trace, initial), null, async () => {
    const volume = await openVolume([staged.path], { access: 'write', warn });
    try {
      const found: RecordedDisk[] = [];
      for (const [at, { name }] of disks.entries()) {
        const sectors = sectorsAsked(trace.requests, at);
        const base = await onDisk(volume, name, (disk) => DiskBase.read(disk, sectors));
        const owed = new OwedDisk(trace.requests, at, (sector) => base.sector(sector));
        found.push({ name, base, owed });
      }
      return found;
    } finally {
      await volume.close();
    }
  });
}

/** In a state that is open. `changed`: bytes of the volume that may be other than they were; null: any. */
export async function readingOf(
  volume: Volume,
  { name, base, owed }: RecordedDisk,
  changed: readonly Range[] | null,
): Promise<DiskReading> {
  return onDisk(volume, name, (disk) => base.compare(disk, owed, changed));
}

export function devicesOf({ devices }: StoredTrace, contents: readonly StateContent[]): StateDevice[] {
  return contents.map((content, at) => {
    const { name, size } = devices[at]!;
    return new StateDevice(content.fork(), { name, size });
  });
}

/** One disk of an open volume: itself, or a file of it. */
async function onDisk<T>(
  { files, device }: Volume,
  name: string,
  body: (disk: BlockDevice) => Promise<T>,
): Promise<T> {
  if (files === null) return body(device);
  const store = await files.store();
  const disk = new FileDevice(await store.openFile(name, { access: 'read' }));
  try {
    return await body(disk);
  } finally {
    await disk.close();
  }
}
