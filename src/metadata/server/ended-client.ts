/**
 * A client whose lease has ended (paragraph 48), step by step: its locks go at once, its journal extents that were not
 * hardened are freed. Those of transactions stay what they are: whoever takes these over completes them (49).
 */
import { releaseJournal } from './journal.js';
import { key, under } from './keys.js';
import { decode } from './records.js';
import type { JournalExtent } from './state.js';
import type { Turn } from './turn.js';

/** Extents that a step frees. */
const STEP_EXTENTS = 128;

/** From this moment on it is no client; what it had goes in steps. */
export async function endClient(turn: Turn, client: number): Promise<void> {
  const { state } = turn;
  const name = await state.nameOfClient(client);
  if (name === null) return;
  const value = decode('client', (await state.draft.get(key('L', client)))!);
  if (value.isEnding === 1) return;
  state.putClient(client, name, { ...value, isEnding: 1 });
  state.putNumber(key('W', client), 0);
  for await (const { number: file } of state.numbersUnder(key('q', client), 1)) {
    state.setLock(file, client, null);
    turn.tell({ allBut: client }, { type: 'lock-free', file });
  }
  for await (const entry of state.draft.under(under(key('Y', client)))) state.draft.delete(entry.key);
  turn.tell({ only: client }, { type: 'lease-ended' });
  const orphans: number[] = [];
  for await (const { transaction, record } of state.transactions()) {
    if (record.client === client) orphans.push(transaction);
  }
  turn.orphaned(orphans);
}

/** `from`: the extents below have been seen. */
export async function freeClientStep(turn: Turn, client: number, from: number): Promise<void> {
  const { state } = turn;
  const name = await state.nameOfClient(client);
  const seen: number[] = [];
  const freed = new Map<number, JournalExtent>();
  for await (const { extent, record } of state.journalOf(client, from)) {
    if (record.transaction === 0) freed.set(extent, record);
    if (seen.push(extent) === STEP_EXTENTS) break;
  }
  await releaseJournal(turn, freed);
  if (seen.length === STEP_EXTENTS) {
    state.putNumber(key('W', client), seen.at(-1)! + 1);
    return;
  }
  state.draft.delete(key('W', client));
  if (name !== null) state.dropClient(client, name);
}
