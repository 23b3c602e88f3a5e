/** A recorded volume, explored without anybody's commands: opened by the product's own code, and held to what must hold. */
import { explore } from '../../crash/explorer.js';
import type { Report } from '../../crash/explorer-report.js';
import type { ExploreOptions } from '../../crash/explorer-subject.js';
import { StateContent } from '../../crash/state-content.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { UserError } from '../../errors.js';
import type { Geometry } from '../../raid/geometry.js';
import { openVolume } from '../../volume/volume.js';
import { assertHoldsUncut } from '../explore/uncut.js';
import { devicesOf, disksBefore } from './recorded-disks.js';
import { ReplicaMoments } from './replica-moments.js';
import { ShownSnapshots } from './shown-snapshots.js';
import { StagedVolume } from './staged-volume.js';
import { TouchedRows } from './touched-rows.js';
import { VolumeSubject } from './volume-subject.js';

export interface ExploreVolumeOptions extends Omit<ExploreOptions, 'atOnce' | 'spared'> {
  /** In which the run makes a folder of its own. */
  readonly directory: string;
  /** As if the array had no record of dirty stripes and were started after each cut all the same: the write hole is to be seen. */
  readonly assumesClean?: boolean;
  readonly signal: AbortSignal;
  readonly warn: (message: string) => void;
}

/** Throws what `withVolume` throws, and USAGE where it does not hold uncut. */
export async function exploreVolume(trace: StoredTrace, options: ExploreVolumeOptions): Promise<Report> {
  return withVolume(trace, options, async ({ whole, subject }) => {
    await assertHoldsUncut(trace, whole, 'This is a fault of the volume, or of the recording.');
    return withoutStackTraces(() => explore(subject, { ...options, atOnce: 1 }));
  });
}

export interface VolumeSubjects {
  /** For one state: its parity is looked at in all rows, and nothing is assumed of it. */
  readonly whole: VolumeSubject;
  /** For many states. */
  readonly subject: VolumeSubject;
}

/** While `body` runs it is staged. Throws UNSUPPORTED where the trace is of no volume, or of one that cannot be put together elsewhere. */
export async function withVolume<T>(
  trace: StoredTrace,
  {
    directory,
    assumesClean = false,
    warn,
  }: Pick<ExploreVolumeOptions, 'directory' | 'assumesClean' | 'warn'>,
  body: (subjects: VolumeSubjects) => Promise<T>,
): Promise<T> {
  const { volume } = trace;
  if (volume === null) throw isNoVolume();
  const staged = await StagedVolume.make(trace, volume, directory);
  try {
    const initial = trace.devices.map((_, device) => StateContent.over(device, trace.base(device)));
    const disks = await disksBefore(trace, volume, staged);
    const { members, geometry, touched, keepsOrder } = await membersOf(trace, staged, initial);
    const snapshots = await ShownSnapshots.of(trace, staged, disks);
    const replicas = await ReplicaMoments.of(trace, staged, { disks, keepsOrder });
    for (const name of replicas.left) warn(isNotHeld(name));
    const of = { trace, initial, staged, disks, members, geometry, keepsOrder, snapshots, replicas };
    if (assumesClean && members.length === 0) throw hasNoParity();
    const whole = new VolumeSubject({ ...of, touched: null, assumesClean: false });
    return await body({ whole, subject: new VolumeSubject({ ...of, touched, assumesClean }) });
  } finally {
    await staged.remove();
  }
}

interface Members {
  /** Of an array: each of them may be gone after a cut. */
  readonly members: readonly number[];
  /** Of an array that is one disk. */
  readonly geometry: Geometry | null;
  readonly touched: TouchedRows | null;
  readonly keepsOrder: boolean;
}

async function membersOf(
  trace: StoredTrace,
  staged: StagedVolume,
  initial: readonly StateContent[],
): Promise<Members> {
  return staged.with(devicesOf(trace, initial), null, async () => {
    const volume = await openVolume([staged.path], { access: 'read', warn: () => undefined });
    try {
      const keepsOrder = volume.files !== null;
      if (volume.array === null || volume.array.core.isDegraded)
        return { members: [], geometry: null, touched: null, keepsOrder };
      const { core } = volume.array;
      const dataOffsets = new Map<number, number>();
      for (const { image, superblock } of core.slotMembers())
        dataOffsets.set(staged.indexOf(image)!, superblock.dataOffset);
      const touched = new TouchedRows(dataOffsets, core.geometry);
      touched.add(trace);
      return {
        members: [...dataOffsets.keys()],
        geometry: volume.files === null ? core.geometry : null,
        ...{ touched, keepsOrder },
      };
    } finally {
      await volume.close();
    }
  });
}

/** Refusals are made by the thousand, and where they come from is what takes longest; of what nobody expects one place is told. */
export async function withoutStackTraces<T>(body: () => Promise<T>): Promise<T> {
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 1;
  try {
    return await body();
  } finally {
    Error.stackTraceLimit = stackTraceLimit;
  }
}

function isNotHeld(replica: string): string {
  return `replica ${replica} was not like the volume when the recording began, or was not reached: that it is a moment of it is not looked at`;
}

function isNoVolume(): UserError {
  return new UserError('UNSUPPORTED', 'the trace is of a disk, and says nothing of what must hold on it', {
    hint: 'Give a --check; a trace of a volume (crash record VOLUME) is checked by itself.',
  });
}

function hasNoParity(): UserError {
  return new UserError(
    'UNSUPPORTED',
    '--assume-clean is for arrays that were whole when they were recorded',
    {
      hint: 'Leave it out: what has no parity to lose has no write hole.',
    },
  );
}
