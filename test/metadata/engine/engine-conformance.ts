/**
 * What every metadata engine does, by the contract of src/metadata/engine/contract.ts. Random transactions are held
 * against a plain map whose keys are sorted anew each time.
 */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  ALL,
  bytesOf,
  EngineModel,
  hex,
  list,
  put,
  randomChanges,
  randomKey,
  take,
} from '../../../src/lab/self/metadata/model.js';
import type { Entry, MetadataEngine } from '../../../src/metadata/engine/contract.js';
import { withSeed } from '../../support/devices/seeded-random.js';

export interface EngineSubject {
  readonly engine: MetadataEngine;
  /** Ends the engine, without a checkpoint, and opens what is durable of it. */
  reopen?(): Promise<MetadataEngine>;
  cleanup(): Promise<void>;
}

export interface EngineConformance {
  make(): Promise<EngineSubject>;
  readonly isDurable: boolean;
}

export function describeEngine(name: string, { make, isDurable }: EngineConformance): void {
  describe(`${name} is a metadata engine`, () => {
    let subject: EngineSubject;
    let engine: MetadataEngine;
    beforeEach(async () => {
      subject = await make();
      engine = subject.engine;
    });
    afterEach(() => subject.cleanup());

    it('has nothing at first', async () => {
      expect(await engine.get(bytesOf('a'))).toBeNull();
      expect(await list(engine)).toEqual([]);
    });

    it('gives back what was committed, in the order of bytes', async () => {
      await engine.commit([put('b', '2'), put('\xff', '4'), put('a', '1'), put('a\0', '0'), put('\0', '3')]);
      expect(await engine.get(bytesOf('b'))).toEqual(bytesOf('2'));
      expect(await engine.get(bytesOf('c'))).toBeNull();
      const keys = (await list(engine)).map((each) => each.split('=')[0]);
      expect(keys).toEqual(['00', '61', '6100', '62', 'ff']);
    });

    it('takes `from` in and leaves `to` out', async () => {
      await engine.commit(['a', 'b', 'c'].map((key) => put(key, key)));
      const keys = async (from: string, to: string) => {
        const found: Entry[] = [];
        for await (const entry of engine.entries(bytesOf(from), bytesOf(to))) found.push(entry);
        return found.map(({ key }) => Buffer.from(key).toString('latin1')).join('');
      };
      expect(await keys('a', 'c')).toBe('ab');
      expect(await keys('a\0', 'c\0')).toBe('bc');
      expect(await keys('c', 'a')).toBe('');
      expect(await keys('b', 'b')).toBe('');
    });

    it('takes keys out, and does not mind if there is none', async () => {
      await engine.commit([put('a', '1'), put('b', '2')]);
      await engine.commit([take('a'), take('x')]);
      expect(await engine.get(bytesOf('a'))).toBeNull();
      expect(await list(engine)).toEqual(['62=32']);
    });

    it('counts the last of several changes of a key', async () => {
      await engine.commit([put('a', '1'), take('a'), put('a', '3')]);
      await engine.commit([put('b', '1'), take('b')]);
      expect(await list(engine)).toEqual(['61=33']);
    });

    it('sees a transaction from the call on', async () => {
      const committed = engine.commit([put('a', '1'), put('b', '2')]);
      expect(await engine.get(bytesOf('a'))).toEqual(bytesOf('1'));
      expect(await list(engine)).toHaveLength(2);
      await committed;
    });

    it('keeps nothing of the buffers of its callers, and gives none of its own', async () => {
      const [key, value] = [bytesOf('a'), bytesOf('1')];
      const committed = engine.commit([{ key, value }]);
      key[0] = 0;
      value[0] = 0;
      await committed;
      const given = await engine.get(bytesOf('a'));
      expect(given).toEqual(bytesOf('1'));
      given![0] = 7;
      expect(await engine.get(bytesOf('a'))).toEqual(bytesOf('1'));
    });

    it('takes the longest key, value and transaction, and refuses longer ones whole', async () => {
      const key = new Uint8Array(255).fill(9);
      const value = new Uint8Array(3072).fill(8);
      await engine.commit([{ key, value }]);
      expect(await engine.get(key)).toEqual(value);
      const good = put('a', '1');
      await expect(engine.commit([good, { key: new Uint8Array(256), value }])).rejects.toThrow(RangeError);
      await expect(engine.commit([good, { key: new Uint8Array(0), value }])).rejects.toThrow(RangeError);
      await expect(engine.commit([good, { key, value: new Uint8Array(3073) }])).rejects.toThrow(RangeError);
      const many = Array.from({ length: 342 }, (_, at) => ({ key: bytesOf(String(at)), value }));
      await expect(engine.commit(many)).rejects.toThrow(RangeError);
      expect(await engine.get(bytesOf('a'))).toBeNull();
      await engine.commit(many.slice(0, 340));
      expect(await list(engine)).toHaveLength(341);
    });

    it('goes on through changes of others in its midst', async () => {
      const keys = Array.from({ length: 500 }, (_, at) => String(1000 + at));
      await engine.commit(keys.map((key) => put(key, 'x')));
      const found: string[] = [];
      for await (const { key } of engine.entries(...ALL)) {
        const text = Buffer.from(key).toString('latin1');
        found.push(text);
        if (text.endsWith('+')) continue;
        await engine.commit([put(`${text}+`, 'y'), take(String(Number(text) - 1))]);
        if (found.length % 50 === 0) await engine.checkpoint();
      }
      expect(found.filter((key) => !key.endsWith('+'))).toEqual(keys);
      expect(new Set(found).size).toBe(found.length);
      expect(found).toEqual([...found].sort());
    });

    it('does what a map does, for random transactions, checkpoints and reads', { timeout: 60_000 }, () =>
      withSeed(async (random) => {
        const model = new EngineModel();
        for (let step = 0; step < 400; step++) {
          const commits = Array.from({ length: random.between(1, 4) }, () => randomChanges(random));
          const done = commits.map((changes) => {
            model.apply(changes);
            return engine.commit(changes);
          });
          const key = randomKey(random);
          const found = await engine.get(key);
          expect(found === null ? undefined : hex(found)).toBe(hexOrNone(model.content.get(hex(key))));
          if (random.chance(0.2)) done.push(engine.checkpoint());
          await Promise.all(done);
          if (isDurable && random.chance(0.05)) engine = await subject.reopen!();
          if (random.chance(0.8)) continue;
          const [from, to] = [randomKey(random), randomKey(random)];
          expect(await list(engine, from, to)).toEqual(model.list(from, to));
        }
        expect(await list(engine)).toEqual(model.list());
      }),
    );

    it('refuses all when it is closed, and closes twice', async () => {
      await engine.commit([put('a', '1')]);
      await engine.close();
      await engine.close();
      await expect(engine.get(bytesOf('a'))).rejects.toThrow(/closed/);
      await expect(engine.commit([put('a', '2')])).rejects.toThrow(/closed/);
      await expect(list(engine)).rejects.toThrow(/closed/);
    });

    if (!isDurable) return;
    it('keeps what it acknowledged, with a checkpoint and without', async () => {
      await engine.commit([put('a', '1')]);
      await engine.checkpoint();
      await engine.commit([put('b', '2'), take('a')]);
      engine = await subject.reopen!();
      expect(await list(engine)).toEqual(['62=32']);
      await engine.commit([put('c', '3')]);
      engine = await subject.reopen!();
      expect(await list(engine)).toEqual(['62=32', '63=33']);
    });
  });
}

function hexOrNone(bytes: Uint8Array | undefined): string | undefined {
  return bytes === undefined ? undefined : hex(bytes);
}
