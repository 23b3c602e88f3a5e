/**
 * How a change of a file comes into an epoch. All that it needs is made ready first, for as long as it takes; then, in one
 * turn of the loop, the epoch that is current takes the whole of it. So no commit has a part of a change, and one that was
 * acknowledged before another was submitted is never in a later commit.
 *
 * No journal extent to be had (paragraph 25): what was acknowledged so far is committed early, which is a point in the
 * order of writes, and the change waits until completion has freed extents; or it is refused. Nothing of it is applied
 * then.
 */
import { UserError } from '../errors.js';
import { associate } from './association.js';
import type { Epoch } from './epoch.js';
import type { FileState } from './file-state.js';
import { withdrawKept } from './kept-flags.js';

export interface Change<T> {
  /** What must end before it can be applied to this epoch; null: nothing. */
  readonly obstacle?: (epoch: Epoch) => Promise<void> | null;
  /** Places that it writes to: they need a journal extent. */
  readonly written: readonly number[];
  /** In one turn. */
  readonly apply: (epoch: Epoch) => T;
}

type Outcome<T> =
  | { readonly value: T }
  | { readonly obstacle: Promise<void> }
  /** So many journal extents are needed. */
  | { readonly missing: number };

/** Under a lock on all blocks of the change. Throws NO_SPACE, and what keeps the file from being written. */
export async function admit<T>(state: FileState, change: Change<T>): Promise<T> {
  const { reserve } = state.context;
  for (;;) {
    let outcome = attempt(state, change, []);
    if ('missing' in outcome) outcome = await reserve.alone(() => attemptWithExtents(state, change));
    if ('value' in outcome) return outcome.value;
    if ('obstacle' in outcome) await outcome.obstacle;
  }
}

/**
 * One at a time, until what was taken is an epoch's: two that each had a part of what they need would wait for one
 * another, and one that found what the other had in its hands would not know that a commit makes room.
 */
async function attemptWithExtents<T>(state: FileState, change: Change<T>): Promise<Outcome<T>> {
  const { reserve } = state.context;
  const taken: number[] = [];
  try {
    for (;;) {
      const outcome = attempt(state, change, taken);
      if (!('missing' in outcome)) return outcome;
      reserve.returned(taken.splice(0));
      taken.push(...(await takeExtents(state, outcome.missing)));
    }
  } finally {
    if (taken.length > 0) reserve.returned(taken);
  }
}

/** In one turn of the loop; takes what it needs out of `taken`. */
function attempt<T>(state: FileState, change: Change<T>, taken: number[]): Outcome<T> {
  state.check();
  const epoch = state.current;
  const obstacle = epoch.isKept ? withdrawKept(state, epoch) : (change.obstacle?.(epoch) ?? null);
  if (obstacle !== null) return { obstacle };
  const bare = change.written.filter((index) => (epoch.places.get(index)?.journal ?? null) === null);
  if (bare.length > taken.length) return { missing: bare.length };
  giveJournal(state, epoch, bare, taken.splice(0, bare.length));
  return { value: change.apply(epoch) };
}

/** Ascending places get ascending extents: what follows in the file follows on the device, where it can. */
function giveJournal(
  state: FileState,
  epoch: Epoch,
  indexes: readonly number[],
  taken: readonly number[],
): void {
  const extents = [...taken].sort((a, b) => a - b);
  const places = indexes.map((index, at) => {
    const place = epoch.place(index);
    place.journal = extents[at]!;
    return place;
  });
  if (state.context.settings.associates === 'at-commit' || places.length === 0) return;
  const associated = associate(state, epoch, places);
  // The commit waits for it; where it has failed, the commit finds out.
  associated.catch((cause: unknown) => state.fail(cause));
  for (const place of places) place.track(associated);
}

function takeExtents(state: FileState, count: number): Promise<number[]> {
  return state.context.reserve.takeMakingRoom({ count, file: state.file }, async (cause) => {
    if (state.onJournalFull === 'fail' || !(await makeRoom(state))) throw journalFull(state, count, cause);
  });
}

/** False: nothing is there that would free an extent. */
async function makeRoom(state: FileState): Promise<boolean> {
  const { completions } = state.context;
  const isOwn = !state.current.isEmpty || state.unhardened.length > 0;
  if (isOwn) await state.commitEarly();
  if ((await completions.freed()) || isOwn) return true;
  if (!(await state.context.commitOthers(state.file))) return false;
  await completions.quiet();
  return true;
}

function journalFull(state: FileState, count: number, cause: unknown): UserError {
  return new UserError(
    'NO_SPACE',
    `${state.name}: the pool has no ${count} extents left for the journal: nothing of this write was written`,
    {
      hint: 'Commit or discard what is in the journal, or remove files or snapshots.',
      details: { file: state.name, wantedExtents: count },
      cause,
    },
  );
}
