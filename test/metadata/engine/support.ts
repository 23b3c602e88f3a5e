/** An engine on a device in memory that can be damaged, counted and made to fail. */
import { MemoryDevice } from '../../../src/device/memory.js';
import { put } from '../../../src/lab/self/metadata/model.js';
import type { EmbeddedEngine } from '../../../src/metadata/engine/embedded-engine.js';
import type { MetadataFinding } from '../../../src/metadata/engine/findings.js';
import { type EngineRange, type Layout, planLayout } from '../../../src/metadata/engine/layout.js';
import { makeEngine } from '../../../src/metadata/engine/make-engine.js';
import { type OpenEngineOptions, openEngine } from '../../../src/metadata/engine/open-engine.js';
import { FaultyDevice } from '../../support/devices/faulty-device.js';

export const KIB = 1024;
export const MIB = 1024 * KIB;
const OFFSET = 32 * KIB;

export interface EngineStage {
  readonly memory: MemoryDevice;
  readonly device: FaultyDevice;
  readonly range: EngineRange;
  readonly layout: Layout;
  /** What openings have warned of. */
  readonly warnings: MetadataFinding[];
  open(options?: Partial<OpenEngineOptions>): Promise<EmbeddedEngine>;
  /** Byte of the image at which something of half A (0) or B (1) lies. */
  at(half: number, offset: number): number;
}

export async function stage(sizeBytes = 4 * MIB, logBytes = 64 * KIB): Promise<EngineStage> {
  const memory = new MemoryDevice(sizeBytes + OFFSET, { name: 'meta.img' });
  const device = new FaultyDevice(memory);
  const range = { device, offset: OFFSET, length: sizeBytes };
  const layout = planLayout(range, logBytes);
  await makeEngine(range, { logBytes });
  const warnings: MetadataFinding[] = [];
  return {
    memory,
    device,
    range,
    layout,
    warnings,
    open: (options = {}) => openEngine(range, { warn: (finding) => warnings.push(finding), ...options }),
    at: (half, offset) => OFFSET + half * layout.halfBytes + offset,
  };
}

export async function bytesAt(device: MemoryDevice, offset: number, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  await device.read(offset, bytes);
  return bytes;
}

/** One bit of a byte turned. */
export async function rot(device: MemoryDevice, offset: number): Promise<void> {
  const sector = offset - (offset % 512);
  const bytes = await bytesAt(device, sector, 512);
  bytes[offset % 512]! ^= 0x10;
  await device.write(sector, bytes);
}

export function keyOf(number: number): string {
  return `key ${String(number).padStart(7, '0')}`;
}

/** So many keys, in transactions of a hundred, and a checkpoint. */
export async function fill(engine: EmbeddedEngine, keys: number, valueLength = 40): Promise<void> {
  for (let from = 0; from < keys; from += 100) {
    const count = Math.min(100, keys - from);
    await engine.commit(
      Array.from({ length: count }, (_, at) => put(keyOf(from + at), 'v'.repeat(valueLength))),
    );
  }
  await engine.checkpoint();
}
