/**
 * What a volume shows: the disks that its clients use, and its snapshots, which nobody writes. All as they were before the trace, and what is
 * owed of each after a cut.
 *
 * A snapshot that was there before the trace holds what it held, in every state. Whether one was given up meanwhile (its container full, or its
 * range written to) the uncut end tells: what is lost there is owed to nobody.
 */
import type { StateContent } from '../../crash/state-content.js';
import { StateDevice } from '../../crash/state-device.js';
import type { StoredTrace, StoredVolume } from '../../crash/trace-file/trace-reader.js';
import type { BlockDevice } from '../../device/contract.js';
import type { Range } from '../../device/range-set.js';
import { FileDevice } from '../../extents/index.js';
import type { Volume } from '../../volume/model.js';
import { snapshotOf } from '../../volume/snapshots/as-volume.js';
import { openVolume } from '../../volume/volume.js';
import { contentsAtCut } from '../explore/replay.js';
import { DiskBase, type DiskReading } from './disk-reading.js';
import { OwedDisk, sectorsAsked } from './owed.js';
import type { StagedVolume } from './staged-volume.js';

export interface RecordedDisk {
  readonly name: string;
  readonly isSnapshot: boolean;
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
  const kept = await snapshotsAtEnd(trace, staged);
  const initial = contentsAtCut(trace, { event: 0, keep: 'none', profile: 'sector-512' });
  return staged.with(devicesOf(trace, initial), null, async () => {
    const volume = await openVolume([staged.path], { access: 'write', warn });
    try {
      const found: RecordedDisk[] = [];
      for (const [at, { name }] of disks.entries()) {
        const sectors = sectorsAsked(trace.requests, at);
        const base = await onDisk(volume, name, (disk) => DiskBase.read(disk, sectors));
        const owed = new OwedDisk(trace.requests, at, (sector) => base.sector(sector));
        found.push({ name, isSnapshot: false, base, owed });
      }
      const nobody = new OwedDisk([], 0, () => new Uint8Array());
      for (const name of snapshotsOf(volume).filter((each) => kept.has(each))) {
        const base = await onSnapshot(volume, name, (disk) => DiskBase.read(disk, new Set()));
        found.push({ name, isSnapshot: true, base, owed: nobody });
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
  { name, isSnapshot, base, owed }: RecordedDisk,
  changed: readonly Range[] | null,
): Promise<DiskReading> {
  // What a snapshot keeps lies elsewhere than where it was.
  if (isSnapshot) return onSnapshot(volume, name, (disk) => base.compare(disk, owed, null));
  return onDisk(volume, name, (disk) => base.compare(disk, owed, changed));
}

export function devicesOf({ devices }: StoredTrace, contents: readonly StateContent[]): StateDevice[] {
  return contents.map((content, at) => {
    const { name, size } = devices[at]!;
    return new StateDevice(content.fork(), { name, size });
  });
}

/** Names of those that can be read. */
function snapshotsOf({ snapshots }: Volume): string[] {
  const all = snapshots.current?.list() ?? [];
  return all.filter(({ kind, state }) => kind !== 'mark' && state === 'good').map(({ name }) => name);
}

async function snapshotsAtEnd(trace: StoredTrace, staged: StagedVolume): Promise<ReadonlySet<string>> {
  const event = trace.events.length;
  const contents = contentsAtCut(trace, { event, keep: 'all', profile: 'sector-512' });
  return staged.with(devicesOf(trace, contents), null, async () => {
    const volume = await openVolume([staged.path], { access: 'read', warn });
    try {
      return new Set(snapshotsOf(volume));
    } finally {
      await volume.close();
    }
  });
}

async function onSnapshot<T>(
  volume: Volume,
  name: string,
  body: (disk: BlockDevice) => Promise<T>,
): Promise<T> {
  const { device, leave } = snapshotOf(volume, name);
  try {
    return await body(device);
  } finally {
    await leave();
  }
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
