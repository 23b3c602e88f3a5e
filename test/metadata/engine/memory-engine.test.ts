/** The engine in memory is held to the contract of engines. */
import { MemoryEngine } from '../../../src/metadata/engine/memory-engine.js';
import { describeEngine } from './engine-conformance.js';

describeEngine('MemoryEngine', {
  isDurable: false,
  make: async () => ({ engine: new MemoryEngine(), cleanup: async () => undefined }),
});
