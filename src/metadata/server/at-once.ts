/**
 * Transactions that are done in the commit of the log that hardens them: where nothing has to be copied for any extent, no
 * Swap and no Commit is waited for (paragraphs 34 and 37), because nobody has anything to do before. Most writes in order are
 * such: their extents are written whole.
 *
 * All of it or nothing, and nothing before what is older of the same file: a transaction of which a part is done, or a later
 * one, could not be aborted any more when the journal's target is lost, and a file is as of a commit point (paragraph 51).
 */
import { isEmpty } from '../bits.js';
import { type Decision, decide, keptBlocks } from '../decision.js';
import type { DoneAtOnce, RequestOf } from '../messages.js';
import { stateOf } from './extent-state.js';
import { setSizes } from './file-sizes.js';
import { type Due, finish } from './finish.js';
import { placeOf } from './maps.js';
import type { State } from './state.js';
import type { Caller, Turn } from './turn.js';

type Request = RequestOf<'Harden_Extent_Flags'>;

interface Planned {
  readonly due: Due;
  readonly decision: Decision;
}

/** Of a request that has been checked. null: something is to be copied, or waited for, and nothing was changed. */
export async function finishAtOnce(
  { state }: Turn,
  caller: Caller,
  transaction: number,
  request: Request,
): Promise<DoneAtOnce[] | null> {
  const plan = await planned(state, request);
  if (plan === null) return null;
  const done: DoneAtOnce[] = [];
  for (const [n, { due, decision }] of plan.entries()) {
    const { file, index, journal, marked, cleared } = request.extents[n]!;
    const { data, used, isShared } = due.place;
    const entry = { n, file, index, journal, marked, cleared, data, used, isShared, isBlocked: false };
    done.push({ entry, decision, journal: await finish(state, caller, due, decision) });
  }
  await setSizes(state, transaction, request.sizes);
  return done;
}

async function planned(state: State, { extents }: Request): Promise<Planned[] | null> {
  const plan: Planned[] = [];
  const maps = new Map<number, number>();
  for (const file of new Set(extents.map((extent) => extent.file))) {
    if (await state.isPending(file)) return null;
    maps.set(file, (await state.inode(file))!.map);
  }
  for (const { file, index, journal, marked, cleared } of extents) {
    const map = maps.get(file)!;
    const place = await placeOf(state, map, index);
    const extent = stateOf({ marked, cleared }, place);
    const decision = decide(extent);
    if (!isEmpty(decision === 'swap' ? keptBlocks(extent) : marked)) return null;
    const entry = { file, index, journal: journal === null ? 0 : journal + 1 };
    plan.push({ due: { entry, map, place, extent }, decision });
  }
  return plan;
}
