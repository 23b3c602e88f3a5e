/** Holds every file of the tree to its rules, and shows that each rule can fail. */
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { faultsOf, type SourceFile } from './rules.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const FOLDERS = ['.ci', 'bin', 'commands', 'docs', 'src', 'test'];
const FILES = [
  'README.md',
  'CHANGELOG.md',
  'package.json',
  'vitest.config.ts',
  'biome.json',
  '.dependency-cruiser.cjs',
];
const TEXT = /(\.(ts|js|cjs|json|md|sh|toml|yml)|\/run)$/;

async function tree(): Promise<SourceFile[]> {
  const listings = FOLDERS.map(async (folder) => {
    const entries = await readdir(join(root, folder), { recursive: true, withFileTypes: true });
    return entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  });
  const paths = [...(await Promise.all(listings)).flat(), ...FILES.map((file) => join(root, file))];
  const texts = paths.filter((path) => TEXT.test(path));
  return Promise.all(
    texts.map(async (path) => ({ path: path.slice(root.length), text: await readFile(path, 'utf8') })),
  );
}

it('every file keeps the rules', async () => {
  const files = await tree();
  expect(files.map((file) => file.path)).toEqual(
    expect.arrayContaining(['src/errors.ts', 'test/tree/rules.ts']),
  );
  expect(files.flatMap(faultsOf)).toEqual([]);
});

it('the lock file names no address', async () => {
  const lock = await readFile(join(root, 'package-lock.json'), 'utf8');
  const packages = Object.entries((JSON.parse(lock) as { packages: Record<string, object> }).packages);
  expect(packages.length).toBeGreaterThan(1);
  expect(packages.filter(([, entry]) => 'resolved' in entry).map(([name]) => name)).toEqual([]);
});

describe('a rule catches', () => {
  const opening = '/** What it is for. */\n';
  const unfinished = ['TO', 'DO'].join('');

  it.each<[string, SourceFile, string]>([
    ['a long file', { path: 'src/a.ts', text: opening + '\n'.repeat(400) }, 'has 401 lines'],
    ['a folder without a subject', { path: 'src/utils/a.ts', text: opening }, 'no subject'],
    ['a file without a subject', { path: 'src/raid/helpers.ts', text: opening }, 'no subject'],
    ['unfinished work', { path: 'src/a.ts', text: `${opening}// ${unfinished}: later\n` }, unfinished],
    [
      'a file that does not say what it is for',
      { path: 'src/a.ts', text: 'export const a = 1;\n' },
      'open with',
    ],
    [
      'a check that is taken away',
      { path: 'src/a.ts', text: `${opening}// @ts-ignore\n` },
      'takes a check away',
    ],
    ['a skipped test', { path: 'test/a.test.ts', text: `${opening}it.skip('a');\n` }, 'do not run'],
  ])('%s', (_what, file, fault) => {
    expect(faultsOf(file).join()).toContain(fault);
  });

  it('and leaves good files alone', () => {
    expect(faultsOf({ path: 'src/a.ts', text: opening + '\n'.repeat(399) })).toEqual([]);
  });
});
