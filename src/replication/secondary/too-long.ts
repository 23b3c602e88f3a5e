/** Who writes more without a flush than an epoch may hold is refused. */
import type { DeviceError, DeviceFault } from '../../device/contract.js';
import { refusal } from '../../device/device-errors.js';

/** `taker`: what takes no longer ones. */
export function epochTooLong(fault: DeviceFault, epochBytes: number, taker: string): DeviceError {
  const why = `the epoch would be longer than the ${epochBytes} bytes that ${taker} takes`;
  const hint = 'Give the secondary a longer epoch log; or flush the volume more often.';
  return refusal('REFUSED', why, fault, hint);
}
