/**
 * Journal extents: Allocate_Journal_Space, Associate_Data_Journal, Disassociate_Journal_Extent (paragraph 25) and
 * Free_Journal_Space. The extent is a client's from the allocation on; associated with a place of a file; hardened;
 * done, and *spent* until the client says that nobody reads it any more; then free for another association.
 */
import { MOST_FILE_EXTENTS, type Replies, type RequestOf } from '../messages.js';
import { allocate, free } from './pool.js';
import { breach, noSuchFile, refuse } from './refusals.js';
import type { Inode, JournalExtent, State } from './state.js';
import type { Caller, Turn } from './turn.js';

export const MOST_INDEX = MOST_FILE_EXTENTS - 1;

const UNASSOCIATED = { file: 0, index: 0, transaction: 0, isSpent: 0 } as const;

export async function allocateJournalSpace(
  { state, full }: Turn,
  caller: Caller,
  { count, file, avoid }: RequestOf<'Allocate_Journal_Space'>,
): Promise<Replies['Allocate_Journal_Space']> {
  const inode = file === undefined ? null : await writableFile(state, file);
  const ownReserve = inode?.reservedExtents ?? 0;
  const extents = await allocate(state, { count, avoid: avoid ?? [], ownReserve }, full);
  const reserved = Math.min(ownReserve, count);
  if (inode !== null && reserved > 0) {
    state.putInode(file!, { ...inode, reservedExtents: ownReserve - reserved });
    const { reservedExtents } = await state.counters();
    await state.count({ reservedExtents: reservedExtents - reserved });
  }
  for (const [at, extent] of extents.entries()) {
    const reserveOf = at < reserved ? file! : 0;
    await state.setJournal(extent, { ...UNASSOCIATED, client: caller.client, reserveOf });
  }
  return { extents };
}

export async function associateDataJournal(
  { state }: Turn,
  caller: Caller,
  { file, index, journal }: RequestOf<'Associate_Data_Journal'>,
): Promise<Replies['Associate_Data_Journal']> {
  await writableFile(state, file);
  const record = await associable(state, caller, { file, index, journal });
  await state.setJournal(journal, { ...record, file, index });
  return {};
}

/** The journal extent, where the caller may have it at this place; whether it is there already or not. */
export async function associable(
  state: State,
  { client }: Caller,
  { file, index, journal }: { readonly file: number; readonly index: number; readonly journal: number },
): Promise<JournalExtent> {
  const where = { file, index, journal };
  if (index > MOST_INDEX) {
    throw refuse('OUT_OF_RANGE', `a file has ${MOST_INDEX + 1} extents at most`, undefined, where);
  }
  const record = await ownJournal(state, client, journal);
  if (record.transaction !== 0 || record.isSpent === 1) {
    throw breach(`journal extent ${journal} is not disassociated yet`, where);
  }
  if (record.file !== 0 && (record.file !== file || record.index !== index)) {
    throw breach(`journal extent ${journal} is associated with another extent`, where);
  }
  const open = await state.openJournalAt(file, index, client);
  if (open !== null && open !== journal) {
    throw breach(`extent ${index} of file ${file} has journal extent ${open} already`, where);
  }
  return record;
}

export async function disassociateJournalExtent(
  { state }: Turn,
  { client }: Caller,
  { extents }: RequestOf<'Disassociate_Journal_Extent'>,
): Promise<Replies['Disassociate_Journal_Extent']> {
  for (const journal of extents) {
    const record = await ownJournal(state, client, journal);
    if (record.transaction !== 0) {
      throw breach(`journal extent ${journal} is hardened: its transaction must be done first`, { journal });
    }
    await disassociate(state, journal, record);
  }
  return {};
}

export async function disassociate(state: State, journal: number, record: JournalExtent): Promise<void> {
  state.dropFlags(journal);
  await state.setJournal(journal, { ...record, ...UNASSOCIATED });
}

export async function freeJournalSpace(
  turn: Turn,
  { client }: Caller,
  { extents }: RequestOf<'Free_Journal_Space'>,
): Promise<Replies['Free_Journal_Space']> {
  const records = new Map<number, JournalExtent>();
  for (const extent of extents) {
    const record = await ownJournal(turn.state, client, extent);
    if (record.file !== 0 || records.has(extent)) {
      throw breach(`journal extent ${extent} cannot be freed: it is in use, or named twice`, {
        journal: extent,
      });
    }
    records.set(extent, record);
  }
  await releaseJournal(turn, records);
  return {};
}

/** To the pool, and to the reserves out of which they came. */
export async function releaseJournal(
  { state, full }: Turn,
  records: ReadonlyMap<number, JournalExtent>,
): Promise<void> {
  for (const [extent, { reserveOf }] of records) {
    state.dropFlags(extent);
    await state.setJournal(extent, null);
    const inode = reserveOf === 0 ? null : await state.inode(reserveOf);
    if (inode === null) continue;
    state.putInode(reserveOf, { ...inode, reservedExtents: inode.reservedExtents + 1 });
    const { reservedExtents } = await state.counters();
    await state.count({ reservedExtents: reservedExtents + 1 });
  }
  await free(state, [...records.keys()], full);
}

async function ownJournal(state: State, client: number, journal: number): Promise<JournalExtent> {
  const record = await state.journal(journal);
  if (record === null) throw breach(`extent ${journal} is no journal extent`, { journal });
  if (record.client !== client) throw breach(`journal extent ${journal} is another client's`, { journal });
  return record;
}

/** Throws FILE_NOT_FOUND, and PERMISSION_DENIED for a snapshot. */
export async function writableFile(state: State, file: number): Promise<Inode> {
  const inode = await state.inode(file);
  if (inode === null) throw noSuchFile(file);
  if (inode.isReadOnly === 1) {
    throw refuse('PERMISSION_DENIED', `${inode.name} is a snapshot: it cannot be written`, undefined, {
      file,
    });
  }
  return inode;
}
