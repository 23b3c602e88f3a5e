/** What the metadata says in a few numbers, for `status`: read from an engine, without a server and without a client. */
import type { MetadataEngine } from '../engine/contract.js';
import { placeOfKept, saysNothing } from '../flag-places.js';
import type { SpaceInfo } from '../messages.js';
import { Draft } from './draft.js';
import { readConfig } from './format.js';
import { key, numberOf, under } from './keys.js';
import { decode } from './records.js';
import { isOpen, State, TRANSACTION_STATE } from './state.js';

export interface MetadataSummary extends SpaceInfo {
  readonly files: number;
  /** Extents with changes that a client has kept and not committed. */
  readonly uncommitted: number;
  /** Hardened and not done: recovery completes them. */
  readonly transactionsToComplete: number;
}

/** Throws METADATA_DAMAGED, and what readConfig throws. */
export async function summarize(engine: Pick<MetadataEngine, 'get' | 'entries'>): Promise<MetadataSummary> {
  const config = await readConfig(engine);
  const state = new State(new Draft(engine), config);
  const { freeExtents, reservedExtents, journalExtents } = await state.counters();
  let files = 0;
  for await (const _entry of state.draft.under(under(key('I')))) files += 1;
  let uncommitted = 0;
  for await (const entry of state.draft.under(under(key('J')))) {
    const record = decode('journal', entry.value);
    // Flags without a kept number are what was left of keeping them: nobody comes back to those.
    const kept = isOpen(record) ? await state.numberAt(key('Y', record.client, record.file)) : null;
    if (kept === null) continue;
    const flags = await state.flags(numberOf(entry.key, 0));
    // Kept elsewhere, the server has none; those that say nothing mark what holds flags itself.
    const isKept = flags === null ? placeOfKept(kept) !== 'metadata' : !saysNothing(flags);
    if (isKept) uncommitted += 1;
  }
  let transactionsToComplete = 0;
  for await (const { record } of state.transactions())
    if (record.state === TRANSACTION_STATE.sealed) transactionsToComplete += 1;
  const { extents } = config;
  const space = { extents, free: freeExtents, reserved: reservedExtents, journal: journalExtents };
  return { ...space, files, uncommitted, transactionsToComplete };
}
