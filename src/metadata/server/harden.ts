/**
 * Harden_Extent_Flags (paragraphs 25, 30 and 31): the marks of journal extents come to the server. Where the commit
 * starts, they become a transaction that is redone whoever dies: all of its extents or none, which one engine commit
 * says. Where it does not start they are only kept, for the client that comes back.
 *
 * A long transaction is put in parts: state `putting`, which nobody sees (nothing else is handled meanwhile, and
 * what a crash leaves is taken back when the server opens); the commit that seals it is the last.
 */
import { allBits, bitmapBytes, isEmpty, isEqual, meet } from '../bits.js';
import type { ExtentFlags, Replies, RequestOf } from '../messages.js';
import { finishAtOnce } from './at-once.js';
import { setSizes } from './file-sizes.js';
import { associable, MOST_INDEX, writableFile } from './journal.js';
import { key } from './keys.js';
import { breach, refuse } from './refusals.js';
import { type State, TRANSACTION_STATE, type Transaction } from './state.js';
import { takeBack } from './take-back.js';
import { type Caller, PART_BYTES, type Turn } from './turn.js';

type Request = RequestOf<'Harden_Extent_Flags'>;

/** Keys and records of one extent of a transaction, beside its bitmaps. */
const EXTENT_BYTES = 500;

/** Too long for one engine commit with others: handled alone, in parts. */
export function isLong({ extents }: Request): boolean {
  const bytes = extents.reduce(
    (sum, { marked, cleared }) => sum + marked.length + cleared.length + EXTENT_BYTES,
    0,
  );
  return bytes > PART_BYTES;
}

export async function hardenExtentFlags(
  turn: Turn,
  caller: Caller,
  request: Request,
): Promise<Replies['Harden_Extent_Flags']> {
  await check(turn.state, caller, request);
  if (!request.starts) {
    await keep(turn, caller, request);
    return { transaction: null, done: null };
  }
  const transaction = await turn.state.nextNumber('nextTransaction');
  for (const { file } of request.sizes) turn.state.draft.delete(key('Y', caller.client, file));
  if (request.extents.length === 0) {
    await setSizes(turn.state, transaction, request.sizes);
    return { transaction: null, done: null };
  }
  // In parts it could not be: the last of them says that all of it counts.
  const done =
    request.completes === true && !isLong(request)
      ? await finishAtOnce(turn, caller, transaction, request)
      : null;
  if (done === null) await put(turn, caller, transaction, request);
  tellOthers(turn, caller, request);
  return { transaction, done };
}

/** All of it, before anything is put: what is refused has changed nothing. */
async function check(state: State, caller: Caller, { extents, sizes, starts }: Request): Promise<void> {
  const files = new Set([...extents, ...sizes].map(({ file }) => file));
  for (const file of files) {
    await writableFile(state, file);
    if (starts) await checkLocks(state, caller, file);
  }
  if (new Set(sizes.map(({ file }) => file)).size < sizes.length) throw breach('a file has two sizes');
  const places = new Set(extents.map(({ file, index }) => `${file}/${index}`));
  const journals = extents.map(({ journal }) => journal).filter((journal) => journal !== null);
  if (places.size < extents.length) throw breach('an extent of a file is twice in the transaction');
  if (new Set(journals).size < journals.length) throw breach('a journal extent is twice in the transaction');
  for (const extent of extents) {
    checkFlags(state, extent);
    if (extent.journal !== null) await associable(state, caller, { ...extent, journal: extent.journal });
    else if (!starts) throw breach('flags are kept with a journal extent: there is none');
  }
}

function checkFlags(state: State, { file, index, journal, marked, cleared }: ExtentFlags): void {
  const { blocksPerExtent } = state.config;
  const all = allBits(blocksPerExtent);
  const where = { file, index, journal };
  for (const bits of [marked, cleared]) {
    if (bits.length !== bitmapBytes(blocksPerExtent)) {
      throw breach(`a bitmap has ${bits.length} bytes, not ${bitmapBytes(blocksPerExtent)}`, where);
    }
    if (!bits.every((byte, at) => (byte & ~all[at]!) === 0))
      throw breach('a bit is past the last block', where);
  }
  if (meet(marked, cleared)) throw breach('a block is both marked and cleared', where);
  if (index > MOST_INDEX) {
    throw refuse('OUT_OF_RANGE', `a file has ${MOST_INDEX + 1} extents at most`, undefined, where);
  }
  if (journal === null && (!isEmpty(marked) || !isEqual(cleared, all))) {
    throw breach('an extent without a journal extent must be cleared whole', where);
  }
}

async function checkLocks(state: State, { client }: Caller, file: number): Promise<void> {
  const other = (await state.locksOf(file)).find((lock) => lock.client !== client);
  if (other === undefined) return;
  const name = await state.nameOfClient(other.client);
  throw refuse('IN_USE', `file ${file} is locked by client ${name}`, 'Ask for the lock first.', { file });
}

async function keep({ state }: Turn, caller: Caller, { extents, sizes }: Request): Promise<void> {
  for (const { file, index, journal, marked, cleared } of extents) {
    const record = await associable(state, caller, { file, index, journal: journal! });
    await state.setJournal(journal!, { ...record, file, index });
    state.setFlags(journal!, marked, cleared);
  }
  for (const { file, sizeBytes } of sizes) state.putNumber(key('Y', caller.client, file), sizeBytes);
}

async function put(
  turn: Turn,
  caller: Caller,
  transaction: number,
  { extents, sizes }: Request,
): Promise<void> {
  const { state } = turn;
  const entries = extents.length;
  const record = { client: caller.client, entries, left: entries, mayHaveBegun: 0 };
  state.putTransaction(transaction, { ...record, state: TRANSACTION_STATE.putting });
  try {
    for (const [n, { file, index, journal, marked, cleared }] of extents.entries()) {
      if (journal !== null) {
        const former = (await state.journal(journal))!;
        await state.setJournal(journal, { ...former, file, index, transaction });
        state.setFlags(journal, marked, cleared);
      }
      state.putTransactionEntry(transaction, n, { file, index, journal: journal === null ? 0 : journal + 1 });
      await turn.commitPart();
    }
    // Then the commit that seals it, with nothing beside it that may be too much for it.
    if (state.draft.bytes > PART_BYTES / 2) await turn.commitPart(true);
    seal(state, transaction, record, sizes);
    await turn.commitPart(true);
  } catch (cause) {
    // What of it came into the engine before the failure.
    await takeBack(turn, transaction, { keepsFlags: true });
    await turn.commitPart(true);
    throw cause;
  }
}

function tellOthers(turn: Turn, { client }: Caller, { extents, sizes }: Request): void {
  for (const file of new Set([...extents, ...sizes].map((one) => one.file))) {
    const indexes = extents.filter((one) => one.file === file).map(({ index }) => index);
    turn.tell({ allBut: client }, { type: 'map-changed', file, indexes });
  }
}

function seal(
  state: State,
  transaction: number,
  record: Omit<Transaction, 'state'>,
  sizes: Request['sizes'],
): void {
  state.putTransaction(transaction, { ...record, state: TRANSACTION_STATE.sealed });
  for (const { file, sizeBytes } of sizes) {
    state.putNumber(key('Z', file, transaction), sizeBytes);
    state.putNumber(key('z', transaction, file), sizeBytes);
  }
}
