/** An engine over one that is read: the contract of engines, and that nothing reaches what lies below. */
import { expect, it } from 'vitest';
import { bytesOf, list, put, take } from '../../../src/lab/self/metadata/model.js';
import { MemoryEngine } from '../../../src/metadata/engine/memory-engine.js';
import { OverlayEngine } from '../../../src/metadata/engine/overlay-engine.js';
import { describeEngine } from './engine-conformance.js';

describeEngine('OverlayEngine', {
  isDurable: false,
  make: async () => ({ engine: new OverlayEngine(new MemoryEngine()), cleanup: async () => undefined }),
});

it('shows changes over what lies below, and leaves that as it is', async () => {
  const base = new MemoryEngine();
  await base.commit([put('b', '1'), put('d', '1'), put('f', '1')]);
  const before = await list(base);
  const engine = new OverlayEngine(base);
  await engine.commit([put('a', '2'), put('d', '2'), take('f'), put('g', '2'), take('z')]);
  const model = new MemoryEngine();
  await model.commit([put('a', '2'), put('b', '1'), put('d', '2'), put('g', '2')]);
  expect(await list(engine)).toEqual(await list(model));
  expect(await list(engine, bytesOf('b'), bytesOf('g'))).toEqual(
    await list(model, bytesOf('b'), bytesOf('g')),
  );
  expect(await engine.get(bytesOf('f'))).toBeNull();
  expect(await list(base)).toEqual(before);
  await engine.close();
  await expect(base.get(bytesOf('b'))).rejects.toThrow('closed');
});
