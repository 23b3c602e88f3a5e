/** The embedded engine is held to the contract of engines: with much room, and with so little that it must make room all the time. */

import { expect } from 'vitest';
import { MemoryDevice } from '../../../src/device/memory.js';
import type { EmbeddedEngine } from '../../../src/metadata/engine/embedded-engine.js';
import { makeEngine } from '../../../src/metadata/engine/make-engine.js';
import { type OpenEngineOptions, openEngine } from '../../../src/metadata/engine/open-engine.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';
import { describeEngine, type EngineSubject } from './engine-conformance.js';

const MIB = 1024 * 1024;
const OFFSET = 64 * 1024;

async function subject(sizeBytes: number, options: Partial<OpenEngineOptions>): Promise<EngineSubject> {
  const device = new FaultyDevice(new MemoryDevice(sizeBytes + OFFSET), { maxDelayTurns: 2 });
  const range = { device, offset: OFFSET, length: sizeBytes };
  await makeEngine(range, { logBytes: 4 * MIB + 64 * 1024 });
  const open = () =>
    openEngine(range, {
      warn: (finding) => {
        throw new Error(finding.message);
      },
      ...options,
    });
  let engine: EmbeddedEngine = await open();
  return {
    engine,
    async reopen() {
      // Closing writes nothing: it waits for what is on its way, since nobody else may write then.
      await engine.close();
      engine = await open();
      return engine;
    },
    async cleanup() {
      await engine.close();
      expect(device.overlaps).toEqual([]);
    },
  };
}

describeEngine('EmbeddedEngine', { isDurable: true, make: () => subject(64 * MIB, {}) });
describeEngine('EmbeddedEngine with little memory', {
  isDurable: true,
  make: () => subject(24 * MIB, { cacheBytes: 32 * 1024, overlayBytes: 16 * 1024 }),
});
