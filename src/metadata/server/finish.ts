/**
 * Swap_Data_Journal and Commit_Data_Journal (paragraphs 25, 34 to 38): an extent of a transaction is done. Whoever
 * completes has copied and flushed before; the server holds it to the decision (decision.ts) and to the order in
 * which transactions were hardened. Flags are cleared with it; what the client gets back stays associated until it
 * says, with Disassociate_Journal_Extent, that nobody reads it any more.
 */
import { isEmpty } from '../bits.js';
import { decide, type ExtentState, usedAfter } from '../decision.js';
import type { DoneExtent, RequestOf } from '../messages.js';
import { extentState } from './extent-state.js';
import { setSizes } from './harden.js';
import { key } from './keys.js';
import { type Place, placeOf, putEntry, putHole } from './maps.js';
import { breach } from './refusals.js';
import type { Inode, State, Transaction, TransactionEntry } from './state.js';
import type { Caller, Turn } from './turn.js';

type Request = RequestOf<'Swap_Data_Journal'>;

/** An entry whose turn it is. */
interface Due {
  readonly transaction: number;
  readonly record: Transaction;
  readonly n: number;
  readonly entry: TransactionEntry;
  readonly inode: Inode;
  readonly place: Place;
  readonly extent: ExtentState;
}

const DONE_BEFORE: DoneExtent = { journal: [], wasDone: true, isTransactionDone: false };

export async function swapDataJournal(turn: Turn, caller: Caller, request: Request): Promise<DoneExtent> {
  const due = await findDue(turn.state, caller, request, 'swap');
  if (due === null) return DONE_BEFORE;
  const { state } = turn;
  const { file, index, journal } = due.entry;
  const former = (await state.journal(journal - 1))!;
  const used = usedAfter(due.extent);
  putEntry(state, due.inode.map, index, { extent: journal - 1, used, isShared: false });
  state.dropFlags(journal - 1);
  await state.setJournal(journal - 1, null);
  // A shared one stays what it is, in the map that it is in.
  const freed = due.place.isOwn && due.place.data !== null ? [due.place.data] : [];
  for (const extent of freed)
    await spend(state, caller, extent, { file, index, reserveOf: former.reserveOf });
  return finish(turn, caller, due, freed);
}

export async function commitDataJournal(turn: Turn, caller: Caller, request: Request): Promise<DoneExtent> {
  const due = await findDue(turn.state, caller, request, 'commit');
  if (due === null) return DONE_BEFORE;
  const { state } = turn;
  const { file, index, journal } = due.entry;
  const { data, isOwn, isShared } = due.place;
  const given: number[] = [];
  if (journal !== 0) {
    const { reserveOf } = (await state.journal(journal - 1))!;
    state.dropFlags(journal - 1);
    await spend(state, caller, journal - 1, { file, index, reserveOf });
    given.push(journal - 1);
  }
  const used = usedAfter(due.extent);
  if (isEmpty(used) && data !== null) {
    await putHole(state, due.inode.map, index);
    // Not to the pool at once: reads of it may be under way.
    if (isOwn) {
      await spend(state, caller, data, { file, index, reserveOf: 0 });
      given.push(data);
    }
  } else if (isOwn) {
    putEntry(state, due.inode.map, index, { extent: data, used, isShared });
  }
  return finish(turn, caller, due, given);
}

/** null: done before. */
async function findDue(
  state: State,
  { client }: Caller,
  { transaction, file, index }: Request,
  asked: 'swap' | 'commit',
): Promise<Due | null> {
  const where = { transaction, file, index };
  if (transaction >= (await state.counters()).nextTransaction) {
    throw breach(`there never was a transaction ${transaction}`, where);
  }
  const record = await state.transaction(transaction);
  const chain = await state.chain(file, index);
  const found = chain.find((one) => one.transaction === transaction);
  if (record === null || found === undefined) return null;
  if (record.client !== client) throw breach(`transaction ${transaction} is another client's`, where);
  if (chain[0]!.transaction !== transaction) {
    throw breach(`transaction ${chain[0]!.transaction} comes before ${transaction} here`, where);
  }
  const entry = (await state.transactionEntry(transaction, found.n))!;
  const inode = (await state.inode(file))!;
  const place = await placeOf(state, inode.map, index);
  const extent = await extentState(state, entry, place);
  if (decide(extent) !== asked) {
    throw breach(`extent ${index} of file ${file} is to ${decide(extent)}, not to ${asked}`, where);
  }
  return { transaction, record, n: found.n, entry, inode, place, extent };
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

async function finish(
  { state, tell }: Turn,
  { client }: Caller,
  { transaction, record, n, entry }: Due,
  journal: readonly number[],
): Promise<DoneExtent> {
  state.dropTransactionEntry(transaction, n, entry);
  const left = record.left - 1;
  if (left > 0) state.putTransaction(transaction, { ...record, left });
  else await finishTransaction(state, transaction);
  tell({ allBut: client }, { type: 'map-changed', file: entry.file, indexes: [entry.index] });
  return { journal, wasDone: false, isTransactionDone: left === 0 };
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
