/** Each kind of damage to a set is named, and never restored silently. */
import { randomBytes } from 'node:crypto';
import { cp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import { BackupReader, openSet, restoreBackup, verifySet } from '../../../src/snapshot/set/index.js';
import { sealed } from '../../../src/snapshot/set/sealed-json.js';
import { SeededRandom, withSeed } from '../../support/devices/seeded-random.js';
import { temporaryFolder } from '../../support/temporary-folder.js';
import { BLOCK_BYTES, makeBackup } from './sets.js';

const folder = await temporaryFolder();
const original = join(folder, 'original');
const sizeBytes = 64 * BLOCK_BYTES;
const chunkBytes = 4 * BLOCK_BYTES;
let count = 0;

beforeAll(async () => {
  const all = [{ offset: 0, length: sizeBytes, content: randomBytes(sizeBytes) }];
  await makeBackup(original, { name: 'monday', sizeBytes, chunkBytes }, all);
  const some = { offset: 0, length: 2 * BLOCK_BYTES, content: randomBytes(2 * BLOCK_BYTES) };
  await makeBackup(original, { name: 'tuesday', since: 'monday', sizeBytes, chunkBytes }, [some]);
});

/** A copy of the set, to be damaged. */
async function copied(): Promise<string> {
  const directory = join(folder, `copy-${count++}`);
  await cp(original, directory, { recursive: true });
  return directory;
}

async function flipBit(path: string, byte: number, bit = 0): Promise<void> {
  const bytes = await readFile(path);
  bytes[byte]! ^= 1 << bit;
  await writeFile(path, bytes);
}

/** As the command does it. */
async function restore(directory: string, name: string, target: MemoryDevice): Promise<void> {
  const reader = await BackupReader.open(await openSet(directory), name);
  try {
    await reader.assertWhole();
    await restoreBackup(reader, target);
  } finally {
    await reader.close();
  }
}

interface Case {
  readonly what: string;
  readonly damage: (directory: string) => Promise<unknown>;
  readonly code: string;
  /** Within the set. */
  readonly file: string;
  readonly says: string;
}

const LOST = 'DATA_UNAVAILABLE';
const DAMAGED = 'METADATA_DAMAGED';
const CASES: readonly Case[] = [
  {
    what: 'a bit of content',
    damage: (set) => flipBit(join(set, 'monday/data'), 40 * BLOCK_BYTES + 17),
    ...{ code: LOST, file: 'monday/data', says: 'SHA-256 differs' },
  },
  {
    what: 'a bit of content that a newer backup lies over, in a piece that is wanted',
    damage: (set) => flipBit(join(set, 'monday/data'), BLOCK_BYTES),
    ...{ code: LOST, file: 'monday/data', says: 'SHA-256 differs' },
  },
  {
    what: 'content that was cut off',
    damage: (set) => truncate(join(set, 'monday/data'), 60 * BLOCK_BYTES),
    ...{ code: LOST, file: 'monday/data', says: 'cut short' },
  },
  {
    what: 'content that is gone',
    damage: (set) => rm(join(set, 'tuesday/data')),
    ...{ code: LOST, file: 'tuesday/data', says: 'is not there' },
  },
  {
    what: 'a bit of the list of pieces',
    damage: (set) => flipBit(join(set, 'tuesday/pieces'), 130),
    ...{ code: DAMAGED, file: 'tuesday/pieces', says: 'checksum' },
  },
  {
    what: 'a list of pieces that was cut off',
    damage: (set) => truncate(join(set, 'monday/pieces'), 500),
    ...{ code: DAMAGED, file: 'monday/pieces', says: 'checksum' },
  },
  {
    what: 'a list of pieces that has nothing',
    damage: (set) => truncate(join(set, 'monday/pieces'), 0),
    ...{ code: DAMAGED, file: 'monday/pieces', says: 'ends at byte 0' },
  },
  {
    what: 'the list of pieces of another backup',
    damage: (set) => cp(join(set, 'tuesday/pieces'), join(set, 'monday/pieces')),
    ...{ code: DAMAGED, file: 'monday/pieces', says: 'not the one that backup.json names' },
  },
  {
    what: 'a list of pieces that is gone',
    damage: (set) => rm(join(set, 'monday/pieces')),
    ...{ code: LOST, file: 'monday/pieces', says: 'is not there' },
  },
  {
    what: 'a bit of its backup.json',
    damage: (set) => flipBit(join(set, 'tuesday/backup.json'), 60),
    ...{ code: DAMAGED, file: 'tuesday/backup.json', says: 'damaged' },
  },
  {
    what: "a bit of its parent's backup.json",
    damage: (set) => flipBit(join(set, 'monday/backup.json'), 60),
    ...{ code: LOST, file: 'tuesday', says: 'monday, which is damaged' },
  },
  {
    what: 'a parent that is gone',
    damage: (set) => rm(join(set, 'monday'), { recursive: true }),
    ...{ code: LOST, file: 'tuesday', says: 'monday, which is not there' },
  },
  {
    what: 'a parent that was made anew',
    damage: async (set) => {
      await rm(join(set, 'monday'), { recursive: true });
      await makeBackup(set, { name: 'monday', sizeBytes }, []);
    },
    ...{ code: LOST, file: 'tuesday', says: 'monday, which was made anew' },
  },
  {
    what: 'a folder under another name',
    damage: async (set) => {
      await rename(join(set, 'tuesday'), join(set, 'wednesday'));
      await rename(join(set, 'monday'), join(set, 'tuesday'));
    },
    ...{ code: DAMAGED, file: 'tuesday/backup.json', says: 'of the backup monday' },
  },
];

describe.each(CASES)('$what', ({ damage, code, file, says }) => {
  it('is named, and nothing of it is restored', async () => {
    const directory = await copied();
    await damage(directory);
    const restored = new MemoryDevice(sizeBytes);
    await expect(restore(directory, 'tuesday', restored)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(says),
      details: { file: join(directory, file) },
    });
  });

  it('is found by verify', async () => {
    const directory = await copied();
    await damage(directory);
    const { backups } = await verifySet(await openSet(directory), null);
    const tuesday = backups.find(({ name }) => name === 'tuesday');
    expect(tuesday?.damaged[0]).toMatchObject({ file: join(directory, file) });
  });
});

