/**
 * What an opening gives up (paragraph 48): journal extents that nobody goes on with, locks of files of which nothing is
 * kept, and what was kept and is lost, with a warning that says what it was.
 */
import type { ClientContext } from './context.js';
import type { Found } from './opening.js';
import type { StoreFiles } from './store-files.js';

export async function tellLost(
  { settings }: ClientContext,
  files: StoreFiles,
  { lost }: Found,
): Promise<void> {
  if (lost.length === 0) return;
  const names = new Map((await files.list()).map(({ file, name }) => [file, name]));
  for (const { file, why, journal } of lost) {
    const name = names.get(file) ?? `file ${file}`;
    settings.warn(
      `${name}: what was kept of it and not committed is given up, ${journal.length} journal extents: ${why}. The file is as of its last commit`,
    );
  }
}

export async function giveUp(
  context: ClientContext,
  { lost, stale, kept, away }: Found,
  locks: readonly { readonly file: number }[],
): Promise<void> {
  const { session, client } = context;
  for (const { file } of lost) await forgetNumber(context, file);
  await freeAll(context, stale);
  for (const { file } of locks)
    if (!kept.has(file) && !away.has(file)) await session.request({ type: 'Unlock_File', client, file });
}

/** Of a file that is not open: what was kept of it is no more. */
export async function forgetKept(
  context: ClientContext,
  { file, journal }: { readonly file: number; readonly journal: readonly number[] },
): Promise<void> {
  const { session, client } = context;
  await forgetNumber(context, file);
  await freeAll(context, journal);
  await session.request({ type: 'Unlock_File', client, file });
}

/** First: without its journal extents the number would be one of nothing. */
async function forgetNumber({ session, client }: ClientContext, file: number): Promise<void> {
  const { sizeBytes } = await session.request({ type: 'Map_Extents', client, file, from: 0, count: 1 });
  const sizes = [{ file, sizeBytes }];
  await session.request({ type: 'Harden_Extent_Flags', client, extents: [], sizes, starts: true });
}

async function freeAll({ session, reserve }: ClientContext, journal: readonly number[]): Promise<void> {
  await session.disassociate(journal);
  await reserve.free(journal);
}
