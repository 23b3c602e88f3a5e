/**
 * A transaction that is not to be: one that was being put when the server died, or when its engine was full; and
 * Abort_Transaction (paragraph 51), where the journal's target is lost and nothing was copied home.
 *
 * Its end is one engine commit that says so (it was never sealed, or is sealed no more); then its keys go, part by
 * part, also after a crash in between.
 */

import { decide } from '../decision.js';
import type { Replies, RequestOf } from '../messages.js';
import { extentState } from './extent-state.js';
import { key } from './keys.js';
import { placeOf } from './maps.js';
import { breach, refuse } from './refusals.js';
import { type State, TRANSACTION_STATE, type Transaction, type TransactionEntry } from './state.js';
import type { Caller, Turn } from './turn.js';

/**
 * `keepsFlags`: the journal extents stay associated, with their flags, as before the commit started; else they are
 * spent.
 */
export async function takeBack(
  turn: Turn,
  transaction: number,
  { keepsFlags }: { readonly keepsFlags: boolean },
): Promise<void> {
  const { state } = turn;
  const client = (await state.transaction(transaction))?.client ?? 0;
  for (;;) {
    const entries: { n: number; entry: TransactionEntry }[] = [];
    for await (const found of state.entriesOf(transaction)) if (entries.push(found) === 64) break;
    if (entries.length === 0) break;
    for (const { n, entry } of entries) {
      state.dropTransactionEntry(transaction, n, entry);
      if (entry.journal !== 0) await giveBack(state, client, entry, keepsFlags);
    }
    await turn.commitPart();
  }
  for await (const { number: file } of state.numbersUnder(key('z', transaction), 1)) {
    state.draft.delete(key('Z', file, transaction));
    state.draft.delete(key('z', transaction, file));
  }
  state.draft.delete(key('T', transaction));
}

/** To the client of the transaction: it may have taken it over from the one that had the extent. */
async function giveBack(
  state: State,
  client: number,
  { file, index, journal }: TransactionEntry,
  keepsFlags: boolean,
): Promise<void> {
  const extent = journal - 1;
  const record = { ...(await state.journal(extent))!, client };
  const isTaken = (await state.openJournalAt(file, index, client)) !== null;
  if (keepsFlags && !isTaken) {
    await state.setJournal(extent, { ...record, transaction: 0 });
    return;
  }
  state.dropFlags(extent);
  await state.setJournal(extent, { ...record, transaction: 0, isSpent: 1 });
}

/** Handled alone. */
export async function abortTransaction(
  turn: Turn,
  { client }: Caller,
  { transaction }: RequestOf<'Abort_Transaction'>,
): Promise<Replies['Abort_Transaction']> {
  const { state } = turn;
  const record = await state.transaction(transaction);
  if (record === null) throw breach(`transaction ${transaction} is done, or never was`, { transaction });
  if (record.client !== client)
    throw breach(`transaction ${transaction} is another client's`, { transaction });
  const files = await checkAbortable(state, transaction, record);
  state.putTransaction(transaction, { ...record, state: TRANSACTION_STATE.takenBack });
  for (const [file, indexes] of files) {
    turn.tell({ allBut: client }, { type: 'map-changed', file, indexes });
  }
  await turn.commitPart(true);
  await takeBack(turn, transaction, { keepsFlags: false });
  return {};
}

/** Gives the places of the transaction by file. */
async function checkAbortable(
  state: State,
  transaction: number,
  record: Transaction,
): Promise<Map<number, number[]>> {
  const cannot = (why: string) =>
    refuse('REFUSED', `transaction ${transaction} cannot be aborted: ${why}`, 'Complete it.', {
      transaction,
    });
  if (record.left < record.entries) throw cannot('a part of it is done');
  const places = new Map<number, number[]>();
  for await (const { entry } of state.entriesOf(transaction)) {
    const { file, index } = entry;
    const chain = await state.chain(file, index);
    if (chain.at(-1)?.transaction !== transaction) {
      throw cannot(`transaction ${chain.at(-1)?.transaction} was made on top of it: abort that one first`);
    }
    // Who knows what a client that is gone had begun? Where all swap, no block of a data extent was touched.
    if (
      record.mayHaveBegun === 1 &&
      (await copiesHome(state, entry, chain[0]?.transaction === transaction))
    ) {
      throw cannot('a copy home may have begun');
    }
    places.set(file, [...(places.get(file) ?? []), index]);
  }
  return places;
}

/** Not at the head of its chain, it cannot have begun. */
async function copiesHome(state: State, entry: TransactionEntry, isHead: boolean): Promise<boolean> {
  if (!isHead || entry.journal === 0) return false;
  const { map } = (await state.inode(entry.file))!;
  const place = await placeOf(state, map, entry.index);
  return decide(await extentState(state, entry, place)) === 'commit';
}
