/**
 * Every finding: it is explained in docs/findings.md, and a volume that is damaged on purpose makes fsck report it,
 * as a user runs it. Looking writes nothing.
 */
import { randomBytes } from 'node:crypto';
import { appendFile, cp, readdir, readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { FINDING_CODES, type FindingCode, REPAIR_NAMES, repairOf } from '../../src/check/findings.js';
import { BITMAP_SUPERBLOCK } from '../../src/raid/md/fields-logs.js';
import { MD_MAGIC } from '../../src/raid/md/fields-superblock.js';
import { superblockPlaces } from '../../src/raid/md/places.js';
import { encodeRecord } from '../../src/raid/record/codec.js';
import { RECORD_HEADER } from '../../src/raid/record/fields.js';
import { makeExtents, SHAPES, withImages as withImagesOfItsOwn } from '../support/extents-volumes.js';
import { compileFailingCalls } from '../support/failing-calls.js';
import { addPpl } from '../support/md-features.js';
import { unpackArray } from '../support/md-fixtures.js';
import { type JsonEnvelope, ok, type RunOptions, runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf, copyVolume, makeVolume, notTested, type TestVolume } from '../support/volumes.js';
import { FILES_SCENES } from './support/extents-scenes.js';
import {
  bytesAt,
  changeFields,
  type GoodRecord,
  overwrite,
  recordsIn,
  rot,
  superblockIn,
  unpackMetadata,
  withImages,
} from './support/images.js';

const folder = await temporaryFolder();
const failing = compileFailingCalls(folder);
const files = join(folder, 'files');
let original: TestVolume;
let count = 0;

beforeAll(async () => {
  original = await makeVolume(join(folder, 'original'), randomBytes(1024 ** 2));
  await makeExtents(files, [...SHAPES['RAID-5'], ...withImagesOfItsOwn(files)]);
});

interface Scene {
  readonly volume: readonly string[];
  readonly flags?: readonly string[];
  readonly run?: RunOptions;
}

const fresh = (): Promise<TestVolume> => copyVolume(original, join(folder, `volume-${count++}`));
const named = async (name: string): Promise<string[]> =>
  unpackMetadata(name, join(folder, `${name}-${count++}`));
const whole = ({ directory }: TestVolume): Scene => ({ volume: [directory] });

/** A fresh volume, after `damage`. */
async function damaged(damage: (volume: TestVolume) => Promise<unknown>): Promise<Scene> {
  const volume = await fresh();
  await damage(volume);
  return whole(volume);
}

async function newestRecords(volume: TestVolume): Promise<GoodRecord[]> {
  const found = (await Promise.all(volume.images.map((image) => recordsIn(image)))).flat();
  const newest = found.reduce((max, { record }) => (record.generation > max ? record.generation : max), 0n);
  return found.filter(({ record }) => record.generation === newest);
}

/** What the first block held is kept for a snapshot; then comes `damage`. */
async function withSnapshot(damage: (volume: TestVolume) => Promise<unknown>): Promise<Scene> {
  return damaged(async (volume) => {
    await ok('snapshot', 'create', volume.directory, '--name', 'monday');
    await writeFile(join(folder, 'changed'), randomBytes(4096));
    await ok('write', volume.directory, '--offset', '0', '--input', join(folder, 'changed'));
    await damage(volume);
  });
}

async function containerOf({ directory }: TestVolume): Promise<string> {
  const [name] = (await readdir(join(directory, 'snapshots'))).filter((each) => each.endsWith('.kept'));
  return join(directory, 'snapshots', name!);
}

/** The bitmap of the second member is changed; nothing else. */
async function withBitmap(change: (raw: Uint8Array) => void): Promise<Scene> {
  const volume = await named('bitmap-clean');
  const { bitmapOffset } = await superblockIn(volume[1]!);
  const raw = await bytesAt(volume[1]!, bitmapOffset!, 512);
  change(raw);
  await overwrite(volume[1]!, bitmapOffset!, raw);
  return { volume };
}

/** A volume of files, after `damage`. */
async function damagedFiles(damage: (directory: string) => Promise<unknown>): Promise<Scene> {
  const directory = join(folder, `files-${count++}`);
  await cp(files, directory, { recursive: true });
  await damage(directory);
  return { volume: [directory] };
}

const OF_FILES = Object.fromEntries(
  Object.entries(FILES_SCENES).map(([code, damage]) => [code, () => damagedFiles(damage)]),
) as { readonly [K in keyof typeof FILES_SCENES]: () => Promise<Scene> };

const SCENES: Readonly<Record<FindingCode, () => Promise<Scene | null>>> = {
  ...OF_FILES,
  IMAGE_ABSENT: () => damaged(({ images }) => rm(images[1]!)),
  IMAGE_CUT_SHORT: () => damaged(({ images }) => truncate(images[1]!, 1280 * 1024)),
  IMAGE_TAIL: () => damaged(({ images }) => appendFile(images[1]!, 'x'.repeat(100))),
  IMAGE_UNREADABLE: () => unreadable(),
  IMAGE_FOREIGN: () => damaged(({ images }) => writeFile(images[1]!, randomBytes(1024 ** 2))),
  SET_NOT_ASSEMBLED: () => damaged(({ images }) => Promise.all([rm(images[1]!), rm(images[2]!)])),
  SET_READ_ONLY: async () => ({ volume: await named('journal-clean') }),
  SUPERBLOCK_DAMAGED: () => damaged(({ images }) => rot(images[1]!, 4096 + 200)),
  SUPERBLOCK_LEFT_OVER: () =>
    damaged(async ({ images }) => {
      const size = (await readFile(images[1]!)).byteLength;
      const { superOffset } = superblockPlaces(size).find(({ version }) => version === '1.0')!;
      const magic = Buffer.alloc(4);
      magic.writeUInt32LE(MD_MAGIC);
      await overwrite(images[1]!, superOffset, magic);
    }),
  SUPERBLOCKS_DISAGREE: () =>
    damaged(({ images }) => changeFields(images[1]!, (_, raw) => raw.set([0xfe, 0xff], 256 + 2 * 7))),
  MEMBER_MISSING: async () => ({ volume: (await fresh()).images.slice(1) }),
  MEMBER_STALE: async () => ({ volume: [unpack('stale-member').directory] }),
  MEMBER_FAULTY: async () => ({ volume: await named('stale-one-faulty') }),
  MEMBER_REPLACED: async () => ({ volume: await named('old-copy-of-a-member') }),
  REBUILD_UNFINISHED: async () => ({ volume: await named('rebuild-stopped') }),
  ARRAY_DIRTY: async () => ({ volume: [unpack('dirty-bitmap').directory] }),
  ARRAY_DIRTY_DEGRADED: async () => ({ volume: unpack('dirty-bitmap').images.slice(1) }),
  BITMAP_UNUSABLE: () => withBitmap((raw) => BITMAP_SUPERBLOCK.at(raw).setNumber('magic', 0)),
  BITMAP_STALE: () => withBitmap((raw) => BITMAP_SUPERBLOCK.at(raw).setBig('events', 1n)),
  BITMAP_COPIES_DIFFER: () => withBitmap((raw) => raw.fill(1, BITMAP_SUPERBLOCK.sizeBytes, 257)),
  PPL_DAMAGED: () =>
    damaged(async ({ images }) => {
      await withImages(images, addPpl);
      const { ppl } = await superblockIn(images[1]!);
      await rot(images[1]!, ppl!.offset + 520);
    }),
  BAD_BLOCKS: async () => ({ volume: await named('bad-blocks-one') }),
  BAD_BLOCK_LOG_DAMAGED: async () => {
    const volume = await named('bad-blocks-one');
    for (const image of volume) {
      const { badBlockLog, features } = await superblockIn(image);
      if (!features.badBlocks) continue;
      await overwrite(image, badBlockLog!.offset, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0xf0]));
    }
    return { volume };
  },
  PARITY_MISMATCH: async () => ({ volume: [unpack('bitrot-parity').directory], flags: ['--scrub'] }),
  DATA_IN_DOUBT: () => inDoubt(),
  SNAPSHOT_LIST_DAMAGED: () =>
    withSnapshot(async ({ directory }) => writeFile(join(directory, 'snapshots', 'snapshots.json'), '{')),
  SNAPSHOT_UNUSABLE: () => withSnapshot(async (volume) => rm(await containerOf(volume))),
  SNAPSHOT_DAMAGED: async () => {
    const scene = await withSnapshot(async (volume) => rot(await containerOf(volume), 1000));
    return { ...scene, flags: ['--scrub'] };
  },
  DOUBT_FORGOTTEN: () =>
    damaged(async (volume) => {
      for (const { image, offset, record, setUuid } of await newestRecords(volume)) {
        const doubtful = { ...record, inDoubt: [{ start: 4096, end: 8192 }] };
        await overwrite(image, offset, encodeRecord(doubtful, setUuid));
      }
      await changeFields(volume.images[1]!, (view) => view.setBig('utime', 1n));
    }),
  RECORD_ABSENT: async () => ({ volume: await named('clean-10') }),
  RECORD_FILE_ABSENT: async () => {
    const directory = join(folder, `volume-${count++}`);
    const record = `${directory}.record`;
    const { exitCode } = await runHoldfast([
      'create',
      directory,
      '--members',
      '3',
      '--size',
      '1MiB',
      '--record',
      record,
    ]);
    expect(exitCode).toBe(0);
    expect((await runHoldfast(['write', directory], { input: 'x' })).exitCode).toBe(0);
    await rm(record);
    return { volume: [directory] };
  },
  RECORD_FILE_UNUSABLE: async () => {
    const volume = await fresh();
    return { volume: [volume.directory], flags: ['--record', volume.images[0]!] };
  },
  RECORD_DAMAGED: () =>
    damaged(async (volume) => {
      const [first] = await newestRecords(volume);
      await rot(first!.image, first!.offset + RECORD_HEADER.offsetOf('checksum'));
    }),
  RECORD_COPIES_DIFFER: () =>
    damaged(async (volume) => {
      const [first] = await newestRecords(volume);
      const other = { ...first!.record, isClean: false, dirty: [{ start: 1, end: 2 }] };
      await overwrite(first!.image, first!.offset, encodeRecord(other, first!.setUuid));
    }),
  RECORD_LOST: () =>
    damaged(async (volume) => {
      for (const { image, offset, record, setUuid } of await newestRecords(volume)) {
        const later = { ...record, generation: record.generation + 2n, follows: record.generation + 1n };
        const torn = encodeRecord(later, setUuid);
        torn[RECORD_HEADER.sizeBytes]! ^= 1;
        await overwrite(image, offset, torn);
      }
    }),
  RECORD_VOID: () => damaged(({ images }) => changeFields(images[1]!, (view) => view.setBig('utime', 1n))),
};

