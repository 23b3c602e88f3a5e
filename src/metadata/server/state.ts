/**
 * What the metadata server keeps, by its meaning: typed reads and changes of one draft. Where a thing has two keys
 * (an index to find it the other way round) both change here, together.
 */
import { UserError } from '../../errors.js';
import { noBits } from '../bits.js';
import type { Draft } from './draft.js';
import { after, key, nameKey, numberOf, under } from './keys.js';
import { decode, encode, type RecordOf, tailOf } from './records.js';

export type Config = RecordOf<'config'>;
export type Counters = RecordOf<'counters'>;
export type JournalExtent = RecordOf<'journal'>;
export type MapRecord = RecordOf<'map'>;
export type Transaction = RecordOf<'transaction'>;
export type TransactionEntry = RecordOf<'transactionEntry'>;

export type Inode = RecordOf<'inode'> & { readonly name: string };

export const TRANSACTION_STATE = { putting: 0, sealed: 1, takenBack: 2 } as const;

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** No index and no number of a pool's extent is this large: keys of it are past all others. */
const PAST_ALL = Number.MAX_SAFE_INTEGER;

export class State {
  constructor(
    readonly draft: Draft,
    readonly config: Config,
  ) {}

  async counters(): Promise<Counters> {
    return decode('counters', (await this.draft.get(key('K')))!);
  }

  async count(changes: Partial<Counters>): Promise<void> {
    this.draft.put(key('K'), encode('counters', { ...(await this.counters()), ...changes }));
  }

  /** Takes the next number of this kind. */
  async nextNumber(counter: 'nextFile' | 'nextMap' | 'nextTransaction' | 'nextClient'): Promise<number> {
    const counters = await this.counters();
    await this.count({ [counter]: counters[counter] + 1 });
    return counters[counter];
  }

  async inode(file: number): Promise<Inode | null> {
    const value = await this.draft.get(key('I', file));
    if (value === null) return null;
    return { ...decode('inode', value), name: decoder.decode(tailOf('inode', value)) };
  }

  putInode(file: number, inode: Inode): void {
    this.draft.put(key('I', file), encode('inode', inode, encoder.encode(inode.name)));
  }

  async fileNamed(name: string): Promise<number | null> {
    return this.numberAt(nameKey('N', name));
  }

  async map(map: number): Promise<MapRecord> {
    const value = await this.draft.get(key('M', map));
    if (value === null) throw damaged(`map ${map} is not there`);
    return decode('map', value);
  }

  async changeMap(map: number, change: (record: MapRecord) => Partial<MapRecord>): Promise<MapRecord> {
    const record = await this.map(map);
    const changed = { ...record, ...change(record) };
    this.draft.put(key('M', map), encode('map', changed));
    return changed;
  }

  async journal(extent: number): Promise<JournalExtent | null> {
    const value = await this.draft.get(key('J', extent));
    return value === null ? null : decode('journal', value);
  }

  /** Puts it, or with null takes it away, and keeps the keys by client and by place in step. */
  async setJournal(extent: number, record: JournalExtent | null): Promise<void> {
    const former = await this.journal(extent);
    if (former !== null) {
      if (former.client !== record?.client) this.draft.delete(key('j', former.client, extent));
      if (isOpen(former)) this.draft.delete(placeKey(former));
    }
    if ((former === null) !== (record === null)) {
      const { journalExtents } = await this.counters();
      await this.count({ journalExtents: journalExtents + (record === null ? -1 : 1) });
    }
    if (record === null) {
      this.draft.delete(key('J', extent));
      return;
    }
    this.draft.put(key('J', extent), encode('journal', record));
    if (former?.client !== record.client) this.putNumber(key('j', record.client, extent), 0);
    if (isOpen(record)) this.putNumber(placeKey(record), extent);
  }

  /** The client's journal extents from this one on. */
  async *journalOf(client: number, from = 0): AsyncGenerator<{ extent: number; record: JournalExtent }> {
    for await (const entry of this.draft.entries(key('j', client, from), key('j', client, PAST_ALL))) {
      const extent = numberOf(entry.key, 1);
      const record = await this.journal(extent);
      if (record === null) throw damaged(`journal extent ${extent} is not there`);
      yield { extent, record };
    }
  }

  /** The client's journal extent at this place that is not hardened. */
  openJournalAt(file: number, index: number, client: number): Promise<number | null> {
    return this.numberAt(key('A', file, index, client));
  }

  /** The flags of a journal extent; null where there are none. */
  async flags(extent: number): Promise<{ marked: Uint8Array; cleared: Uint8Array } | null> {
    const marked = await this.draft.get(key('B', extent, 0));
    const cleared = await this.draft.get(key('B', extent, 1));
    if (marked === null && cleared === null) return null;
    const none = noBits(this.config.blocksPerExtent);
    return { marked: marked ?? none, cleared: cleared ?? none };
  }

  /** `cleared` alone where there is any: a key less. */
  setFlags(extent: number, marked: Uint8Array, cleared: Uint8Array): void {
    this.draft.put(key('B', extent, 0), marked);
    if (cleared.some((byte) => byte !== 0)) this.draft.put(key('B', extent, 1), cleared);
    else this.draft.delete(key('B', extent, 1));
  }

  dropFlags(extent: number): void {
    this.draft.delete(key('B', extent, 0));
    this.draft.delete(key('B', extent, 1));
  }

  async transaction(transaction: number): Promise<Transaction | null> {
    const value = await this.draft.get(key('T', transaction));
    return value === null ? null : decode('transaction', value);
  }

