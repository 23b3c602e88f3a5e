/**
 * What a client finds when it opens (paragraphs 48 to 50): hardened transactions, its own and those of clients that are
 * gone, are completed; what it kept comes back; journal extents that were associated and never hardened are freed.
 */
import type { UserError } from '../errors.js';
import { type FlagPlace, placeOfKept } from '../metadata/flag-places.js';
import type { KeptJournal, OpenedClient } from '../metadata/messages.js';
import type { ClientContext } from './context.js';
import type { KeptFile } from './flags/contract.js';

/** Something is kept of a file, and its flags cannot be had now: nothing of it is given up, and nothing done with it. */
export interface AwayFile {
  readonly where: FlagPlace;
  readonly cause: UserError;
  readonly journal: readonly number[];
}

/** What was kept of a file is no more. */
export interface LostFile {
  readonly file: number;
  readonly why: string;
  readonly journal: readonly number[];
}

export interface Found {
  readonly kept: Map<number, KeptFile>;
  readonly away: Map<number, AwayFile>;
  readonly lost: readonly LostFile[];
  /** Journal extents that nobody will go on with. */
  readonly stale: readonly number[];
}

/** A kept number says that the flags of its file are whole: without it they are what was left of keeping or withdrawing. */
export async function findKept(
  { flags }: Pick<ClientContext, 'flags'>,
  { journal, sizes }: Pick<OpenedClient, 'journal' | 'sizes'>,
): Promise<Found> {
  const kept = new Map<number, KeptFile>();
  const away = new Map<number, AwayFile>();
  const lost: LostFile[] = [];
  const ofFile = new Map<number, KeptJournal[]>();
  for (const one of journal) {
    const own = ofFile.get(one.file);
    if (own === undefined) ofFile.set(one.file, [one]);
    else own.push(one);
  }
  for (const { file, sizeBytes: number } of sizes) {
    const own = ofFile.get(file) ?? [];
    const extents = own.map(({ extent }) => extent);
    const where = placeOfKept(number);
    const found = await flags.at(where).find({ file, number, journal: own });
    if ('kept' in found) kept.set(file, found.kept);
    else if ('away' in found) away.set(file, { where, cause: found.away, journal: extents });
    else lost.push({ file, why: found.lost, journal: extents });
  }
  const used = new Set([
    ...[...kept.values()].flatMap((one) => [
      ...one.extents.map(({ journal }) => journal),
      ...one.flagsExtents,
    ]),
    ...[...away.values()].flatMap((one) => one.journal),
  ]);
  const stale = journal.map(({ extent }) => extent).filter((extent) => !used.has(extent));
  return { kept, away, lost, stale };
}

/** To be completed: its own, and those of clients that are gone; oldest first. */
export async function transactionsToComplete(
  { session, client }: Pick<ClientContext, 'session' | 'client'>,
  { transactions: own }: OpenedClient,
): Promise<number[]> {
  const { transactions: others } = await session.request({ type: 'Take_Over', client });
  return [...new Set([...own, ...others])].sort((a, b) => a - b);
}
