import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { CPeer, startCPeer } from '../../src/bench/c-peer.js';
import { kernels } from '../../src/bench/kernels.js';
import { measure } from '../../src/bench/measure.js';
import { packagePath } from '../../src/package-root.js';

const SMALL = 1024 * 1024;

let directory: string;

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'bench-test-'));
});

afterEach(() => rm(directory, { recursive: true }));

async function withoutCompilers<T>(work: () => Promise<T>): Promise<T> {
  const path = process.env.PATH;
  process.env.PATH = directory;
  try {
    return await work();
  } finally {
    process.env.PATH = path;
  }
}

async function program(text: string): Promise<string> {
  const path = join(directory, 'program');
  await writeFile(path, `#!/bin/sh\n${text}\n`);
  await chmod(path, 0o755);
  return path;
}

describe('the peer in C', () => {
  test('answers every line with a number', async () => {
    const peer = new CPeer(await program('while read a b; do echo $((a + b)); done'));
    expect(await peer.ask('1 2')).toBe(3);
    expect(await peer.ask('40 2')).toBe(42);
    await peer.close();
    await peer.close();
  });

  test.each(['exit 3', 'read line; echo nonsense', 'read line'])(
    'that does "%s" is an error',
    async (text) => {
      const peer = new CPeer(await program(text));
      await expect(peer.ask('1 2')).rejects.toThrow('gave no answer to "1 2"');
      await peer.close();
    },
  );

  test('that cannot be started is an error', async () => {
    const peer = new CPeer(join(directory, 'absent'));
    await expect(peer.ask('1 2')).rejects.toThrow('gave no answer');
    await peer.close();
  });

  test('is absent, with the reason, without a compiler', async () => {
    const found = await withoutCompilers(() =>
      startCPeer(packagePath('src', 'bench', 'kernels-peer.c'), directory),
    );
    expect(found).toEqual({ reason: expect.stringContaining('no C compiler') });
  });

  test('is absent, with what the compiler said, when it cannot be compiled', async () => {
    await writeFile(
      join(directory, 'cc'),
      '#!/bin/sh\n[ "$1" = --version ] && echo cc 1.0 && exit 0\necho wrong >&2; exit 1\n',
    );
    await chmod(join(directory, 'cc'), 0o755);
    const found = await withoutCompilers(() => startCPeer('some.c', directory));
    expect(found).toEqual({
      reason: expect.stringMatching(/^cc \(cc 1\.0\) could not compile some\.c: wrong/),
    });
  });
});

describe('the bench of kernels', () => {
  test('runs, with a baseline where there is a compiler', async () => {
    const bench = await kernels.prepare({ directory, roundSeconds: 1e-6 });
    const compared = bench.notes[0]!.startsWith('C is ');
    const titles: string[] = [];
    for await (const comparison of bench.comparisons()) {
      titles.push(comparison.title);
      if (comparison.roundBytes <= SMALL) {
        const result = await measure(comparison, 1);
        expect(result.contenders.every(({ seconds }) => seconds.median > 0)).toBe(true);
        if (!comparison.title.includes('not in')) expect(result.baseline).toBe(compared ? 'C' : null);
      }
      await comparison.close?.();
    }
    await bench.close();
    expect(new Set(titles).size).toBe(titles.length);
    expect(titles).toContain('xor of 8 x 16 MiB');
  });

  test('runs without a compiler, and says so', async () => {
    const bench = await withoutCompilers(() => kernels.prepare({ directory, roundSeconds: 1e-6 }));
    expect(bench.notes[0]).toContain('no C compiler');
    for await (const comparison of bench.comparisons()) {
      expect(comparison.contenders.map(({ name }) => name)).toEqual(['kernel']);
      expect((await measure(comparison, 1)).baseline).toBeNull();
      await comparison.close?.();
      break;
    }
    await bench.close();
  });
});
