/**
 * The snapshots of a recorded volume, in its states. One that was good before the trace, and still is at its uncut end, is there in every state and
 * good. One that was given up meanwhile (its container full, or its range written to), or deleted, is owed to nobody. But whichever says that it is
 * good is: it holds what it held before the trace; or, where it was made meanwhile, it is a moment of the volume (owed-moment.ts).
 *
 * Those that were made meanwhile of a volume of files are not looked into.
 */
import type { Breach } from '../../crash/explorer-failure.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import type { BlockDevice } from '../../device/contract.js';
import type { Range } from '../../device/range-set.js';
import type { Volume } from '../../volume/model.js';
import { snapshotOf } from '../../volume/snapshots/as-volume.js';
import { openVolume } from '../../volume/volume.js';
import { contentsAtCut } from '../explore/replay.js';
import { DiskBase, type DiskReading } from './disk-reading.js';
import { OwedDisk } from './owed.js';
import { noMoment } from './owed-moment.js';
import { devicesOf, type RecordedDisk, type RecordedDisks } from './recorded-disks.js';
import type { StagedVolume } from './staged-volume.js';

/** One that says that it is good. */
interface Shown {
  readonly name: string;
  readonly wasMade: boolean;
  readonly reading: DiskReading;
}

export interface SnapshotsReading {
  /** One that has to be there, and is not; null: all are. */
  readonly lost: string | null;
  readonly shown: readonly Shown[];
}

interface Named {
  readonly name: string;
  /** A name may be given again. */
  readonly identity: string;
}

const NOBODY = new OwedDisk([], 0, () => new Uint8Array());

export class ShownSnapshots {
  private constructor(
    private readonly before: ReadonlyMap<string, DiskBase>,
    private readonly kept: readonly Named[],
    /** null: a volume of files. */
    private readonly disk: RecordedDisk | null,
  ) {}

  static async of(trace: StoredTrace, staged: StagedVolume, disks: RecordedDisks): Promise<ShownSnapshots> {
    const [start, end] = [0, trace.events.length];
    const still = new Set(
      await opened(trace, staged, end, async (volume) => goodOf(volume).map(({ identity }) => identity)),
    );
    return opened(trace, staged, start, async (volume) => {
      const before = new Map<string, DiskBase>();
      const good = goodOf(volume);
      for (const { name, identity } of good) {
        const base = await onSnapshot(volume, name, (device) => DiskBase.read(device, new Set()));
        before.set(identity, base);
      }
      const kept = good.filter(({ identity }) => still.has(identity));
      return new ShownSnapshots(before, kept, volume.role === 'volume' ? null : disks[0]!);
    });
  }

  /** Of a state that is open. `changed`: bytes of the volume that may be other than they were; null: any. */
  async read(volume: Volume, changed: readonly Range[] | null): Promise<SnapshotsReading> {
    const { disk } = this;
    const good = goodOf(volume);
    const lost = this.kept.find(({ identity }) => good.every((each) => each.identity !== identity));
    const shown: Shown[] = [];
    for (const { name, identity } of good) {
      const base = this.before.get(identity);
      // What a snapshot keeps lies elsewhere than where it was.
      const compared = (device: BlockDevice) =>
        base === undefined
          ? disk!.base.compare(device, disk!.owed, changed)
          : base.compare(device, NOBODY, null);
      if (base === undefined && disk === null) continue;
      const reading = await onSnapshot(volume, name, compared);
      shown.push({ name, wasMade: base === undefined, reading });
    }
    return { lost: lost?.name ?? null, shown };
  }

  /** `mayBeLost`: something of a member that is missing is. */
  judge({ lost, shown }: SnapshotsReading, mayBeLost: boolean): Breach | null {
    if (lost !== null)
      return { invariant: 'a snapshot is lost', message: `snapshot ${lost} is not good any more` };
    for (const { name, reading } of shown) {
      if (reading.spoilt !== null)
        return {
          invariant: 'a snapshot has changed',
          message: `the byte at offset ${reading.spoilt} of snapshot ${name} is not what it was`,
        };
      const [first] = reading.unreadable ?? [];
      if (first === undefined || mayBeLost) continue;
      const message = `offset ${first} of snapshot ${name} cannot be read, and nothing may be lost`;
      return { invariant: 'a sector cannot be read', message };
    }
    return null;
  }

  /** After the first `told` of the requests. */
  check({ shown }: SnapshotsReading, told: number): Breach | null {
    for (const { name, wasMade, reading } of shown) {
      if (!wasMade) continue;
      const why = noMoment([{ ...this.disk!, contents: reading.contents }], told);
      if (why === null) continue;
      return { invariant: 'a snapshot is no moment of the volume', message: `snapshot ${name}: ${why}` };
    }
    return null;
  }
}

/** As it is with all that was asked for by then. */
function opened<T>(
  trace: StoredTrace,
  staged: StagedVolume,
  event: number,
  body: (volume: Volume) => Promise<T>,
): Promise<T> {
  const contents = contentsAtCut(trace, { event, keep: 'all', profile: 'sector-512' });
  return staged.with(devicesOf(trace, contents), null, async () => {
    const volume = await openVolume([staged.path], { access: 'read', warn: () => undefined });
    try {
      return await body(volume);
    } finally {
      await volume.close();
    }
  });
}

function goodOf({ snapshots }: Volume): Named[] {
  const all = snapshots.current?.list() ?? [];
  return all.flatMap(({ name, kind, state, createdMs }) =>
    kind === 'mark' || state !== 'good' ? [] : [{ name, identity: `${createdMs} ${name}` }],
  );
}

async function onSnapshot<T>(
  volume: Volume,
  name: string,
  body: (device: BlockDevice) => Promise<T>,
): Promise<T> {
  const { device, leave } = snapshotOf(volume, name);
  try {
    return await body(device);
  } finally {
    await leave();
  }
}
