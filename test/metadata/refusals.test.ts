/** What the metadata server refuses, with its code; nothing is changed by it. */
import { beforeEach, describe, expect, it } from 'vitest';
import { MemoryEngine } from '../../src/metadata/engine/memory-engine.js';
import { formatMetadata, MOST_BLOCKS } from '../../src/metadata/server/format.js';
import { key } from '../../src/metadata/server/keys.js';
import { encode } from '../../src/metadata/server/records.js';
import { isBreach } from '../../src/metadata/server/refusals.js';
import { MetadataServer } from '../../src/metadata/server/server.js';
import {
  ALL,
  type Ask,
  bits,
  type FileStage,
  harden,
  makeFile,
  NONE,
  stageWithFile,
} from './support/stage.js';

let { stage, ask, file } = {} as FileStage;

beforeEach(async () => {
  ({ stage, ask, file } = await stageWithFile());
});

/** Refused with this code, as the client's own fault or as the user's, and nothing has changed. */
async function refused(asked: Promise<unknown>, code: string, words: string, isFault = false): Promise<void> {
  const before = await stage.as('a')('Space', {});
  const cause = await asked.then(
    () => null,
    (thrown) => thrown,
  );
  expect(cause).toMatchObject({ name: 'UserError', code });
  expect(cause.message).toContain(words);
  expect(isBreach(cause)).toBe(isFault);
  await stage.check();
  expect(await stage.as('a')('Space', {})).toEqual(before);
}

describe('a name', () => {
  it.each([
    ['', 'empty'],
    ['.', 'directory'],
    ['..', 'directory'],
    ['a/b', 'slash'],
    ['a\0b', 'NUL'],
    ['x'.repeat(256), '255'],
    ['ä'.repeat(128), '256 bytes'],
    ['\ud800', 'Unicode'],
  ])('%j is none', async (name, why) => {
    await refused(ask('Create_File', { name, sizeBytes: 0 }), 'USAGE', why);
    await refused(ask('Rename_File', { file, name }), 'USAGE', why);
    await refused(ask('Snapshot_File', { file, name }), 'USAGE', why);
  });

  it('that is taken stays its file’s', async () => {
    await refused(ask('Create_File', { name: 'disk', sizeBytes: 0 }), 'FILE_EXISTS', 'disk');
    await refused(ask('Snapshot_File', { file, name: 'disk' }), 'FILE_EXISTS', 'disk');
    await makeFile(ask, 'other');
    await refused(ask('Rename_File', { file, name: 'other' }), 'FILE_EXISTS', 'other');
  });

  it('of 255 bytes is one, and two that differ at the end are two', async () => {
    const names = ['a', 'b'].map((end) => 'x'.repeat(254) + end);
    const files = await Promise.all(names.map((name) => makeFile(ask, name)));
    for (const [at, name] of names.entries())
      expect((await ask('Look_Up_File', { name })).file).toBe(files[at]);
    await ask('Rename_File', { file: files[0]!, name: 'short' });
    await refused(ask('Look_Up_File', { name: names[0]! }), 'FILE_NOT_FOUND', 'xxx');
    const list = await ask('List_Files', { count: 10 });
    expect(list.files.map(({ name }) => name)).toEqual(['disk', 'short', names[1]]);
    expect((await ask('List_Files', { after: 'disk', count: 1 })).files.map(({ name }) => name)).toEqual([
      'short',
    ]);
  });
});

describe('a file that is not there', () => {
  it.each<[string, (ask: Ask) => Promise<unknown>]>([
    ['Remove_File', (a) => a('Remove_File', { file: 99 })],
    ['Rename_File', (a) => a('Rename_File', { file: 99, name: 'n' })],
    ['Snapshot_File', (a) => a('Snapshot_File', { file: 99, name: 'n' })],
    ['Map_Extents', (a) => a('Map_Extents', { file: 99, from: 0, count: 1 })],
    ['Look_Up_File', (a) => a('Look_Up_File', { name: 'gone' })],
    ['Lock_File', (a) => a('Lock_File', { file: 99, mode: 'read' })],
    [
      'Harden_Extent_Flags',
      (a) => a('Harden_Extent_Flags', { extents: [], sizes: [{ file: 99, sizeBytes: 1 }], starts: true }),
    ],
    ['Allocate_Journal_Space', (a) => a('Allocate_Journal_Space', { count: 1, file: 99 })],
    ['Associate_Data_Journal', (a) => a('Associate_Data_Journal', { file: 99, index: 0, journal: 0 })],
  ])('%s', async (_name, request) => {
    await refused(request(ask), 'FILE_NOT_FOUND', '');
  });
});

