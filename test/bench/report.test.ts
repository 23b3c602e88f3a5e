import { access, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Bench, Comparison } from '../../src/bench/bench.js';
import { chooseBenches } from '../../src/bench/registry.js';
import { defaultReportPath, runBenches, saveReport } from '../../src/bench/report.js';
import { UserError } from '../../src/errors.js';

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bench-test-'));
});

afterEach(() => rm(directory, { recursive: true }));

const options = { rounds: 2, roundSeconds: 0.001 };

/** A bench that keeps a diary, makes a file, and whose second comparison may fail. */
function scripted(diary: string[], failing = false): Bench {
  const comparison = (title: string, fails: boolean): Comparison => ({
    title,
    roundBytes: 10,
    operations: 1,
    baseline: null,
    contenders: [
      {
        name: 'only',
        run: () => {
          if (fails) throw new Error('broken');
          return { seconds: 2 };
        },
      },
    ],
    close: () => {
      diary.push(`close ${title}`);
    },
  });
  return {
    name: 'scripted',
    title: 'A bench for tests',
    prepare: async (context) => {
      await writeFile(join(context.directory, 'image'), 'x');
      return {
        *comparisons() {
          for (const title of ['one', 'two']) {
            diary.push(`make ${title}`);
            yield comparison(title, failing && title === 'two');
          }
        },
        notes: ['a note'],
        close: async () => {
          diary.push('close');
        },
      };
    },
  };
}

describe('runBenches', () => {
  test('reports every comparison with the machine it ran on, and closes each before the next', async () => {
    const diary: string[] = [];
    const report = await runBenches([scripted(diary)], {
      ...options,
      directory,
      onResult: (bench, { title }) => diary.push(`${bench.name} did ${title}`),
    });
    expect(diary).toEqual([
      'make one',
      'close one',
      'scripted did one',
      'make two',
      'close two',
      'scripted did two',
      'close',
    ]);
    expect(report.machine).toMatchObject({ node: process.version });
    expect(report.machine.processors).toBeGreaterThan(0);
    const [bench] = report.benches;
    expect(bench).toMatchObject({ name: 'scripted', title: 'A bench for tests', notes: ['a note'] });
    expect(bench!.comparisons.map(({ title }) => title)).toEqual(['one', 'two']);
    expect(bench!.comparisons[0]!.contenders[0]).toMatchObject({ name: 'only', speedBytes: 5 });
    expect(await readdir(directory)).toEqual([]);
  });

  test('closes all and removes its files when a contender fails', async () => {
    const diary: string[] = [];
    await expect(runBenches([scripted(diary, true)], { ...options, directory })).rejects.toThrow('broken');
    expect(diary).toEqual(['make one', 'close one', 'make two', 'close two', 'close']);
    expect(await readdir(directory)).toEqual([]);
  });

  test('says which directory it cannot use', async () => {
    const absent = join(directory, 'absent');
    const failure = await runBenches([scripted([])], { ...options, directory: absent }).catch(
      (error) => error,
    );
    expect(failure).toBeInstanceOf(UserError);
    expect(failure.message).toContain(absent);
  });
});

describe('a report', () => {
  test('is kept as JSON, in a directory that is made for it', async () => {
    const report = await runBenches([], options);
    const path = join(directory, 'a', 'b', 'report.json');
    await saveReport(report, path);
    expect(JSON.parse(await readFile(path, 'utf8'))).toEqual(report);
    expect(defaultReportPath(report)).toMatch(/^bench-results\/\d{4}-\d\d-\d\dT[\d-]+\.\d+Z\.json$/);
  });

  test('that cannot be written is an error with its path', async () => {
    const report = await runBenches([], options);
    await writeFile(join(directory, 'file'), '');
    const path = join(directory, 'file', 'report.json');
    const failure = await saveReport(report, path).catch((error) => error);
    expect(failure).toBeInstanceOf(UserError);
    expect(failure).toMatchObject({ code: 'IO_ERROR' });
    expect(failure.message).toContain(path);
    await expect(access(path)).rejects.toThrow();
  });
});

describe('chooseBenches', () => {
  test('takes all without a name, those named else, and refuses what is none', () => {
    expect(chooseBenches([]).length).toBeGreaterThan(0);
    expect(chooseBenches(['kernels', 'kernels']).map(({ name }) => name)).toEqual(['kernels']);
    expect(() => chooseBenches(['kernels', 'colonels'])).toThrow(/"colonels"/);
  });
});
