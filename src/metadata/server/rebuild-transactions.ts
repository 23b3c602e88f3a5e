/**
 * Transactions made whole from what is there of them twice: an entry from its journal extent, that one from the entry or
 * from its place, and the places from the entries. What is there of a transaction is completed then; where a part of
 * it is in neither, it stays as it is, because nothing tells what was committed.
 *
 * Flags without a journal extent are given up where they were never committed: no transaction names them, and no
 * client has kept anything to which they could belong.
 */
import { key, numberOf } from './keys.js';
import type { RebuildWork } from './rebuild-work.js';
import { decode } from './records.js';
import { isOpen, type State, TRANSACTION_STATE } from './state.js';

export async function rebuildTransactions(work: RebuildWork): Promise<void> {
  await entriesFromJournal(work);
  await journalFromEntries(work);
  await journalFromPlaces(work);
  await placesFromEntries(work);
  await countsOfEntries(work);
  await flagsOfNothing(work);
  await work.commitPart(true);
}

async function entriesFromJournal(work: RebuildWork): Promise<void> {
  const { state } = work;
  for await (const { key: at, value } of work.under('J')) {
    const { file, index, transaction } = decode('journal', value);
    if (transaction === 0 || (await state.transaction(transaction)) === null) continue;
    const place = (await state.chain(file, index)).find((one) => one.transaction === transaction);
    if (place === undefined || (await state.transactionEntry(transaction, place.n)) !== null) continue;
    state.putTransactionEntry(transaction, place.n, { file, index, journal: numberOf(at, 0) + 1 });
    await work.commitPart();
  }
}

async function journalFromEntries(work: RebuildWork): Promise<void> {
  const { state } = work;
  for await (const { key: at, value } of work.under('t')) {
    const transaction = numberOf(at, 0);
    const { file, index, journal } = decode('transactionEntry', value);
    const record = await state.transaction(transaction);
    if (journal === 0 || record === null) continue;
    const extent = journal - 1;
    if ((await state.journal(extent)) !== null || (await state.flags(extent)) === null) continue;
    const { client } = record;
    // Whether it came out of a file's reserve is lost: freed, it goes to the pool.
    await state.setJournal(extent, { client, file, index, transaction, isSpent: 0, reserveOf: 0 });
    await work.commitPart();
  }
}

async function journalFromPlaces(work: RebuildWork): Promise<void> {
  const { state } = work;
  for await (const { key: at, value } of work.under('A')) {
    const [file, index, client] = [numberOf(at, 0), numberOf(at, 1), numberOf(at, 2)];
    const extent = decode('number', value).value;
    if ((await state.journal(extent)) !== null || (await state.flags(extent)) === null) continue;
    await state.setJournal(extent, { client, file, index, transaction: 0, isSpent: 0, reserveOf: 0 });
    await work.commitPart();
  }
}

async function placesFromEntries(work: RebuildWork): Promise<void> {
  const { state } = work;
  const named = new Set<number>();
  for await (const { value } of work.under('J')) named.add(decode('journal', value).transaction);
  for await (const { key: at, value } of work.under('t')) {
    const [transaction, n] = [numberOf(at, 0), numberOf(at, 1)];
    const { file, index } = decode('transactionEntry', value);
    named.add(transaction);
    if ((await state.numberAt(key('H', file, index, transaction))) !== n)
      state.putNumber(key('H', file, index, transaction), n);
    await work.commitPart();
  }
  for await (const { key: at } of work.under('H')) {
    const transaction = numberOf(at, 2);
    if (!named.has(transaction) && (await state.transaction(transaction)) === null) state.draft.delete(at);
    await work.commitPart();
  }
}

/** One that counts more than there are may have lost some: what these were to change nobody knows. */
async function countsOfEntries(work: RebuildWork): Promise<void> {
  const { state } = work;
  for await (const { transaction, record } of state.transactions()) {
    let left = 0;
    for await (const _entry of state.entriesOf(transaction)) left += 1;
    if (record.state !== TRANSACTION_STATE.sealed || record.left >= left) continue;
    state.putTransaction(transaction, { ...record, left, entries: Math.max(record.entries, left) });
    await work.commitPart();
  }
}

async function flagsOfNothing(work: RebuildWork): Promise<void> {
  const { state } = work;
  const hardened = new Set<number>();
  for await (const { value } of work.under('t')) hardened.add(decode('transactionEntry', value).journal - 1);
  const isKept = await state.hasAny(key('Y'));
  for await (const { key: at } of work.under('B')) {
    const extent = numberOf(at, 0);
    if (!hardened.has(extent) && !isKept && (await isOfNothing(state, extent))) state.draft.delete(at);
    await work.commitPart();
  }
}

async function isOfNothing(state: State, extent: number): Promise<boolean> {
  const record = await state.journal(extent);
  return record === null || (record.transaction === 0 && !isOpen(record));
}
