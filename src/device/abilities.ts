/** What only some devices can do (device/contract.ts), for a layer that has one of any kind below it. */
import { allEnded } from './all-ended.js';
import type { BatchDevice, BatchWrite, BlockDevice, PromptDevice } from './contract.js';

export function isBatchDevice(device: BlockDevice): device is BatchDevice {
  return 'writeBatch' in device;
}

/** One batch where the device takes batches, else as many writes at once; then it ends when all of them have. */
export function writeAll(device: BlockDevice, batch: readonly BatchWrite[]): Promise<void> {
  if (isBatchDevice(device)) return device.writeBatch(batch);
  return allEnded(batch.map(({ offset, from }) => device.write(offset, from)));
}

/** The same device where it has prompt calls. */
export function promptOf(device: BlockDevice | PromptDevice): PromptDevice | null {
  return 'readNow' in device ? device : null;
}
