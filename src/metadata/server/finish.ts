/**
 * Swap_Data_Journal and Commit_Data_Journal (paragraphs 25, 34 to 38): an extent of a transaction is done. Whoever
 * completes has copied and flushed before; the server holds it to the decision (decision.ts) and to the order in
 * which transactions were hardened. Flags are cleared with it; what the client gets back stays associated until it
 * says, with Disassociate_Journal_Extent, that nobody reads it any more.
 */
import { isEmpty } from '../bits.js';
import { type Decision, decide, type ExtentState, usedAfter } from '../decision.js';
import type { DoneExtent, DoneExtents, RequestOf } from '../messages.js';
import { extentState } from './extent-state.js';
import { setSizes } from './file-sizes.js';
import { key } from './keys.js';
import { type Place, placeOf, putEntry, putHole } from './maps.js';
import { breach } from './refusals.js';
import type { State, Transaction, TransactionEntry } from './state.js';
import type { Caller, Turn } from './turn.js';

type Request = RequestOf<'Swap_Data_Journal'>;

/** A transaction that is being finished, as the extents before this one have left it. */
interface Finishing {
  readonly transaction: number;
  readonly caller: Caller;
  readonly asked: Decision;
  /** null: it is done. */
  readonly record: Transaction | null;
  left: number;
  /** Own maps of the files. */
  readonly maps: Map<number, number>;
}

/** An entry whose turn it is. */
export interface Due {
  readonly entry: TransactionEntry;
  /** The file's own. */
  readonly map: number;
  readonly place: Place;
  readonly extent: ExtentState;
}

export function swapDataJournal(turn: Turn, caller: Caller, request: Request): Promise<DoneExtents> {
  return finishExtents(turn, caller, request, 'swap');
}

export function commitDataJournal(turn: Turn, caller: Caller, request: Request): Promise<DoneExtents> {
  return finishExtents(turn, caller, request, 'commit');
}

async function finishExtents(
  { state, tell }: Turn,
  caller: Caller,
  { transaction, extents }: Request,
  asked: Decision,
): Promise<DoneExtents> {
  if (transaction >= (await state.counters()).nextTransaction)
    throw breach(`there never was a transaction ${transaction}`, { transaction });
  const record = await state.transaction(transaction);
  const finishing: Finishing = {
    transaction,
    caller,
    asked,
    record,
    left: record?.left ?? 0,
    maps: new Map(),
  };
  const done: DoneExtent[] = [];
  const changed = new Map<number, number[]>();
  for (const { file, index } of extents) {
    const due = await findDue(state, finishing, file, index);
    if (due === null) {
      done.push({ journal: [], wasDone: true });
      continue;
    }
    done.push({ journal: await finish(state, caller, due, asked), wasDone: false });
    state.dropTransactionEntry(transaction, due.n, due.entry);
    finishing.left -= 1;
    changed.set(file, [...(changed.get(file) ?? []), index]);
  }
  const isAny = changed.size > 0;
  if (isAny && finishing.left > 0) state.putTransaction(transaction, { ...record!, left: finishing.left });
  else if (isAny) await finishTransaction(state, transaction);
  for (const [file, indexes] of changed)
    tell({ allBut: caller.client }, { type: 'map-changed', file, indexes });
  return { extents: done, isTransactionDone: isAny && finishing.left === 0 };
}

/** As it was decided. Gives the caller's journal extents from now on. */
export function finish(
  state: State,
  caller: Caller,
  due: Due,
  decision: Decision,
): Promise<readonly number[]> {
  return decision === 'swap' ? swap(state, caller, due) : commit(state, caller, due);
}

/** What the caller has instead. */
async function swap(
  state: State,
  caller: Caller,
  { entry, map, place, extent }: Due,
): Promise<readonly number[]> {
  const { file, index, journal } = entry;
  const former = (await state.journal(journal - 1))!;
  putEntry(state, map, index, { extent: journal - 1, used: usedAfter(extent), isShared: false });
  state.dropFlags(journal - 1);
  await state.setJournal(journal - 1, null);
  // A shared one stays what it is, in the map that it is in.
  const freed = place.isOwn && place.data !== null ? [place.data] : [];
  for (const one of freed) await spend(state, caller, one, { file, index, reserveOf: former.reserveOf });
  return freed;
}

/** What the caller has back. */
async function commit(
  state: State,
  caller: Caller,
  { entry, map, place, extent }: Due,
): Promise<readonly number[]> {
  const { file, index, journal } = entry;
  const { data, isOwn, isShared } = place;
  const given: number[] = [];
  if (journal !== 0) {
    const { reserveOf } = (await state.journal(journal - 1))!;
    state.dropFlags(journal - 1);
    await spend(state, caller, journal - 1, { file, index, reserveOf });
    given.push(journal - 1);
  }
  const used = usedAfter(extent);
  if (isEmpty(used) && data !== null) {
    await putHole(state, map, index);
    // Not to the pool at once: reads of it may be under way.
    if (isOwn) {
      await spend(state, caller, data, { file, index, reserveOf: 0 });
      given.push(data);
    }
  } else if (isOwn) {
    putEntry(state, map, index, { extent: data, used, isShared });
  }
  return given;
}

/** null: done before. */
async function findDue(
  state: State,
  { transaction, caller, asked, record, maps }: Finishing,
  file: number,
  index: number,
): Promise<(Due & { readonly n: number }) | null> {
  const where = { transaction, file, index };
  const chain = await state.chain(file, index);
  const found = chain.find((one) => one.transaction === transaction);
  if (record === null || found === undefined) return null;
  if (record.client !== caller.client) throw breach(`transaction ${transaction} is another client's`, where);
  if (chain[0]!.transaction !== transaction) {
    throw breach(`transaction ${chain[0]!.transaction} comes before ${transaction} here`, where);
  }
  const entry = (await state.transactionEntry(transaction, found.n))!;
  const map = maps.get(file) ?? (await state.inode(file))!.map;
  maps.set(file, map);
  const place = await placeOf(state, map, index);
  const extent = await extentState(state, entry, place);
  if (decide(extent) !== asked) {
    throw breach(`extent ${index} of file ${file} is to ${decide(extent)}, not to ${asked}`, where);
  }
  return { n: found.n, entry, map, place, extent };
}

/** The client's, and not to be used before it is disassociated. */
async function spend(
  state: State,
  { client }: Caller,
  extent: number,
  { file, index, reserveOf }: { readonly file: number; readonly index: number; readonly reserveOf: number },
): Promise<void> {
  await state.setJournal(extent, { client, file, index, transaction: 0, isSpent: 1, reserveOf });
}

async function finishTransaction(state: State, transaction: number): Promise<void> {
  const sizes: { file: number; sizeBytes: number }[] = [];
  for await (const { number: file, value: sizeBytes } of state.numbersUnder(key('z', transaction), 1)) {
    sizes.push({ file, sizeBytes });
  }
  await setSizes(state, transaction, sizes);
  for (const { file } of sizes) {
    state.draft.delete(key('Z', file, transaction));
    state.draft.delete(key('z', transaction, file));
  }
  state.draft.delete(key('T', transaction));
}