function unpack(name: string): ReturnType<typeof unpackArray> {
  const found = unpackArray(name);
  unpacked.push(found);
  return found;
}

const unpacked: ReturnType<typeof unpackArray>[] = [];

/** Whether a look at it finds it. */
async function isFound(code: FindingCode, { volume, flags = [], run = {} }: Scene): Promise<boolean> {
  const { json } = await runJson(['fsck', '-n', ...flags, ...volume], run);
  return ((json.result?.findings ?? []) as { code: string }[]).some((each) => each.code === code);
}

/** Reads of the second member fail from one on; the first that does so in its data area is looked for. */
async function unreadable(): Promise<Scene | null> {
  if (failing === null) return null;
  const { volume } = whole(await fresh());
  for (let after = 8; after < 30; after++) {
    const env = failing({ files: 'member-1.img', calls: 'r', after });
    const scene = { volume, flags: ['--scrub'], run: { env } };
    if (await isFound('IMAGE_UNREADABLE', scene)) return scene;
  }
  throw new Error('no read of data has failed');
}

/** A write is killed, a member that it wrote to goes, and the volume is started all the same. */
async function inDoubt(): Promise<Scene | null> {
  if (failing === null) return null;
  for (let after = 6; after < 20; after++) {
    const volume = await fresh();
    const env = failing({ files: '.img', calls: 'w', after, signal: 'SIGKILL' });
    const args = ['write', volume.directory, '--offset', '4KiB', '--fua'];
    expect((await runHoldfast(args, { input: randomBytes(64 * 1024), env })).exitCode).toBe(137);
    await rm(volume.images[1]!);
    if (!(await isFound('ARRAY_DIRTY_DEGRADED', whole(volume)))) continue;
    expect((await runJson(['fsck', '-y', volume.directory])).exitCode).toBe(4);
    expect((await runJson(['fsck', '-y', '--force', volume.directory])).exitCode).toBe(1 + 4);
    return whole(volume);
  }
  throw new Error('no kill has left the volume dirty');
}

