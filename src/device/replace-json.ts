/**
 * A file of JSON beside the images that is replaced as a whole: written beside, fsynced, renamed, and the directory
 * fsynced, so that a cut leaves the old or the new one. What has to know which of them (a recording, a volume of which a state after a cut is
 * looked at) is put around that, as images are interposed.
 */
import { open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { fileError } from './device-errors.js';
import { syncDirectory } from './image-open.js';

/** The file holds `text`, durably, when what it returns resolves: `replace` does that. */
export type Replacer = (path: string, text: string, replace: () => Promise<void>) => Promise<void>;

/** The last put in is the nearest to the user. */
const replacers: Replacer[] = [];

/** From now on, until what it returns is called. */
export function aroundReplacements(replacer: Replacer): () => void {
  replacers.push(replacer);
  return () => {
    const at = replacers.indexOf(replacer);
    if (at >= 0) replacers.splice(at, 1);
  };
}

/** Resolves when the file is durable; until then, and when it fails, the old one counts. */
export async function replaceJson(path: string, value: unknown): Promise<void> {
  const text = `${JSON.stringify(value, null, 2)}\n`;
  const replace = replacers.reduce<() => Promise<void>>(
    (inner, replacer) => () => replacer(path, text, inner),
    () => replaced(path, text),
  );
  await replace();
}

async function replaced(path: string, text: string): Promise<void> {
  try {
    await replaceWhole(path, text);
  } catch (error) {
    await rm(`${path}.new`, { force: true }).catch(() => undefined);
    throw fileError(path, 'written', error);
  }
}

async function replaceWhole(path: string, text: string): Promise<void> {
  const beside = `${path}.new`;
  const file = await open(beside, 'w', 0o644);
  try {
    await file.writeFile(text);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(beside, path);
  await syncDirectory(dirname(path));
}
