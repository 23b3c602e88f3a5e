/**
 * `holdfast fsck` of volumes of files as a user runs it: several things wrong at once, on one image and on RAID-5 that
 * lacks a member; what is not certain is not repaired; the undo file takes repairs back.
 */
import { randomBytes } from 'node:crypto';
import { cp, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it } from 'vitest';
import type { MetadataEngine } from '../../src/metadata/engine/contract.js';
import { key, numberOf, under } from '../../src/metadata/server/keys.js';
import { decode, encode } from '../../src/metadata/server/records.js';
import { openStore } from '../../src/volume/extents-store.js';
import {
  makeExtents,
  readFile,
  SHAPES,
  withExtents,
  withImages,
  writeFile,
} from '../support/extents-volumes.js';
import { runHoldfast, runJson } from '../support/run-holdfast.js';
import { temporaryFolder } from '../support/temporary-folder.js';
import { contentOf } from '../support/volumes.js';
import { miscount } from './support/extents-scenes.js';
import { rot } from './support/images.js';

const folder = await temporaryFolder();
const content = randomBytes(3 * 4096);
const originals = { single: join(folder, 'single'), raid: join(folder, 'raid') };
let count = 0;

/** A file that is committed and not complete, and one with kept changes. */
beforeAll(async () => {
  await makeExtents(originals.single, SHAPES['one image']);
  await makeExtents(originals.raid, [...SHAPES['RAID-5'], ...withImages(originals.raid)]);
  for (const directory of Object.values(originals)) {
    await withExtents(directory, 'write', async (open) => {
      await writeFile(open, 'kept', randomBytes(4096), 'flags');
      await writeFile(open, 'one', content, 'hardening');
    });
  }
});

async function fresh(kind: keyof typeof originals): Promise<string> {
  const directory = join(folder, `volume-${count++}`);
  await cp(originals[kind], directory, { recursive: true });
  return directory;
}

async function fsck(directory: string, ...flags: string[]) {
  const { exitCode, json, stderr } = await runJson(['fsck', ...flags, directory]);
  expect(json.error, stderr).toBeUndefined();
  const findings = json.result?.findings as { code: string; repaired: boolean; repair: object | null }[];
  const told = findings.map(({ code, repaired }) => `${code}${repaired ? ' repaired' : ''}`);
  return { exitCode, told, findings, repairs: json.result?.repairs };
}

async function firstJournalExtent(engine: Pick<MetadataEngine, 'entries'>): Promise<number> {
  const { from, to } = under(key('J'));
  for await (const entry of engine.entries(from, to)) return numberOf(entry.key, 0);
  throw new Error('there is no journal extent');
}

async function leak(directory: string): Promise<void> {
  await withExtents(directory, 'write', async ({ engine }) => {
    const group = (await engine.get(key('G', 0)))!;
    group[1]! |= 128;
    await engine.commit([{ key: key('G', 0), value: group }]);
  });
}

async function expectWhole(directory: string): Promise<void> {
  await withExtents(directory, 'read', async (open) => {
    const bytes = await readFile(open, 'one');
    expect(Buffer.compare(bytes!.subarray(0, content.length), content)).toBe(0);
    const store = await openStore(open);
    expect((await store.journal.status()).files).toMatchObject([{ name: 'kept', extents: 1 }]);
    await store.close();
  });
}

