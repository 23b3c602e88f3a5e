/**
 * What a power cut may leave of files: what was durable, and of all other changes any, each by itself (docs/crash-model.md says it
 * of devices). A write tears at sectors; of a folder each name is there or is not, whatever became of the others.
 */
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { SeededRandom } from '../../../src/crash/seeded-random.js';
import { type Change, type FileEvent, type Inode, RecordedFiles } from './recorded-files.js';

const SECTOR_BYTES = 512;

/** Files by their path below the root; null: a folder. */
export type Tree = ReadonlyMap<string, Uint8Array | null>;

/** Before event `cut`: those that are durable, and those that may be there, in their order. */
export function changesAt(
  events: readonly FileEvent[],
  cut: number,
): { change: Change; isDurable: boolean }[] {
  const ended = new Map<Change, number>();
  const synced = new Map<Inode, number>();
  for (const [at, event] of events.slice(0, cut).entries()) {
    if (event.kind === 'ends') ended.set(event.change, at);
    if (event.kind === 'synced') synced.set(event.inode, event.from);
  }
  return events.slice(0, cut).flatMap((event) => {
    if (event.kind !== 'begins') return [];
    const { change } = event;
    const inode = 'inode' in change && change.kind !== 'link' ? change.inode : folderOf(change);
    return [{ change, isDurable: (ended.get(change) ?? cut) < (synced.get(inode) ?? 0) }];
  });
}

function folderOf(change: Change): Inode {
  return 'folder' in change ? change.folder : RecordedFiles.root;
}

/** Which of the changes that may be there are: none, all, each alone, all but each, and some by chance. */
export function* choicesOf(count: number, random: SeededRandom): Generator<boolean[]> {
  const each = (is: (at: number) => boolean) => Array.from({ length: count }, (_, at) => is(at));
  yield each(() => false);
  if (count === 0) return;
  yield each(() => true);
  for (let one = 0; one < count && count > 1; one++) {
    yield each((at) => at === one);
    yield each((at) => at !== one);
    yield each((at) => at < one);
  }
  for (let left = Math.min(count, 6); left > 0; left--) yield each(() => random.chance(0.5));
}

/** What is there when these changes are. `tears`: whether a write may be there in part. */
export function treeOf(changes: readonly Change[], tears: (change: Change) => SeededRandom | null): Tree {
  const names = new Map<Inode, Map<string, Inode>>();
  const contents = new Map<Inode, Uint8Array>();
  const inside = (folder: Inode) => names.get(folder) ?? names.set(folder, new Map()).get(folder)!;
  for (const change of changes) {
    if (change.kind === 'link') {
      inside(change.folder).set(change.name, change.inode);
      if (change.isFolder) inside(change.inode);
    }
    if (change.kind === 'unlink') inside(change.folder).delete(change.name);
    if (change.kind === 'rename') rename(inside(change.folder), change);
    if (change.kind === 'write' || change.kind === 'truncate')
      contents.set(change.inode, changed(contents.get(change.inode), change, tears(change)));
  }
  return paths(names, contents);
}

function rename(folder: Map<string, Inode>, { from, to }: { from: string; to: string }): void {
  const inode = folder.get(from);
  // Where the name before it is not there, it is as if it had been made under the new one.
  if (inode === undefined) return;
  folder.delete(from);
  folder.set(to, inode);
}

function changed(
  before: Uint8Array = new Uint8Array(),
  change: Extract<Change, { kind: 'write' | 'truncate' }>,
  tear: SeededRandom | null,
): Uint8Array {
  if (change.kind === 'truncate') {
    const cut = new Uint8Array(change.length);
    cut.set(before.subarray(0, change.length));
    return cut;
  }
  const { at, bytes } = change;
  const after = new Uint8Array(Math.max(before.length, at + bytes.length));
  after.set(before);
  for (let from = 0; from < bytes.length; from += SECTOR_BYTES)
    if (tear === null || tear.chance(0.5)) after.set(bytes.subarray(from, from + SECTOR_BYTES), at + from);
  return after;
}

function paths(
  names: ReadonlyMap<Inode, ReadonlyMap<string, Inode>>,
  contents: ReadonlyMap<Inode, Uint8Array>,
): Tree {
  const tree = new Map<string, Uint8Array | null>();
  const walk = (folder: Inode, path: string) => {
    for (const [name, inode] of names.get(folder) ?? []) {
      const own = join(path, name);
      const isFolder = names.has(inode);
      tree.set(own, isFolder ? null : (contents.get(inode) ?? new Uint8Array()));
      if (isFolder) walk(inode, own);
    }
  };
  walk(RecordedFiles.root, '');
  return tree;
}

/** Below a folder that is there, and empty. */
export async function putTree(root: string, tree: Tree): Promise<void> {
  for (const [path, content] of tree)
    if (content === null) await mkdir(join(root, path));
    else await writeFile(join(root, path), content);
}
