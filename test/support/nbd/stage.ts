/** A server with one export, whose device fails as it is told and counts. */
import { MemoryDevice } from '../../../src/device/memory.js';
import type { Export } from '../../../src/nbd/server/export.js';
import { FaultyDevice } from '../devices/faulty-device.js';
import { type Served, served } from './served.js';

/** Bytes of the export. */
export const SIZE = 100 * 1024 * 1024;

export interface Stage extends Served {
  /** What the faulty device stands on. */
  readonly memory: MemoryDevice;
  readonly device: FaultyDevice;
}

export async function stage(options: Partial<Export> = {}): Promise<Stage> {
  const memory = new MemoryDevice(SIZE);
  const device = new FaultyDevice(memory);
  return { memory, device, ...(await served([{ name: 'a', device, ...options }])) };
}
