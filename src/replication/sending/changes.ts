/** What is done to a range of the primary, and to be done to its secondaries: zeroes travel as such, and a trim as zeroes. */
import type { BlockDevice } from '../../device/contract.js';

interface Place {
  /** Bytes. */
  readonly offset: number;
  readonly length: number;
}

export type Change =
  | (Place & { readonly kind: 'write'; readonly bytes: Uint8Array })
  | (Place & { readonly kind: 'write-zeroes' });

export function apply(device: BlockDevice, change: Change): Promise<void> {
  const { offset, length } = change;
  if (change.kind === 'write') return device.write(offset, change.bytes);
  return device.writeZeroes(offset, length);
}

/** Of memory. */
export function heldBytes(change: Change): number {
  return change.kind === 'write' ? change.bytes.byteLength : 0;
}

export function overlap(a: Place, b: Place): boolean {
  return a.offset < b.offset + b.length && b.offset < a.offset + a.length;
}
