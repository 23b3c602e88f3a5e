/**
 * Makes anew what the metadata says twice, from what it says first: which extents are taken and how many are free, from
 * maps, journal and transactions; where journal extents are found, from their records; names and counts of maps, from the
 * files; and transactions, from their parts. For fsck, over an engine that nobody else changes.
 *
 * Nothing is lost by it that was committed: what any map, journal record or transaction names is taken, whatever else is
 * wrong with it. It is put in parts, each of which leaves less that is wrong: a cut amid it is made good by doing it again.
 */
import { hasBit, isEmpty, noBits, setBit } from '../bits.js';
import type { MetadataEngine } from '../engine/contract.js';
import { key, nameKey, numberOf } from './keys.js';
import { decodeEntry } from './maps.js';
import { GROUP_EXTENTS } from './pool.js';
import { rebuildMaps } from './rebuild-maps.js';
import { rebuildTransactions } from './rebuild-transactions.js';
import { RebuildWork } from './rebuild-work.js';
import { decode } from './records.js';
import { isOpen } from './state.js';

/** Throws METADATA_DAMAGED, and what readConfig throws. */
export async function rebuildIndexes(engine: MetadataEngine): Promise<void> {
  const work = await RebuildWork.over(engine);
  // What an index leads to is made whole before the index that would lead nowhere is taken away.
  await rebuildTransactions(work);
  await rebuildMaps(work);
  const used = await usedExtents(work);
  await rebuildGroups(work, used);
  await rebuildJournal(work);
  await rebuildNames(work);
  await rebuildCounters(work, used);
}

/** A bit an extent. */
async function usedExtents(work: RebuildWork): Promise<Uint8Array> {
  const { config } = work.state;
  const used = noBits(config.extents);
  const use = (extent: number): void => {
    if (extent < config.extents) setBit(used, extent);
  };
  for await (const { value } of work.under('E')) {
    const { extent } = decodeEntry(value, config.blocksPerExtent);
    if (extent !== null) use(extent);
  }
  for await (const entry of work.under('J')) use(numberOf(entry.key, 0));
  for await (const entry of work.under('B')) use(numberOf(entry.key, 0));
  for await (const { value } of work.under('t')) {
    const { journal } = decode('transactionEntry', value);
    if (journal !== 0) use(journal - 1);
  }
  return used;
}

async function rebuildGroups(work: RebuildWork, used: Uint8Array): Promise<void> {
  const { draft } = work.state;
  const groupBytes = GROUP_EXTENTS / 8;
  for (let at = 0, group = 0; at < used.byteLength; at += groupBytes, group++) {
    const bits = new Uint8Array(groupBytes);
    bits.set(used.subarray(at, at + groupBytes));
    if (isEmpty(bits)) draft.delete(key('G', group));
    else draft.put(key('G', group), bits);
    await work.commitPart();
  }
  const groups = Math.ceil(used.byteLength / groupBytes);
  for await (const entry of work.under('G')) if (numberOf(entry.key, 0) >= groups) draft.delete(entry.key);
}

/** Where journal extents are found: by client, and by place. */
async function rebuildJournal(work: RebuildWork): Promise<void> {
  const { state } = work;
  for await (const entry of work.under('j')) {
    const [client, extent] = [numberOf(entry.key, 0), numberOf(entry.key, 1)];
    if ((await state.journal(extent))?.client !== client) state.draft.delete(entry.key);
    await work.commitPart();
  }
  for await (const entry of work.under('A')) {
    const record = await state.journal(decode('number', entry.value).value);
    const place = [0, 1, 2].map((at) => numberOf(entry.key, at)).join();
    const isRight =
      record !== null && isOpen(record) && place === [record.file, record.index, record.client].join();
    if (!isRight) state.draft.delete(entry.key);
    await work.commitPart();
  }
  for await (const entry of work.under('J')) {
    const extent = numberOf(entry.key, 0);
    const record = decode('journal', entry.value);
    const { client, file, index } = record;
    if ((await state.numberAt(key('j', client, extent))) === null)
      state.putNumber(key('j', client, extent), 0);
    if (isOpen(record) && (await state.openJournalAt(file, index, client)) === null)
      state.putNumber(key('A', file, index, client), extent);
    await work.commitPart();
  }
}

/** A name that leads nowhere goes; a file that is not found by its own name is, where nobody else has that. */
async function rebuildNames(work: RebuildWork): Promise<void> {
  const { state } = work;
  for await (const entry of work.under('N')) {
    const inode = await state.inode(decode('number', entry.value).value);
    const isRight = inode !== null && Buffer.compare(nameKey('N', inode.name), entry.key) === 0;
    if (!isRight) state.draft.delete(entry.key);
    await work.commitPart();
  }
  for await (const entry of work.under('I')) {
    const file = numberOf(entry.key, 0);
    const { name } = (await state.inode(file))!;
    if ((await state.fileNamed(name)) === null) state.putNumber(nameKey('N', name), file);
    await work.commitPart();
  }
}

async function rebuildCounters(work: RebuildWork, used: Uint8Array): Promise<void> {
  const { state } = work;
  const { extents } = state.config;
  let freeExtents = 0;
  for (let extent = 0; extent < extents; extent++) if (!hasBit(used, extent)) freeExtents += 1;
  let journalExtents = 0;
  for await (const _entry of work.under('J')) journalExtents += 1;
  let reservedExtents = 0;
  for await (const { value } of work.under('I')) reservedExtents += decode('inode', value).reservedExtents;
  await state.count({ freeExtents, journalExtents, reservedExtents });
  await work.commitPart(true);
}