describe.each(['single', 'raid'] as const)('a volume of files (%s)', (kind) => {
  it('with all that can be repaired is repaired by one run of -p, and --revert takes it back', async () => {
    const directory = await fresh(kind);
    await leak(directory);
    const image = join(directory, kind === 'single' ? 'disk.img' : 'metadata.img');
    await rot(image, 100);
    await rot(image, 16384 + 50);
    const before = await contentOf(directory);
    const all = [
      'EXTENTS_COPY_DAMAGED',
      'METADATA_COPY_DAMAGED',
      'EXTENTS_LEAKED',
      'EXTENTS_COUNT_WRONG',
      'TRANSACTIONS_UNFINISHED',
    ];
    expect(await fsck(directory, '-n')).toMatchObject({ exitCode: 4, told: all });
    expect(await contentOf(directory)).toEqual(before);
    const undo = join(folder, `undo-${count++}`);
    const repaired = await fsck(directory, '-p', '--undo', undo);
    expect(repaired).toMatchObject({ exitCode: 1, told: all.map((code) => `${code} repaired`) });
    expect(repaired.repairs).toEqual(['mend-metadata', 'rebuild-indexes', 'complete-transactions']);
    expect(await fsck(directory, '-n')).toMatchObject({ exitCode: 0, told: [] });
    await expectWhole(directory);
    expect((await runHoldfast(['fsck', directory, '--revert', undo])).exitCode).toBe(4);
    expect(await contentOf(directory)).toEqual(before);
  });
});

it('whose maps, counts and extents do not fit together is made whole, and --revert takes it back', async () => {
  const directory = await fresh('single');
  await withExtents(directory, 'write', async ({ engine }) => {
    const map = (await engine.get(key('M', 1)))!;
    const extent = await firstJournalExtent(engine);
    await engine.commit([
      { key: key('M', 1), value: encode('map', { ...decode('map', map), files: 2 }) },
      { key: key('E', 1, 7), value: encode('entry', { extent: extent + 1, isShared: 0 }) },
    ]);
  });
  await miscount(join(directory, 'disk.img'));
  const before = await contentOf(directory);
  const undo = join(folder, `undo-${count++}`);
  const repaired = await fsck(directory, '-p', '--undo', undo);
  expect(repaired).toMatchObject({
    exitCode: 1,
    repairs: ['mend-metadata', 'rebuild-indexes', 'separate-extents', 'complete-transactions'],
  });
  const all = ['METADATA_COUNT_WRONG', 'MAPS_WRONG', 'EXTENTS_USED_TWICE', 'TRANSACTIONS_UNFINISHED'];
  expect(repaired.told).toEqual(all.map((code) => `${code} repaired`));
  expect(await fsck(directory, '-n')).toMatchObject({ exitCode: 0, told: [] });
  await expectWhole(directory);
  expect((await runHoldfast(['fsck', directory, '--revert', undo])).exitCode).toBe(4);
  expect(await contentOf(directory)).toEqual(before);
});

it('whose metadata may tell more than is there is left as it is', async () => {
  const directory = await fresh('single');
  await leak(directory);
  await withExtents(directory, 'write', ({ engine }) =>
    engine.commit([{ key: key('z', 99, 1), value: encode('number', { value: 0 }) }]),
  );
  const before = await contentOf(directory);
  const { exitCode, findings } = await fsck(directory, '-y');
  expect(exitCode).toBe(4);
  expect(findings.map(({ code }) => code)).toEqual([
    'TRANSACTIONS_WRONG',
    'EXTENTS_LEAKED',
    'EXTENTS_COUNT_WRONG',
    'TRANSACTIONS_UNFINISHED',
  ]);
  for (const { repair } of findings) expect(repair).toBeNull();
  expect(await contentOf(directory)).toEqual(before);
});

describe('on an array that lacks a member', () => {
  it('files are read and written, and nothing of them is repaired by fsck', async () => {
    const directory = await fresh('raid');
    await rename(join(directory, 'member-1.img'), join(folder, `away-${count++}`));
    const looked = await fsck(directory, '-n');
    expect(looked.told).toContain('TRANSACTIONS_UNFINISHED');
    for (const { repair } of looked.findings) expect(repair).toBeNull();
    const status = await runJson(['status', directory]);
    expect(status).toMatchObject({
      exitCode: 3,
      json: { result: { state: 'degraded', extents: { files: 2, transactionsToComplete: 1 } } },
    });
    expect((await runJson(['recover', directory])).json.result).toMatchObject({ redoneTransactions: 1 });
    await expectWhole(directory);
  });
});
