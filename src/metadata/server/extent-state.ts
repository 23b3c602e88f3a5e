/** An extent of a transaction, as the decision (../decision.ts) takes it: its flags, beside what the map has at its place. */
import { allBits, noBits } from '../bits.js';
import type { ExtentState } from '../decision.js';
import type { Place } from './maps.js';
import type { State, TransactionEntry } from './state.js';

/** What the decision is made of. */
export async function extentState(
  state: State,
  { journal }: TransactionEntry,
  place: Place,
): Promise<ExtentState> {
  return stateOf(await flagsOf(state, journal), place);
}

export function stateOf(
  { marked, cleared }: { marked: Uint8Array; cleared: Uint8Array },
  { data, used, isShared }: Place,
): ExtentState {
  return { marked, cleared, used, hasData: data !== null, isShared };
}

/** Of a journal extent of an entry; where there is none, all is cleared. */
export async function flagsOf(
  state: State,
  journal: number,
): Promise<{ marked: Uint8Array; cleared: Uint8Array }> {
  const { blocksPerExtent } = state.config;
  if (journal === 0) return { marked: noBits(blocksPerExtent), cleared: allBits(blocksPerExtent) };
  return (await state.flags(journal - 1))!;
}
