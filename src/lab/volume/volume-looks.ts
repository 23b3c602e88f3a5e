/** What the product's own commands find of a staged volume: a look before it is mended, one opening for writing, and fsck after it. */
import type { Breach } from '../../crash/explorer-failure.js';
import type { Range } from '../../device/range-set.js';
import { UserError } from '../../errors.js';
import type { ScrubOptions } from '../../raid/scrub.js';
import { lookAt } from '../../volume/fsck-look.js';
import type { Volume } from '../../volume/model.js';
import { openVolume } from '../../volume/volume.js';
import { type DiskReading, nothingReadable } from './disk-reading.js';
import { type RecordedDisks, readingOf } from './recorded-disks.js';
import { replicasDiffer } from './replicas-held.js';
import type { ShownSnapshots, SnapshotsReading } from './shown-snapshots.js';

const warn = (): void => undefined;

/**
 * Whether each stripe whose parity is wrong is one that the records list; null: none is looked at. What a look cannot look at it says by a
 * finding. `suspect`: the rows that they list.
 */
export async function parityAsListed(
  path: string,
  scrub: ScrubOptions | null,
): Promise<{ readonly breach: Breach | null; readonly suspect: readonly Range[] }> {
  let listed: readonly Range[] = [];
  const breach = await caught('a look fails', async () => {
    const { scrubbed, suspect } = await lookAt([path], { scrub, warn });
    listed = suspect;
    const unlisted = scrubbed?.find(
      ({ rows }) => !suspect.some(({ start, end }) => start <= rows.start && rows.end <= end),
    );
    if (unlisted === undefined) return null;
    const { finding } = unlisted;
    return { invariant: `before recovery: ${finding.code}`, message: finding.message };
  });
  return { breach, suspect: listed };
}

/** The volume is closed, and clean, after it. */
export async function fsckOf(path: string, scrub: ScrubOptions): Promise<Breach | null> {
  return caught('fsck fails', async () => {
    const { findings } = await lookAt([path], { scrub, warn });
    // Which snapshots have to be good is known elsewhere (shown-snapshots.ts).
    const finding = findings.find(
      ({ severity, code }) => severity !== 'info' && code !== 'SNAPSHOT_UNUSABLE',
    );
    if (finding === undefined) return null;
    return { invariant: `after recovery: ${finding.code}`, message: finding.message };
  });
}

/** What clients may see, and what is kept for them. */
export interface RecordedView {
  readonly disks: RecordedDisks;
  readonly snapshots: ShownSnapshots;
}

export interface ReadView {
  readonly disks: readonly DiskReading[];
  readonly snapshots: SnapshotsReading;
}

export interface OpenedState {
  /** All images are there. */
  readonly isWhole: boolean;
  /**
   * It was mended without a member, and the power went again: what that member held of rows that were being written is lost,
   * metadata of a volume of files among it.
   */
  readonly mayRefuse: boolean;
  /** Bytes of the disk that may be other than they were, once it is open; null: any. */
  changed(): readonly Range[] | null;
}

/** Opens it for writing, reads all that clients may see, and closes it. */
export async function openOnce(
  path: string,
  view: RecordedView,
  state: OpenedState,
): Promise<ReadView | { readonly breach: Breach }> {
  let found: ReadView = { disks: [], snapshots: { lost: null, shown: [] } };
  const breach = await caught('it cannot be opened', async () => {
    try {
      const { differs, ...read } = await readAll(path, view, state);
      found = read;
      return differs;
    } catch (error) {
      if (!(error instanceof UserError) || !(state.mayRefuse || isLost(error, state))) throw error;
      found = { ...found, disks: view.disks.map(({ owed }) => nothingReadable(owed)) };
    }
    return null;
  });
  return breach === null ? found : { breach };
}

/** A transaction that is to be completed, of which the missing member held a part that is in doubt. */
function isLost({ code }: UserError, { isWhole }: OpenedState): boolean {
  return !isWhole && code === 'DATA_UNAVAILABLE';
}

async function readAll(
  path: string,
  view: RecordedView,
  state: OpenedState,
): Promise<ReadView & { readonly differs: Breach | null }> {
  const volume = await openForced(path, state.isWhole);
  try {
    // Where a file lies is told by what was written: it may be anywhere.
    const changed = volume.files === null ? state.changed() : null;
    const disks: DiskReading[] = [];
    for (const disk of view.disks) disks.push(await readingOf(volume, disk, changed));
    const snapshots = await view.snapshots.read(volume, changed);
    // Without a member what is in doubt cannot be copied, nor compared.
    return { disks, snapshots, differs: state.isWhole ? await replicasDiffer(volume) : null };
  } finally {
    await volume.close();
  }
}

/** Dirty and degraded it has to be forced; with all members it never has. */
async function openForced(path: string, isWhole: boolean): Promise<Volume> {
  try {
    return await openVolume([path], { access: 'write', warn });
  } catch (error) {
    if (isWhole || !(error instanceof UserError) || error.code !== 'REFUSED') throw error;
    return openVolume([path], { access: 'write', force: true, warn });
  }
}

async function caught(invariant: string, body: () => Promise<Breach | null>): Promise<Breach | null> {
  try {
    return await body();
  } catch (error) {
    // The power is cut in the trace, and nothing here is at fault but what it is to find.
    const { message, stack = '' } = error instanceof Error ? error : new Error(String(error));
    return { invariant, message, output: error instanceof UserError ? (error.hint ?? '') : stack };
  }
}
