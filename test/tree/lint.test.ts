/**
 * The lint rule that matters most, a promise that nobody waits for, is one of Biome's nursery: an update may
 * rename or drop it. This shows that the configuration of the tree still catches it.
 */
import { spawnSync } from 'node:child_process';
import { copyFile, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const LATER = 'async function later(): Promise<boolean> {\n  return true;\n}\n';
let sample = '';

beforeAll(async () => {
  sample = await mkdtemp(join(tmpdir(), 'holdfast-lint-'));
  for (const name of ['biome.json', '.gitignore']) await copyFile(join(root, name), join(sample, name));
});
afterAll(() => rm(sample, { recursive: true, force: true }));

/** What lint says of a file with these statements. */
async function lint(statements: string): Promise<string> {
  await writeFile(join(sample, 'sample.ts'), `${LATER}${statements}\n`);
  const biome = join(root, 'node_modules/@biomejs/biome/bin/biome');
  const { stdout, stderr } = spawnSync(process.execPath, [biome, 'lint'], { cwd: sample, encoding: 'utf8' });
  return stdout + stderr;
}

describe('lint catches', () => {
  it.each([
    ['a promise that nobody waits for', 'later();', 'noFloatingPromises'],
    ['a promise taken for a truth', 'if (later()) process.exit();', 'noMisusedPromises'],
    ['any', 'export const a: any = later;', 'noExplicitAny'],
  ])('%s', async (_what, statement, rule) => {
    expect(await lint(statement)).toContain(rule);
  });

  it('and not one that is waited for', async () => {
    const said = await lint('export const a = await later();');
    expect(said).toContain('Checked 2 files');
    expect(said).not.toContain('lint/');
  });
});
