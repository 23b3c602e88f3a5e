/**
 * Files by name: Create_File, Remove_File, Rename_File, Snapshot_File. A snapshot is one engine commit however large
 * the file is (paragraph 53, gone further): the file's map is frozen and the snapshot's from then on, and the file
 * goes on with an empty map above it. A removal takes the name away at once; the extents go in steps (removal.ts).
 */
import { faultOfName } from '../../names.js';
import type { FileInfo, RequestOf } from '../messages.js';
import { key, nameKey } from './keys.js';
import { existingFile, infoOf } from './look-ups.js';
import { newMap } from './maps.js';
import { poolFull, refuse } from './refusals.js';
import { leaveMap } from './removal.js';
import type { Inode, State } from './state.js';
import type { Caller, Turn } from './turn.js';

export const LOCK_MODES = ['read', 'write'] as const;

export async function createFile(
  { state, nowMs }: Turn,
  { name, sizeBytes, reserveExtents = 0 }: RequestOf<'Create_File'>,
): Promise<FileInfo> {
  await checkNewName(state, name);
  const { freeExtents, reservedExtents } = await state.counters();
  if (freeExtents - reservedExtents < reserveExtents)
    throw poolFull(reserveExtents, freeExtents, reservedExtents);
  await state.count({ reservedExtents: reservedExtents + reserveExtents });
  const inode: Inode = {
    name,
    sizeBytes,
    sizeTransaction: 0,
    map: await newMap(state, 0),
    createdMs: nowMs,
    isReadOnly: 0,
    reservedExtents: reserveExtents,
    snapshotOf: 0,
  };
  return addFile(state, inode);
}

async function addFile(state: State, inode: Inode): Promise<FileInfo> {
  const file = await state.nextNumber('nextFile');
  state.putInode(file, inode);
  state.putNumber(nameKey('N', inode.name), file);
  return infoOf(state, file, inode);
}

export async function removeFile(
  turn: Turn,
  caller: Caller,
  { file }: RequestOf<'Remove_File'>,
): Promise<Record<string, never>> {
  const { state } = turn;
  const inode = await existingFile(state, file);
  await checkQuiet(state, caller, file, inode, 'removed', LOCK_MODES);
  const { reservedExtents } = await state.counters();
  await state.count({ reservedExtents: reservedExtents - inode.reservedExtents });
  state.draft.delete(nameKey('N', inode.name));
  state.draft.delete(key('I', file));
  state.setLock(file, caller.client, null);
  // Journal extents that wait to be written into it lose their place, step by step.
  state.putNumber(key('D', file), 0);
  await leaveMap(state, inode.map, 'files');
  turn.tell({ allBut: caller.client }, { type: 'file-removed', file });
  return {};
}

export async function renameFile(
  { state }: Turn,
  { file, name }: RequestOf<'Rename_File'>,
): Promise<Record<string, never>> {
  const inode = await existingFile(state, file);
  if (inode.name === name) return {};
  await checkNewName(state, name);
  state.draft.delete(nameKey('N', inode.name));
  state.putNumber(nameKey('N', name), file);
  state.putInode(file, { ...inode, name });
  return {};
}

export async function snapshotFile(
  turn: Turn,
  caller: Caller,
  { file, name }: RequestOf<'Snapshot_File'>,
): Promise<FileInfo> {
  const { state, nowMs } = turn;
  const inode = await existingFile(state, file);
  await checkNewName(state, name);
  await checkQuiet(state, caller, file, inode, 'frozen', ['write']);
  if (inode.isReadOnly === 1) {
    await state.changeMap(inode.map, ({ files }) => ({ files: files + 1 }));
  } else {
    // The snapshot takes the file's place as the frozen map's holder.
    state.putInode(file, { ...inode, map: await newMap(state, inode.map) });
    turn.tell({ allBut: caller.client }, { type: 'map-changed', file, indexes: null });
  }
  return addFile(state, {
    ...inode,
    name,
    createdMs: nowMs,
    isReadOnly: 1,
    reservedExtents: 0,
    snapshotOf: inode.snapshotOf === 0 ? file : inode.snapshotOf,
  });
}

/** Nothing of it is on its way, and nobody else has it locked so. */
async function checkQuiet(
  state: State,
  { client }: Caller,
  file: number,
  inode: Inode,
  what: string,
  modes: readonly ('read' | 'write')[],
): Promise<void> {
  if (await state.isPending(file)) {
    const hint = 'Complete its transactions first.';
    throw refuse('IN_USE', `${inode.name} cannot be ${what}: a commit of it is under way`, hint, { file });
  }
  for (const lock of await state.locksOf(file)) {
    if (lock.client === client || !modes.includes(LOCK_MODES[lock.mode]!)) continue;
    const holder = await state.nameOfClient(lock.client);
    throw refuse('IN_USE', `${inode.name} cannot be ${what}: client ${holder} has locked it`, undefined, {
      file,
    });
  }
}

async function checkNewName(state: State, name: string): Promise<void> {
  const why = faultOfName(name);
  if (why !== null) {
    throw refuse('USAGE', `${JSON.stringify(name)} cannot be the name of a file: ${why}`, undefined, {
      name,
    });
  }
  if ((await state.fileNamed(name)) !== null) {
    throw refuse('FILE_EXISTS', `there is a file called ${name} already`, 'Choose another name.', { name });
  }
}
