/** Metadata with something of every kind, and damage that is planted in its engine, behind the server's back. */
import { key } from '../../../src/metadata/server/keys.js';
import { decode, encode, type RecordOf } from '../../../src/metadata/server/records.js';
import { ALL, bits, harden, makeFile, mapOf, Stage, write } from './stage.js';

/** A file with data and a snapshot; journal extents of every kind; a transaction under way. */
export async function stageWithAll() {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  const file = await makeFile(ask, 'disk');
  await write(ask, { file, index: 0, marked: ALL }, { file, index: 1, marked: ALL });
  await ask('Snapshot_File', { file, name: 'snapshot' });
  await write(ask, { file, index: 0, marked: ALL });
  const { extents } = await ask('Allocate_Journal_Space', { count: 2 });
  const kept = { file, index: 5, journal: extents[0]!, marked: bits(1), cleared: bits(2) };
  await ask('Harden_Extent_Flags', { extents: [kept], sizes: [], starts: false });
  const { transaction, journal } = await harden(
    ask,
    [{ file, index: 0, marked: bits(3) }],
    [{ file, sizeBytes: 3 }],
  );
  await stage.settledCheck();
  const data = (await mapOf(ask, file, 0)).extent!;
  return { stage, file, transaction, kept: extents[0]!, hardened: journal[0]!, data };
}

export type Damaged = Awaited<ReturnType<typeof stageWithAll>>;

export async function change<K extends Parameters<typeof decode>[0]>(
  { stage }: Damaged,
  at: Uint8Array,
  kind: K,
  changes: Partial<RecordOf<K>>,
): Promise<void> {
  const value = (await stage.engine.get(at))!;
  const record = { ...decode(kind, value), ...changes } as RecordOf<K>;
  const tail = value.subarray(encode(kind, record).byteLength);
  await stage.engine.content.commit([{ key: at, value: encode(kind, record, tail) }]);
}

export const drop = ({ stage }: Damaged, at: Uint8Array) =>
  stage.engine.content.commit([{ key: at, value: null }]);
export const put = ({ stage }: Damaged, at: Uint8Array, value: Uint8Array) =>
  stage.engine.content.commit([{ key: at, value }]);
export const number = (value: number) => encode('number', { value });

export async function setTaken(damaged: Damaged, extent: number, isTaken: boolean): Promise<void> {
  const group = (await damaged.stage.engine.get(key('G', 0)))!;
  if (isTaken) group[extent >> 3]! |= 1 << (extent & 7);
  else group[extent >> 3]! &= ~(1 << (extent & 7));
  await put(damaged, key('G', 0), group);
}