  putTransaction(transaction: number, record: Transaction): void {
    this.draft.put(key('T', transaction), encode('transaction', record));
  }

  async *transactions(): AsyncGenerator<{ transaction: number; record: Transaction }> {
    for await (const { key: at, value } of this.draft.under(under(key('T')))) {
      yield { transaction: numberOf(at, 0), record: decode('transaction', value) };
    }
  }

  async transactionEntry(transaction: number, n: number): Promise<TransactionEntry | null> {
    const value = await this.draft.get(key('t', transaction, n));
    return value === null ? null : decode('transactionEntry', value);
  }

  putTransactionEntry(transaction: number, n: number, entry: TransactionEntry): void {
    this.draft.put(key('t', transaction, n), encode('transactionEntry', entry));
    this.putNumber(key('H', entry.file, entry.index, transaction), n);
  }

  dropTransactionEntry(transaction: number, n: number, entry: TransactionEntry): void {
    this.draft.delete(key('t', transaction, n));
    this.draft.delete(key('H', entry.file, entry.index, transaction));
  }

  /** Entries of a transaction from `from` on. */
  async *entriesOf(transaction: number, from = 0): AsyncGenerator<{ n: number; entry: TransactionEntry }> {
    const to = key('t', transaction, PAST_ALL);
    for await (const { key: at, value } of this.draft.entries(key('t', transaction, from), to)) {
      yield { n: numberOf(at, 1), entry: decode('transactionEntry', value) };
    }
  }

  /** What waits to be done at this place, oldest first. */
  async chain(file: number, index: number): Promise<{ transaction: number; n: number }[]> {
    const found: { transaction: number; n: number }[] = [];
    for await (const { key: at, value } of this.draft.under(under(key('H', file, index)))) {
      found.push({ transaction: numberOf(at, 2), n: decode('number', value).value });
    }
    return found;
  }

  /** Whether any key begins with this one. */
  async hasAny(start: Uint8Array): Promise<boolean> {
    const { from, to } = under(start);
    for await (const _entry of this.draft.entries(from, to)) return true;
    return false;
  }

  /** Whether any transaction still has to do with the file. */
  async isPending(file: number): Promise<boolean> {
    return (await this.hasAny(key('H', file))) || (await this.hasAny(key('Z', file)));
  }

  async clientNamed(name: string): Promise<{ client: number; isEnding: boolean } | null> {
    const client = await this.numberAt(nameKey('c', name));
    if (client === null) return null;
    const value = await this.draft.get(key('L', client));
    if (value === null) throw damaged(`client ${client} is not there`);
    return { client, isEnding: decode('client', value).isEnding === 1 };
  }

  async nameOfClient(client: number): Promise<string | null> {
    const value = await this.draft.get(key('L', client));
    return value === null ? null : decoder.decode(tailOf('client', value));
  }

  putClient(client: number, name: string, record: RecordOf<'client'>): void {
    this.draft.put(key('L', client), encode('client', record, encoder.encode(name)));
    this.putNumber(nameKey('c', name), client);
  }

  dropClient(client: number, name: string): void {
    this.draft.delete(key('L', client));
    this.draft.delete(nameKey('c', name));
  }

  /** The locks of a file. */
  async locksOf(file: number): Promise<{ client: number; mode: number }[]> {
    const locks: { client: number; mode: number }[] = [];
    for await (const { key: at, value } of this.draft.under(under(key('Q', file)))) {
      locks.push({ client: numberOf(at, 1), mode: decode('number', value).value });
    }
    return locks;
  }

  setLock(file: number, client: number, mode: number | null): void {
    for (const at of [key('Q', file, client), key('q', client, file)]) {
      if (mode === null) this.draft.delete(at);
      else this.putNumber(at, mode);
    }
  }

  /** The file's size as a transaction that is sealed and not done sets it; the newest counts. */
  async pendingSize(file: number): Promise<{ transaction: number; sizeBytes: number } | null> {
    let newest: { transaction: number; sizeBytes: number } | null = null;
    for await (const { key: at, value } of this.draft.under(under(key('Z', file)))) {
      newest = { transaction: numberOf(at, 1), sizeBytes: decode('number', value).value };
    }
    return newest;
  }

  /** Of keys that begin so: the number at this place, and the value. */
  async *numbersUnder(start: Uint8Array, at: number): AsyncGenerator<{ number: number; value: number }> {
    for await (const entry of this.draft.under(under(start))) {
      yield { number: numberOf(entry.key, at), value: decode('number', entry.value).value };
    }
  }

  async numberAt(at: Uint8Array): Promise<number | null> {
    const value = await this.draft.get(at);
    return value === null ? null : decode('number', value).value;
  }

  putNumber(at: Uint8Array, value: number): void {
    this.draft.put(at, encode('number', { value }));
  }

  /** Names after this one, in the order of their bytes. */
  async *namesAfter(name: string | null): AsyncGenerator<number> {
    const { from, to } = under(new Uint8Array([0x4e]));
    const start = name === null ? from : after(nameKey('N', name));
    for await (const { value } of this.draft.entries(start, to)) yield decode('number', value).value;
  }
}

/** Associated, and neither hardened nor done. */
export function isOpen(record: JournalExtent): boolean {
  return record.file !== 0 && record.transaction === 0 && record.isSpent === 0;
}

function placeKey(record: JournalExtent): Uint8Array {
  return key('A', record.file, record.index, record.client);
}

export function damaged(what: string): UserError {
  return new UserError('METADATA_DAMAGED', `the metadata is damaged: ${what}`, { hint: 'holdfast fsck' });
}
