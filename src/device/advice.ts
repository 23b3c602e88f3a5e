/** Advice for devices: what a layer passes on to the one below it, if that understands it. */
import type { AdvisedDevice, BlockDevice } from './contract.js';

/** See AdvisedDevice. */
export function adviseWrite(device: BlockDevice | AdvisedDevice, offset: number, length: number): void {
  if ('willWrite' in device) device.willWrite(offset, length);
}
