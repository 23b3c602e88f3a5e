/**
 * Holds the imports of the tree to the layers of .dependency-cruiser.cjs, and shows with samples of every
 * breach that the rules catch what they are there for.
 */
import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { cruise, type ICruiseResult, type IFlattenedRuleSet } from 'dependency-cruiser';
import extractTSConfig from 'dependency-cruiser/config-utl/extract-ts-config';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { forbidden, options } = createRequire(import.meta.url)(join(root, '.dependency-cruiser.cjs')) as {
  forbidden: NonNullable<IFlattenedRuleSet['forbidden']>;
  options: { enhancedResolveOptions: object; tsConfig: { fileName: string } };
};

/** The breaches in `folders` of the tree at `baseDir`, as `rule: from -> to`. */
async function breaches(baseDir: string, folders: readonly string[]): Promise<string[]> {
  const { enhancedResolveOptions, tsConfig, ...rest } = options;
  const { output } = await cruise(
    [...folders],
    { ...rest, baseDir, ruleSet: { forbidden }, validate: true },
    enhancedResolveOptions,
    { tsConfig: extractTSConfig(join(root, tsConfig.fileName)) },
  );
  const { summary } = output as ICruiseResult;
  return summary.violations.map(({ rule, from, to }) => `${rule.name}: ${from} -> ${to}`);
}

it('the tree imports downwards only, and in no circles', async () => {
  expect(await breaches(root, ['src', 'commands'])).toEqual([]);
});

describe('a breach is caught:', () => {
  let sample = '';

  beforeAll(async () => {
    sample = await mkdtemp(join(tmpdir(), 'holdfast-layers-'));
    await symlink(join(root, 'node_modules'), join(sample, 'node_modules'));
  });
  afterAll(() => rm(sample, { recursive: true, force: true }));

  /** Breaches in a tree of these files. */
  async function breachesOf(files: Readonly<Record<string, string>>): Promise<string[]> {
    for (const folder of ['src', 'commands']) {
      await rm(join(sample, folder), { recursive: true, force: true });
      await mkdir(join(sample, folder));
    }
    for (const [path, text] of Object.entries(files)) {
      await mkdir(dirname(join(sample, path)), { recursive: true });
      await writeFile(join(sample, path), text);
    }
    return breaches(sample, ['src', 'commands']);
  }

  const plain = 'export type T = number;\nexport const t: T = 1;\n';
  const importing = (path: string): string => `import { t } from '${path}';\nexport const u = t;\n`;
  const importingType = (path: string): string => `import type { T } from '${path}';\nexport type U = T;\n`;

  it.each([
    [
      'a device that knows of RAID',
      'src/device/a.ts',
      '../raid/b.js',
      'src/raid/b.ts',
      'device-imports-downwards',
    ],
    [
      'RAID that knows of volumes',
      'src/raid/a.ts',
      '../volume/b.js',
      'src/volume/b.ts',
      'raid-imports-downwards',
    ],
    [
      'a volume that knows of the lab',
      'src/volume/a.ts',
      '../lab/record/b.js',
      'src/lab/record/b.ts',
      'volume-imports-downwards',
    ],
    [
      'a lab that knows of the demo',
      'src/lab/a.ts',
      '../demo/b.js',
      'src/demo/b.ts',
      'lab-imports-downwards',
    ],
    ['a neighbour', 'src/nbd/a.ts', '../snapshot/b.js', 'src/snapshot/b.ts', 'nbd-knows-no-neighbour'],
    [
      'src/ that imports a command',
      'src/volume/a.ts',
      '../../commands/b.js',
      'commands/b.ts',
      'src-never-imports-commands',
    ],
    ['a layer that prints', 'src/raid/a.ts', '../cli/b.js', 'src/cli/b.ts', 'cli-is-for-commands'],
    [
      'errors.ts that is not below all',
      'src/errors.ts',
      './device/b.js',
      'src/device/b.ts',
      'root-of-src-is-below-all',
    ],
  ])('%s', async (_what, from, path, to, rule) => {
    for (const text of [importing(path), importingType(path)]) {
      expect(await breachesOf({ [from]: text, [to]: plain })).toContain(`${rule}: ${from} -> ${to}`);
    }
  });

  it('a circle, of types alone too', async () => {
    const a = 'src/device/a.ts';
    const b = 'src/device/b.ts';
    const found = await breachesOf({
      [a]: "import type { B } from './b.js';\nexport type A = B | 1;\n",
      [b]: "import type { A } from './a.js';\nexport type B = A | 2;\n",
    });
    expect(found).toContain(`no-circular: ${a} -> ${b}`);
  });

  it('a folder without a level, an import that leads nowhere, a tool that is not installed with us', async () => {
    const found = await breachesOf({
      'src/misc/a.ts': importing('../errors.js'),
      'src/errors.ts': plain,
      'src/device/a.ts': importing('./gone.js'),
      'src/device/b.ts': "import { expect } from 'vitest';\nexport const u = expect;\n",
    });
    expect(found).toContain('every-folder-has-its-level: src/misc/a.ts -> src/errors.ts');
    expect(found).toContain('resolvable: src/device/a.ts -> ./gone.js');
    expect(found.some((breach) => breach.startsWith('declared-dependencies: src/device/b.ts'))).toBe(true);
  });

  it('and what is allowed is not', async () => {
    const found = await breachesOf({
      'src/errors.ts': plain,
      'src/device/a.ts': importing('../errors.js'),
      'src/metadata/a.ts': plain,
      'src/extents/a.ts': importing('../metadata/a.js'),
      'src/volume/a.ts': importing('../device/a.js').replaceAll('t }', 'u }').replace('= t', '= u'),
      'src/lab/a.ts': importing('../volume/a.js').replaceAll('t }', 'u }').replace('= t', '= u'),
      'commands/a.ts': importing('../src/errors.js'),
    });
    expect(found).toEqual([]);
  });
});
