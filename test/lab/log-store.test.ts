/**
 * A log-structured store with a barrier that is missing, and without that fault, as docs/crash-lab.md has a user run them: the lab finds the
 * one, comes to all states of the other, and says of each of its flushes what it is for.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { beforeAll, describe, expect, it } from 'vitest';
import { readTrace } from '../../src/crash/trace-file/trace-reader.js';
import { readLog, SECTOR_BYTES } from '../../src/demo/log-store/records.js';
import { LogStore } from '../../src/demo/log-store/store.js';
import { MemoryDevice } from '../../src/device/memory.js';
import { packagePath } from '../../src/package-root.js';
import { ok, runHoldfast, runJson } from '../support/run-holdfast.js';
import { seeded } from '../support/seed.js';
import { temporaryFolder } from '../support/temporary-folder.js';

const LIMIT = { timeout: 240_000 };
const PROGRAMS = packagePath('dist', 'src', 'demo', 'log-store');
const CHECK = `node ${PROGRAMS}/check.js`;
const RECOVER = `node ${PROGRAMS}/append.js 0`;
const GONE = 'value 1 of "once" was acknowledged, and is gone\n';

interface Explored {
  readonly isExhaustive: boolean;
  readonly states: number;
  readonly failures: readonly { readonly kind: string; readonly output: string; readonly file: string }[];
}

const folder = await temporaryFolder();
const at = (name: string): string => join(folder, name);

async function explore(name: string, ...flags: readonly string[]) {
  const words = ['crash', 'explore', at(`${name}.trace`), '--check', CHECK, ...flags];
  const { json, exitCode } = await runJson(words);
  return { exitCode, result: json.result as unknown as Explored };
}

describe('a log-structured store', () => {
  beforeAll(async () => {
    const page = await readFile(packagePath('docs', 'crash-lab.md'), 'utf8');
    const section = page.slice(page.indexOf('## A log with a barrier missing'));
    const [lines] = [...section.matchAll(/```sh\n(.*?)```/gs)].map(([, text]) => text!);
    const [place, ...commands] = lines!.trim().split('\n');
    expect(place).toBe('log="node $PWD/dist/src/demo/log-store"');
    expect(commands).toEqual([
      'holdfast crash record hasty.img --size 16KiB --trace hasty.trace -- "$log/append.js --hasty"',
      'holdfast crash record log.img --size 16KiB --trace log.trace -- "$log/append.js"',
      'holdfast crash explore hasty.trace --check "$log/check.js" --failures found',
      'holdfast crash minimize hasty.trace --failure found/check-exit-3.json --check "$log/check.js" --output small',
      'holdfast crash explore log.trace --check "$log/check.js" --recover "$log/append.js 0"',
      'holdfast crash explore log.trace --check "$log/check.js" --each-flush',
    ]);
    for (const command of commands.slice(0, 2)) {
      const [before, program] = command.split(' -- ');
      const words = before!.split(' ').slice(1);
      const expanded = program!.replaceAll('"', '').replace('$log', `node ${PROGRAMS}`);
      const { exitCode, stderr } = await runHoldfast([...words, '--', expanded], { cwd: folder });
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' });
    }
  }, 60_000);

  it('whose superblock leaves records behind before their copies are durable loses one', LIMIT, async () => {
    const { exitCode, result } = await explore('hasty', '--failures', at('found'));
    const [failure] = result.failures;
    expect([exitCode, failure?.kind, failure?.output]).toEqual([4, 'check exit 3', GONE]);
    const small = at('small');
    const minimal = await ok(
      ...['crash', 'minimize', at('hasty.trace'), '--failure', failure!.file],
      ...['--check', CHECK, '--output', small],
    );
    const trace = readTrace(join(small, 'minimal.trace'));
    // What the one that was lost was in the log with, its copy, and the superblock that has left it behind.
    expect(trace.events.length).toBe(14);
    expect(minimal.losses).toMatchObject([{ offset: 12_288, length: 1024, torn: null }]);
    const operations = trace.events.flatMap((event) => (event.kind === 'submit' ? [event.operation] : []));
    expect(operations.slice(-2).map(({ offset, length }) => [offset, length])).toEqual([
      [12_288, 1024],
      [0, 512],
    ]);
    expect(operations.filter(({ kind }) => kind === 'flush').length).toBe(1);
    trace.close();
    const again = await runJson(['crash', 'explore', join(small, 'minimal.trace'), '--check', CHECK]);
    expect(again.exitCode).toBe(4);
  });

  it('with that flush has all at every state, also where its recoveries are cut', LIMIT, async () => {
    const { exitCode, result } = await explore('log', '--recover', RECOVER);
    expect([exitCode, result]).toEqual([0, expect.objectContaining({ isExhaustive: true, failures: [] })]);
    expect(result.states).toBeGreaterThan(100);
  });

  it('has no flush that is for nothing', LIMIT, async () => {
    const { result } = await explore('log', '--each-flush');
    const { flushes } = result as unknown as { flushes: { kind: string | null; message: string }[] };
    expect(flushes.map(({ kind }) => kind)).toEqual(Array(11).fill('check exit 3'));
  });

  it(
    'trusts that a sector is written as a whole, and the lab knows of disks that do not',
    LIMIT,
    async () => {
      const { exitCode } = await explore('log', '--profile', 'garbage-torn');
      expect(exitCode).toBe(4);
    },
  );
});

describe('the store itself', () => {
  const disk = (segments = 3) => new MemoryDevice((1 + segments) * 4096, { name: 'log' });
  const held = async (device: MemoryDevice) => {
    const bytes = new Uint8Array(device.size);
    await device.read(0, bytes);
    return readLog(bytes).records;
  };

  it('holds what was put last, however often it is cleaned and opened again', async () => {
    const put = fc.record({
      key: fc.constantFrom('one', 'two', 'three'),
      words: fc.integer({ min: 1, max: 200 }),
      opensAgain: fc.boolean(),
    });
    const store = fc.asyncProperty(
      fc.integer({ min: 3, max: 5 }),
      fc.array(put, { minLength: 1, maxLength: 60 }),
      async (segments, puts) => {
        const device = disk(segments);
        const wanted = new Map<string, string>();
        let store = await LogStore.open(device);
        for (const [number, { key, words, opensAgain }] of puts.entries()) {
          const value = `${number} `.repeat(words);
          await store.put(key, value);
          wanted.set(key, value);
          if (opensAgain) store = await LogStore.open(device);
          const found = new Map((await held(device)).map((record) => [record.key, record.value]));
          expect(found).toEqual(wanted);
        }
      },
    );
    await fc.assert(store, seeded({ numRuns: 40 }));
  });

  it('frees the oldest segment when it is opened, where a cut has taken the superblock that did', async () => {
    const device = disk();
    const superblock = new Uint8Array(SECTOR_BYTES);
    const wanted = new Map<string, string>();
    for (let number = 0; number < 60; number++) {
      const store = await LogStore.open(device);
      await device.read(0, superblock);
      const key = `key ${number % 3}`;
      wanted.set(key, `${number} `.repeat(150));
      await store.put(key, wanted.get(key)!);
      await device.write(0, superblock);
      const found = new Map((await held(device)).map((record) => [record.key, record.value]));
      expect(found).toEqual(wanted);
    }
  });

  it('does not go on with what lies behind a record that a cut has taken', async () => {
    const device = disk();
    const store = await LogStore.open(device);
    for (const key of ['a', 'b', 'c']) await store.put(key, 'old');
    await device.write(4096 + SECTOR_BYTES, new Uint8Array(SECTOR_BYTES));
    await (await LogStore.open(device)).put('b', 'new');
    expect((await held(device)).map(({ key, value }) => [key, value])).toEqual([
      ['a', 'old'],
      ['b', 'new'],
    ]);
  });

  it('refuses what it could not copy', async () => {
    const store = await LogStore.open(disk());
    for (const key of ['a', 'b', 'c']) await store.put(key, 'x'.repeat(900));
    await expect(store.put('d', 'x')).rejects.toThrow('there is no room');
    await expect(store.put('a', 'x'.repeat(1100))).rejects.toThrow('there is no room');
  });
});