describe('a journal extent', () => {
  it('that is none, or another client’s, or in use', async () => {
    const other = await stage.open('b');
    const { extents } = await ask('Allocate_Journal_Space', { count: 2 });
    const journal = extents[0]!;
    await refused(
      other('Associate_Data_Journal', { file, index: 0, journal }),
      'REFUSED',
      'another client',
      true,
    );
    await refused(other('Free_Journal_Space', { extents: [journal] }), 'REFUSED', 'another client', true);
    await refused(
      ask('Disassociate_Journal_Extent', { extents: [50] }),
      'REFUSED',
      'no journal extent',
      true,
    );
    await refused(ask('Free_Journal_Space', { extents: [journal, journal] }), 'REFUSED', 'named twice', true);
    await ask('Associate_Data_Journal', { file, index: 0, journal });
    await refused(ask('Free_Journal_Space', { extents: [journal] }), 'REFUSED', 'in use', true);
    await refused(
      ask('Associate_Data_Journal', { file, index: 1, journal }),
      'REFUSED',
      'another extent',
      true,
    );
    await refused(
      ask('Associate_Data_Journal', { file, index: 2 ** 32, journal: extents[1]! }),
      'OUT_OF_RANGE',
      'at most',
    );
  });
});

describe('flags', () => {
  const extent = { index: 0, marked: NONE, cleared: NONE };

  it.each<[string, object, string, string]>([
    ['a bitmap that is too long', { marked: new Uint8Array(2) }, 'REFUSED', 'bytes'],
    ['a block marked and cleared', { marked: bits(1), cleared: bits(1) }, 'REFUSED', 'both'],
    ['an index that no file has', { index: 2 ** 32 }, 'OUT_OF_RANGE', 'at most'],
    ['no journal extent and marks', { journal: null, marked: bits(1) }, 'REFUSED', 'cleared whole'],
    [
      'no journal extent and not all cleared',
      { journal: null, cleared: bits(1) },
      'REFUSED',
      'cleared whole',
    ],
  ])('%s', async (_what, wrong, code, words) => {
    const [journal] = (await ask('Allocate_Journal_Space', { count: 1 })).extents;
    const extents = [{ ...extent, file, journal: journal!, ...wrong }];
    await refused(
      ask('Harden_Extent_Flags', { extents, sizes: [], starts: true }),
      code,
      words,
      code === 'REFUSED',
    );
  });

  it('a place, a journal extent or a size that is named twice; kept flags without a journal extent', async () => {
    const { extents: journal } = await ask('Allocate_Journal_Space', { count: 2 });
    const of = (index: number, at: number) => ({ ...extent, file, index, journal: journal[at]! });
    const hard = (extents: ReturnType<typeof of>[], starts = true) =>
      ask('Harden_Extent_Flags', { extents, sizes: [], starts });
    await refused(hard([of(0, 0), of(0, 1)]), 'REFUSED', 'an extent of a file is twice', true);
    await refused(hard([of(0, 0), of(1, 0)]), 'REFUSED', 'a journal extent is twice', true);
    const none = { ...of(0, 0), journal: null as unknown as number, cleared: ALL };
    await refused(hard([none], false), 'REFUSED', 'there is none', true);
    const sizes = [1, 2].map((sizeBytes) => ({ file, sizeBytes }));
    await refused(
      ask('Harden_Extent_Flags', { extents: [], sizes, starts: true }),
      'REFUSED',
      'two sizes',
      true,
    );
  });
});

