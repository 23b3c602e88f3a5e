/** A snapshot in place of its volume: what reads that reads what it held at the moment. */
import type { Volume } from '../model.js';
import { closeInOrder } from '../stack.js';
import { noSnapshot } from './operations.js';

/** Closing it closes the volume; `leave` leaves that open. Throws FILE_NOT_FOUND, METADATA_DAMAGED. */
export function snapshotOf(volume: Volume, name: string): Volume & { readonly leave: () => Promise<void> } {
  const { current } = volume.snapshots;
  if (current === null) throw noSnapshot(volume.label, name);
  const device = current.view(name);
  const leave = () => device.close();
  const close = () => closeInOrder([leave, () => volume.close()]);
  return { ...volume, device, moments: null, array: null, files: null, close, leave };
}
