/**
 * Checks what the metadata server keeps against itself: maps, journal, free extents, transactions, names. For fsck,
 * and for tests after every step. It reads an engine that nobody changes meanwhile; memory is two bits an extent of the
 * pool. What is under way (a removal, a merge, a client's end, a transaction that is being put) is right as it is.
 */
import type { MetadataEngine } from '../engine/contract.js';
import { CheckContext, type StateFinding } from './check-context.js';
import { checkFiles, checkMaps } from './check-files.js';
import { checkJournal, checkTransactions } from './check-journal.js';
import { Draft } from './draft.js';
import { readConfig } from './format.js';
import { key, numberOf, under } from './keys.js';
import { GROUP_EXTENTS } from './pool.js';
import { State } from './state.js';

/** Throws METADATA_DAMAGED and what readConfig throws; all else is a finding. */
export async function checkMetadata(engine: MetadataEngine): Promise<StateFinding[]> {
  const config = await readConfig(engine);
  const context = new CheckContext(new State(new Draft(engine), config), config);
  await checkMaps(context);
  await checkJournal(context);
  await checkTransactions(context);
  await checkFiles(context);
  await checkFree(context);
  return context.findings;
}

async function checkFree(context: CheckContext): Promise<void> {
  const { state, config } = context;
  const taken = new Map<number, Uint8Array>();
  for await (const entry of state.draft.under(under(key('G'))))
    taken.set(numberOf(entry.key, 0), entry.value);
  let free = 0;
  for (let extent = 0; extent < config.extents; extent++) {
    const at = extent % GROUP_EXTENTS;
    const bits = taken.get((extent - at) / GROUP_EXTENTS);
    const isTaken = bits !== undefined && (bits[at >> 3]! & (1 << (at & 7))) !== 0;
    if (!isTaken) free += 1;
    if (isTaken && !context.isUsed(extent)) {
      context.find('EXTENT_LEAKED', `extent ${extent} is taken, and nothing has it`, { extent });
    } else if (!isTaken && context.isUsed(extent)) {
      context.find('EXTENT_NOT_TAKEN', `extent ${extent} is in use, and counts as free`, { extent });
    }
  }
  const { freeExtents } = await state.counters();
  if (free !== freeExtents) {
    context.find('EXTENT_COUNT_WRONG', `${free} extents are free, not ${freeExtents}`, {
      free,
      counted: freeExtents,
    });
  }
}