describe('room', () => {
  it('for more extents than are free there is none, and none is taken', async () => {
    await refused(ask('Allocate_Journal_Space', { count: 65 }), 'NO_SPACE', '65');
    await ask('Allocate_Journal_Space', { count: 64 });
    await refused(ask('Allocate_Journal_Space', { count: 1 }), 'NO_SPACE', '0 are free');
  });

  it('that is reserved is its file’s alone, comes back to it, and goes with it', async () => {
    const kept = (await ask('Create_File', { name: 'kept', sizeBytes: 0, reserveExtents: 40 })).file;
    await refused(ask('Create_File', { name: 'more', sizeBytes: 0, reserveExtents: 25 }), 'NO_SPACE', '25');
    await ask('Allocate_Journal_Space', { count: 20 });
    await refused(ask('Allocate_Journal_Space', { count: 5 }), 'NO_SPACE', '40 are reserved');
    const { extents } = await ask('Allocate_Journal_Space', { count: 30, file: kept });
    expect(await ask('Space', {})).toMatchObject({ free: 14, reserved: 10 });
    await ask('Free_Journal_Space', { extents: extents.slice(0, 5) });
    expect(await ask('Space', {})).toMatchObject({ free: 19, reserved: 15 });
    await ask('Remove_File', { file: kept });
    expect(await ask('Space', {})).toMatchObject({ free: 19, reserved: 0 });
    await stage.settledCheck();
  });
});

it('a removal amid a commit, and what is no message, or from nobody', async () => {
  await harden(ask, [{ file, index: 0, marked: ALL }]);
  await refused(ask('Remove_File', { file }), 'IN_USE', 'under way');
  await refused(
    ask('Swap_Data_Journal', { transaction: 99, extents: [{ file, index: 0 }] }),
    'REFUSED',
    'never was',
    true,
  );
  await refused(ask('Abort_Transaction', { transaction: 99, why: '' }), 'REFUSED', 'never was', true);
  await refused(ask('Nothing' as never, {}), 'USAGE', 'Nothing', true);
  await refused(ask('toString' as never, {}), 'USAGE', 'toString', true);
  await refused(ask('Space', { more: 1 } as never), 'USAGE', 'more', true);
  await refused(ask('Map_Extents', { file, from: -1, count: 1 }), 'USAGE', 'from', true);
  await refused(ask('Map_Extents', { file, from: 2 ** 32, count: 1 }), 'OUT_OF_RANGE', 'at most');
  await refused(stage.as('nobody')('Space', {}), 'REFUSED', 'nobody is not open', true);
  await refused(ask('End_Client', { ended: 'nobody' }), 'REFUSED', 'no client nobody', true);
});

it('metadata of a shape that cannot be, twice, of another version, or none', async () => {
  const engine = new MemoryEngine();
  const options = { nowMs: () => 0, leaseMs: 1 };
  await expect(MetadataServer.open(engine, options)).rejects.toMatchObject({ code: 'NOT_ASSEMBLED' });
  for (const shape of [
    { blocksPerExtent: 0, extents: 1 },
    { blocksPerExtent: MOST_BLOCKS + 1, extents: 1 },
    { blocksPerExtent: 1, extents: 0 },
    { blocksPerExtent: 1.5, extents: 1 },
  ]) {
    await expect(formatMetadata(engine, shape)).rejects.toMatchObject({ code: 'OUT_OF_RANGE' });
  }
  await formatMetadata(engine, { blocksPerExtent: 3, extents: 5 });
  await expect(formatMetadata(engine, { blocksPerExtent: 3, extents: 5 })).rejects.toMatchObject({
    code: 'NOT_BLANK',
  });
  const value = encode('config', { version: 2, blocksPerExtent: 3, extents: 5 });
  await engine.commit([{ key: key('C'), value }]);
  await expect(MetadataServer.open(engine, options)).rejects.toMatchObject({ code: 'UNSUPPORTED' });
  await engine.commit([{ key: key('C'), value: value.subarray(1) }]);
  await expect(MetadataServer.open(engine, options)).rejects.toMatchObject({ code: 'METADATA_DAMAGED' });
});