describe('a list of backups', () => {
  it('shows as damaged what cannot be restored, and why', async () => {
    const directory = await copied();
    await rm(join(directory, 'monday'), { recursive: true });
    await makeBackup(directory, { name: 'wednesday', sizeBytes, chunkBytes }, []);
    await flipBit(join(directory, 'wednesday/backup.json'), 60);
    expect(await (await openSet(directory)).list()).toMatchObject([
      {
        name: 'wednesday',
        state: 'damaged',
        reason: expect.stringContaining('backup.json'),
        sizeBytes: null,
      },
      {
        name: 'tuesday',
        state: 'damaged',
        reason: expect.stringContaining('is not there'),
        parent: 'monday',
      },
    ]);
  });

  it('does not end where a backup builds on itself', async () => {
    const directory = await copied();
    const path = join(directory, 'monday/backup.json');
    const { checksum, ...record } = JSON.parse(await readFile(path, 'utf8')) as {
      checksum: string;
      id: string;
    };
    const tuesday = JSON.parse(await readFile(join(directory, 'tuesday/backup.json'), 'utf8')) as {
      id: string;
    };
    const circular = sealed({ ...record, parent: { name: 'tuesday', id: tuesday.id } });
    expect(sealed(record)).toMatchObject({ checksum });
    await writeFile(path, JSON.stringify(circular));
    const [, found] = await (await openSet(directory)).list();
    expect(found).toMatchObject({ state: 'damaged', reason: expect.stringContaining('builds on itself') });
  });
});

describe('a piece that is damaged', () => {
  it('is told with its place, and the others are good', async () => {
    const directory = await copied();
    await flipBit(join(directory, 'monday/data'), 9 * chunkBytes + 5);
    const set = await openSet(directory);
    const { backups } = await verifySet(set, 'tuesday');
    expect(backups).toMatchObject([{ checkedPieces: 17, checkedBytes: 66 * BLOCK_BYTES }]);
    const [found, ...more] = backups[0]!.damaged;
    expect(more).toEqual([]);
    const reader = await BackupReader.open(set, 'monday');
    const { offsetBytes, lengthBytes } = found!;
    for (let at = 0; at < sizeBytes; at += BLOCK_BYTES) {
      const read = reader.read(at, new Uint8Array(BLOCK_BYTES));
      if (at < offsetBytes! || at >= offsetBytes! + lengthBytes!) await read;
      else await expect(read).rejects.toMatchObject({ code: LOST, details: { offsetBytes, lengthBytes } });
    }
    await reader.close();
  });

  it('in a backup that nothing wanted builds on is no concern of others', async () => {
    const directory = await copied();
    await flipBit(join(directory, 'tuesday/data'), 1);
    await restore(directory, 'monday', new MemoryDevice(sizeBytes));
    const { backups } = await verifySet(await openSet(directory), null);
    expect(backups.map(({ name, damaged }) => [name, damaged.length])).toEqual([
      ['monday', 0],
      ['tuesday', 1],
    ]);
  });
});

describe('any bit', () => {
  it.each(['set.json', 'monday/backup.json', 'monday/pieces'])('of %s that turns over is found', (file) =>
    withSeed(async (random) => {
      const directory = await copied();
      const path = join(directory, file);
      const bytes = await readFile(path);
      for (let n = 0; n < 150; n++) {
        const byte = random.below(bytes.length);
        const bit = random.below(8);
        await flipBit(path, byte, bit);
        const opened = openSet(directory).then((set) => BackupReader.open(set, 'monday'));
        await expect(opened, `byte ${byte}, bit ${bit}`).rejects.toMatchObject({ code: DAMAGED });
        await flipBit(path, byte, bit);
      }
      await restore(directory, 'monday', new MemoryDevice(sizeBytes));
    }),
  );
});

describe('a share', () => {
  const verified = async (percent: number, seed: number) => {
    const subset = { percent, random: new SeededRandom(seed) };
    const { backups } = await verifySet(await openSet(original), 'monday', { subset });
    return backups[0]!;
  };

  it('is of so many pieces, and said', async () => {
    expect(await verified(25, 7)).toMatchObject({ checkedPieces: 4, subset: { percent: 25, seed: 7 } });
    expect(await verified(0.1, 7)).toMatchObject({ checkedPieces: 1 });
    expect(await verified(100, 7)).toMatchObject({ checkedPieces: 16 });
  });

  it('finds damage by chance, and the same seed finds the same', async () => {
    const directory = await copied();
    await flipBit(join(directory, 'monday/data'), 3 * chunkBytes);
    const set = await openSet(directory);
    const found = async (seed: number) => {
      const subset = { percent: 50, random: new SeededRandom(seed) };
      return (await verifySet(set, 'monday', { subset })).backups[0]!.damaged.length;
    };
    const seeds = Array.from({ length: 40 }, (_, seed) => seed);
    const counts: number[] = [];
    for (const seed of seeds) counts.push(await found(seed));
    expect(counts.filter((damaged) => damaged === 1).length).toBeGreaterThan(8);
    expect(counts.filter((damaged) => damaged === 0).length).toBeGreaterThan(8);
    for (const seed of seeds.slice(0, 5)) expect(await found(seed)).toBe(counts[seed]);
  });
});
