/**
 * What a client finds when it opens (paragraphs 48 to 50): hardened transactions, its own and those of clients that are
 * gone, are completed; what it kept comes back; journal extents that were associated and never hardened are freed.
 */
import type { ExtentFlags, KeptJournal, OpenedClient } from '../metadata/messages.js';
import type { ClientContext } from './context.js';

/** What a file has that is not committed, from an earlier life. */
export interface KeptFile {
  readonly sizeBytes: number;
  readonly journal: readonly (ExtentFlags & { readonly journal: number })[];
}

export interface Found {
  readonly kept: Map<number, KeptFile>;
  /** Journal extents that nobody will go on with. */
  readonly stale: readonly number[];
}

/** A kept size says that the flags of its file are whole: without it they are what was left of keeping or withdrawing. */
export function sorted({ journal, sizes }: OpenedClient): Found {
  const kept = new Map<number, KeptFile>();
  const stale: number[] = [];
  const bySize = new Map(sizes.map(({ file, sizeBytes }) => [file, sizeBytes]));
  for (const [file, sizeBytes] of bySize) {
    const own = journal.filter((one) => one.file === file && one.flags !== null).map(flagsOf);
    kept.set(file, { sizeBytes, journal: own });
  }
  for (const { extent, file, flags } of journal) if (flags === null || !bySize.has(file)) stale.push(extent);
  return { kept, stale };
}

function flagsOf({ file, index, extent, flags }: KeptJournal): ExtentFlags & { readonly journal: number } {
  return { file, index, journal: extent, marked: flags!.marked, cleared: flags!.cleared };
}

/** To be completed: its own, and those of clients that are gone; oldest first. */
export async function transactionsToComplete(
  { session, client }: Pick<ClientContext, 'session' | 'client'>,
  { transactions: own }: OpenedClient,
): Promise<number[]> {
  const { transactions: others } = await session.request({ type: 'Take_Over', client });
  return [...new Set([...own, ...others])].sort((a, b) => a - b);
}
