/**
 * What clients ask and nothing changes by: Map_Extents, Read_Transaction, Space, List_Files, Look_Up_File. A
 * transaction is seen whole from the moment that it is sealed: what waits to be done comes with the map, and the size is
 * the newest that was hardened.
 */
import type {
  FileInfo,
  MappedExtent,
  PendingExtent,
  Replies,
  RequestOf,
  TransactionExtent,
} from '../messages.js';
import { flagsOf } from './extent-state.js';
import { MOST_INDEX } from './journal.js';
import { placeOf } from './maps.js';
import { breach, noSuchFile, refuse } from './refusals.js';
import { damaged, type Inode, type State } from './state.js';
import type { Caller, Turn } from './turn.js';

export async function mapExtents(
  { state }: Turn,
  { file, from, count }: RequestOf<'Map_Extents'>,
): Promise<Replies['Map_Extents']> {
  const inode = await existingFile(state, file);
  if (from + count > MOST_INDEX + 1) {
    throw refuse('OUT_OF_RANGE', `a file has ${MOST_INDEX + 1} extents at most`, undefined, {
      file,
      from,
      count,
    });
  }
  const extents: MappedExtent[] = [];
  for (let index = from; index < from + count; index++) {
    const { data, used, isShared } = await placeOf(state, inode.map, index);
    extents.push({ index, extent: data, used, isShared, pending: await pendingAt(state, file, index) });
  }
  return { sizeBytes: await sizeOf(state, file, inode), extents };
}

async function pendingAt(state: State, file: number, index: number): Promise<PendingExtent[]> {
  const pending: PendingExtent[] = [];
  for (const { transaction, n } of await state.chain(file, index)) {
    const entry = await state.transactionEntry(transaction, n);
    if (entry === null) throw damaged(`transaction ${transaction} has no entry ${n}`);
    const journal = entry.journal === 0 ? null : entry.journal - 1;
    pending.push({ transaction, journal, ...(await flagsOf(state, entry.journal)) });
  }
  return pending;
}

export async function readTransaction(
  { state }: Turn,
  { client }: Caller,
  { transaction, from, count }: RequestOf<'Read_Transaction'>,
): Promise<Replies['Read_Transaction']> {
  const record = await state.transaction(transaction);
  if (record === null) return { extents: [], next: null };
  if (record.client !== client)
    throw breach(`transaction ${transaction} is another client's`, { transaction });
  const extents: TransactionExtent[] = [];
  const maps = new Map<number, number>();
  for await (const { n, entry } of state.entriesOf(transaction, from)) {
    if (extents.length === count) return { extents, next: n };
    const { file, index } = entry;
    const [first] = await state.chain(file, index);
    const map = maps.get(file) ?? (await existingFile(state, file)).map;
    maps.set(file, map);
    const { data, used, isShared } = await placeOf(state, map, index);
    extents.push({
      n,
      file,
      index,
      journal: entry.journal === 0 ? null : entry.journal - 1,
      ...(await flagsOf(state, entry.journal)),
      data,
      used,
      isShared,
      isBlocked: first?.transaction !== transaction,
    });
  }
  return { extents, next: null };
}

export async function space({ state }: Turn): Promise<Replies['Space']> {
  const { freeExtents, reservedExtents, journalExtents } = await state.counters();
  const { extents } = state.config;
  return { extents, free: freeExtents, reserved: reservedExtents, journal: journalExtents };
}

export async function listFiles(
  { state }: Turn,
  { after, count }: RequestOf<'List_Files'>,
): Promise<Replies['List_Files']> {
  const files: FileInfo[] = [];
  for await (const file of state.namesAfter(after ?? null)) {
    files.push(await infoOf(state, file, await existingFile(state, file)));
    if (files.length === count) break;
  }
  return { files };
}

export async function lookUpFile({ state }: Turn, { name }: RequestOf<'Look_Up_File'>): Promise<FileInfo> {
  const file = await state.fileNamed(name);
  const inode = file === null ? null : await state.inode(file);
  if (file === null || inode === null || inode.name !== name) throw noSuchFile(name);
  return infoOf(state, file, inode);
}

export async function infoOf(state: State, file: number, inode: Inode): Promise<FileInfo> {
  return {
    file,
    name: inode.name,
    sizeBytes: await sizeOf(state, file, inode),
    createdMs: inode.createdMs,
    isReadOnly: inode.isReadOnly === 1,
    reservedExtents: inode.reservedExtents,
    snapshotOf: inode.snapshotOf === 0 ? null : inode.snapshotOf,
  };
}

async function sizeOf(state: State, file: number, inode: Inode): Promise<number> {
  const pending = await state.pendingSize(file);
  return pending !== null && pending.transaction > inode.sizeTransaction
    ? pending.sizeBytes
    : inode.sizeBytes;
}

export async function existingFile(state: State, file: number): Promise<Inode> {
  const inode = await state.inode(file);
  if (inode === null) throw noSuchFile(file);
  return inode;
}