interface SeenFinding {
  readonly code: string;
  readonly severity: string;
  readonly repaired: boolean;
  readonly message: string;
  readonly repair: { readonly isSafe: boolean; readonly wantsForce: boolean } | null;
}

function findingsOf({ result, error }: JsonEnvelope): readonly SeenFinding[] {
  expect(error).toBeUndefined();
  return result?.findings as readonly SeenFinding[];
}

/** The repair that is offered does away with it, -p does it only if it is safe, and the undo file takes it back. */
async function expectRepair(
  { volume, flags = [] }: Scene,
  { code, repair }: SeenFinding,
  before: Map<string, string>,
): Promise<void> {
  const fsck = async (...more: string[]): Promise<SeenFinding | undefined> => {
    const { json } = await runJson(['fsck', ...more, ...flags, ...volume]);
    return findingsOf(json).find((each) => each.code === code);
  };
  if (!repair!.isSafe) expect((await fsck('-p'))?.repaired).toBe(false);
  if (repair!.wantsForce) expect((await fsck('-y'))?.repaired).toBe(false);
  expect(await contentOf(...volume)).toEqual(before);
  const undo = join(folder, `undo-${count++}`);
  const how = repair!.wantsForce ? ['-y', '--force'] : [repair!.isSafe ? '-p' : '-y'];
  expect((await fsck(...how, '--undo', undo))?.repaired).toBe(true);
  expect(await fsck('-n')).toBeUndefined();
  const reverted = await runJson(['fsck', ...volume, '--revert', undo]);
  expect(await contentOf(...volume)).toEqual(before);
  // What a look without data says of it.
  const again = await runJson(['fsck', '-n', ...volume]);
  expect(reverted.exitCode, reverted.stderr).toBe(again.exitCode);
  expect(reverted.json.result?.findings).toEqual(again.json.result?.findings);
}

