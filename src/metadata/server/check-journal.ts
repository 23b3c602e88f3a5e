/** The part of the check that goes through journal extents, their flags and the transactions that they are in. */
import type { CheckContext } from './check-context.js';
import { key, numberOf, under } from './keys.js';
import { decode } from './records.js';
import { isOpen, type JournalExtent, TRANSACTION_STATE } from './state.js';

export async function checkJournal(context: CheckContext): Promise<void> {
  const { state } = context;
  let count = 0;
  for await (const entry of state.draft.under(under(key('J')))) {
    count += 1;
    const extent = numberOf(entry.key, 0);
    const record = decode('journal', entry.value);
    context.use(extent, `the journal of client ${record.client}`);
    await checkExtent(context, extent, record);
  }
  for await (const entry of state.draft.under(under(key('j')))) {
    const extent = numberOf(entry.key, 1);
    if ((await state.journal(extent))?.client !== numberOf(entry.key, 0))
      lost(context, extent, 'is not of its client');
  }
  for await (const entry of state.draft.under(under(key('A')))) {
    const extent = decode('number', entry.value).value;
    const record = await state.journal(extent);
    const place = [record?.file, record?.index, record?.client].join();
    if (
      record === null ||
      !isOpen(record) ||
      place !== [0, 1, 2].map((at) => numberOf(entry.key, at)).join()
    ) {
      lost(context, extent, 'is not associated with where it is named');
    }
  }
  for await (const entry of state.draft.under(under(key('B')))) {
    const extent = numberOf(entry.key, 0);
    const record = await state.journal(extent);
    if (record === null || (record.transaction === 0 && !isOpen(record))) {
      context.find('FLAGS_LOST', `there are flags of extent ${extent}, which is associated with nothing`, {
        extent,
      });
    }
  }
  const { journalExtents } = await state.counters();
  if (count !== journalExtents) {
    context.find('EXTENT_COUNT_WRONG', `clients have ${count} journal extents, not ${journalExtents}`, {
      count,
    });
  }
}

async function checkExtent(context: CheckContext, extent: number, record: JournalExtent): Promise<void> {
  const { state } = context;
  const { client, file, index, transaction } = record;
  if ((await state.numberAt(key('j', client, extent))) === null)
    lost(context, extent, 'is not found by its client');
  if (isOpen(record)) {
    if ((await state.openJournalAt(file, index, client)) !== extent)
      lost(context, extent, 'is not found by its place');
    const isLeft = (await state.inode(file)) === null && (await state.numberAt(key('D', file))) === null;
    if (isLeft) lost(context, extent, `is associated with file ${file}, which is not there`);
  }
  if (transaction === 0) {
    if ((await state.nameOfClient(client)) === null)
      lost(context, extent, `is of client ${client}, which is not there`);
    return;
  }
  const found = (await state.chain(file, index)).find((one) => one.transaction === transaction);
  const entry = found === undefined ? null : await state.transactionEntry(transaction, found.n);
  if (entry?.journal !== extent + 1) lost(context, extent, `is not in transaction ${transaction}`);
}

function lost(context: CheckContext, extent: number, what: string): void {
  context.find('ASSOCIATION_LOST', `journal extent ${extent} ${what}`, { extent });
}

/** Every transaction has the entries that are left of it, each with its journal extent, its flags and its place. */
export async function checkTransactions(context: CheckContext): Promise<void> {
  const { state } = context;
  for await (const { transaction, record } of state.transactions()) {
    let entries = 0;
    for await (const { n, entry } of state.entriesOf(transaction)) {
      entries += 1;
      const { file, index, journal } = entry;
      const wrong = (what: string) =>
        context.find(
          'TRANSACTION_WRONG',
          `extent ${index} of file ${file} in transaction ${transaction} ${what}`,
          {
            transaction,
            file,
            index,
          },
        );
      if ((await state.numberAt(key('H', file, index, transaction))) !== n)
        wrong('is not found by its place');
      if ((await state.inode(file)) === null) wrong('is of a file that is not there');
      if (journal === 0) continue;
      if ((await state.journal(journal - 1))?.transaction !== transaction) wrong('has no journal extent');
      else if ((await state.flags(journal - 1)) === null) wrong('has no flags');
    }
    if (record.state === TRANSACTION_STATE.sealed && entries !== record.left) {
      const what = `transaction ${transaction} has ${entries} extents left, not ${record.left}`;
      context.find('TRANSACTION_WRONG', what, { transaction });
    }
  }
  for (const [prefix, place] of [
    ['t', 0],
    ['z', 0],
    ['Z', 1],
    ['H', 2],
  ] as const) {
    for await (const entry of state.draft.under(under(key(prefix)))) {
      const transaction = numberOf(entry.key, place);
      if ((await state.transaction(transaction)) === null) {
        const what = `there is a part of transaction ${transaction}, and not the transaction`;
        context.find('TRANSACTION_WRONG', what, { transaction });
      }
    }
  }
}
