/**
 * Clients and their locks: Open_Client, Close_Client, End_Client, Take_Over, Lock_File, Unlock_File. What a client
 * had in an earlier life is there when it opens again: what is associated or hardened is its own still, and what is not
 * (nobody knows what was to become of it) is freed.
 *
 * A lock is granted or refused at once; who holds it is told that it is wanted, and all are told when one is free.
 */
import type { KeptJournal, OpenedClient, Replies, RequestOf } from '../messages.js';
import { endClient } from './ended-client.js';
import { LOCK_MODES } from './files.js';
import { releaseJournal } from './journal.js';
import { key } from './keys.js';
import { existingFile } from './look-ups.js';
import { breach } from './refusals.js';
import { isOpen, type JournalExtent, type State } from './state.js';
import type { Caller, Turn } from './turn.js';

/** Extents that are freed before a part is put. */
const PART_EXTENTS = 128;

/** Handled alone: what was left is freed in parts. */
export async function openClient(
  turn: Turn,
  name: string,
  leaseMs: number,
): Promise<{ client: number; reply: OpenedClient }> {
  const { state } = turn;
  const found = await state.clientNamed(name);
  const client = found?.client ?? (await state.nextNumber('nextClient'));
  if (found === null || found.isEnding) {
    state.putClient(client, name, { isEnding: 0, openedMs: turn.nowMs });
    state.draft.delete(key('W', client));
  }
  const journal = found === null ? [] : await whatWasOpen(turn, client);
  const { blocksPerExtent, extents } = state.config;
  const reply = {
    isNew: found === null,
    leaseMs,
    blocksPerExtent,
    extents,
    journal,
    sizes: await keptSizes(state, client),
    locks: await locksOf(state, client),
    transactions: await ownTransactions(state, client),
  };
  return { client, reply };
}

async function whatWasOpen(turn: Turn, client: number): Promise<KeptJournal[]> {
  const { state } = turn;
  const kept: KeptJournal[] = [];
  let freed = new Map<number, JournalExtent>();
  for await (const { extent, record } of state.journalOf(client)) {
    if (isOpen(record)) {
      kept.push({ extent, file: record.file, index: record.index, flags: await state.flags(extent) });
    } else if (record.transaction === 0) {
      freed.set(extent, record);
    }
    if (freed.size < PART_EXTENTS) continue;
    await releaseJournal(turn, freed);
    await turn.commitPart();
    freed = new Map();
  }
  await releaseJournal(turn, freed);
  return kept;
}

async function keptSizes(state: State, client: number): Promise<{ file: number; sizeBytes: number }[]> {
  const sizes: { file: number; sizeBytes: number }[] = [];
  for await (const { number: file, value: sizeBytes } of state.numbersUnder(key('Y', client), 1)) {
    if ((await state.inode(file)) === null) state.draft.delete(key('Y', client, file));
    else sizes.push({ file, sizeBytes });
  }
  return sizes;
}

async function locksOf(state: State, client: number): Promise<{ file: number; mode: 'read' | 'write' }[]> {
  const locks: { file: number; mode: 'read' | 'write' }[] = [];
  for await (const { number: file, value } of state.numbersUnder(key('q', client), 1)) {
    locks.push({ file, mode: LOCK_MODES[value]! });
  }
  return locks;
}

/** It is in a new life: what the old one had begun, nobody knows. */
async function ownTransactions(state: State, client: number): Promise<number[]> {
  const own: number[] = [];
  for await (const { transaction, record } of state.transactions()) {
    if (record.client !== client) continue;
    own.push(transaction);
    state.putTransaction(transaction, { ...record, mayHaveBegun: 1 });
  }
  return own;
}

/** Paragraph 49: of clients that are gone. */
export async function takeOver({ state }: Turn, { client }: Caller): Promise<Replies['Take_Over']> {
  const transactions: number[] = [];
  for await (const { transaction, record } of state.transactions()) {
    const owner = await state.nameOfClient(record.client);
    const isGone = owner === null || (await state.clientNamed(owner))?.isEnding === true;
    if (!isGone) continue;
    state.putTransaction(transaction, { ...record, client, mayHaveBegun: 1 });
    transactions.push(transaction);
  }
  return { transactions };
}

export async function endOther(
  turn: Turn,
  { ended }: RequestOf<'End_Client'>,
): Promise<Replies['End_Client']> {
  const found = await turn.state.clientNamed(ended);
  if (found === null) throw breach(`there is no client ${ended}`, { client: ended });
  await endClient(turn, found.client);
  return {};
}

export async function lockFile(
  turn: Turn,
  { client }: Caller,
  { file, mode }: RequestOf<'Lock_File'>,
): Promise<Replies['Lock_File']> {
  await existingFile(turn.state, file);
  const others = (await turn.state.locksOf(file)).filter(
    (lock) => lock.client !== client && (mode === 'write' || LOCK_MODES[lock.mode] === 'write'),
  );
  for (const lock of others) turn.tell({ only: lock.client }, { type: 'lock-wanted', file, mode });
  if (others.length > 0) return { isGranted: false };
  turn.state.setLock(file, client, LOCK_MODES.indexOf(mode));
  return { isGranted: true };
}

export async function unlockFile(
  turn: Turn,
  { client }: Caller,
  { file }: RequestOf<'Unlock_File'>,
): Promise<Replies['Unlock_File']> {
  turn.state.setLock(file, client, null);
  turn.tell({ allBut: client }, { type: 'lock-free', file });
  return {};
}