describe('fsck -n', () => {
  it.each(FINDING_CODES)('finds %s, and writes nothing', async (code) => {
    const scene = await SCENES[code]();
    if (scene === null) return notTested(code, 'there is no C compiler (cc)');
    const { volume, flags = [], run = {} } = scene;
    const before = await contentOf(...volume);
    const { exitCode, json } = await runJson(['fsck', '-n', ...flags, ...volume], run);
    const findings = findingsOf(json);
    const found = findings.find((each) => each.code === code);
    expect(found, JSON.stringify(findings)).toBeDefined();
    expect(found?.repaired).toBe(false);
    expect(found?.message).not.toBe('');
    const counts = findings.some(({ severity }) => severity !== 'info');
    expect(exitCode).toBe(counts ? 4 : 0);
    expect(await contentOf(...volume)).toEqual(before);
    if (found!.repair !== null) await expectRepair(scene, found!, before);
    for (const each of unpacked.splice(0)) each.remove();
  });

  it.each(['raw', 'of files'])('of a volume that is well (%s) finds nothing', async (kind) => {
    const directory = kind === 'raw' ? (await fresh()).directory : files;
    const { exitCode, json } = await runJson(['fsck', '-n', '--scrub', directory]);
    expect(exitCode).toBe(0);
    expect(json.result).toMatchObject({ findings: [], repairs: [], undo: null });
  });
});

describe('docs/findings.md', () => {
  it('explains every finding, and nothing else', async () => {
    const page = await readFile(new URL('../../docs/findings.md', import.meta.url), 'utf8');
    const sections = page.split(/^### /m).slice(1);
    const explained = sections.map((section) => /^`([A-Z_]+)`/.exec(section)?.[1]);
    expect(explained).toEqual(FINDING_CODES);
    for (const [index, section] of sections.entries()) {
      for (const part of ['**Means:**', '**Cause:**', '**Repair:**', '**Can lose:**'])
        expect(section, explained[index]).toContain(part);
    }
  });

  it('names every repair, and the reasons for which a set is refused', async () => {
    const page = await readFile(new URL('../../docs/findings.md', import.meta.url), 'utf8');
    for (const name of REPAIR_NAMES) {
      expect(page).toMatch(new RegExp(`\\| \`${name}\` \\| ${repairOf(name).isSafe ? '-p' : '-y'}`));
    }
    const source = await readFile(new URL('../../src/raid/md/judge-refusals.ts', import.meta.url), 'utf8');
    const reasons = [...source.matchAll(/code: '([A-Z_]+)'/g)].map(([, code]) => code!);
    expect(reasons.length).toBeGreaterThan(10);
    for (const reason of reasons) expect(page).toContain(`\`${reason}\``);
  });
});
