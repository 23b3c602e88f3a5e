/**
 * The circular part of the epoch log. A position counts bytes since the opening; it lies at that, modulo the length. What
 * goes over the end is two calls.
 */
import { allEnded } from '../../device/all-ended.js';
import { byteLength, sliceBuffers } from '../../device/buffers.js';
import type { BlockDevice, Buffers } from '../../device/contract.js';
import { SLOTS_BYTES } from './slots.js';

export class Ring {
  constructor(
    readonly device: BlockDevice,
    readonly bytes: number,
  ) {}

  /** Byte of the device. */
  offsetOf(position: number): number {
    return SLOTS_BYTES + (position % this.bytes);
  }

  read(position: number, into: Buffers): Promise<void> {
    return this.parts(position, into, (offset, buffers) => this.device.read(offset, buffers));
  }

  write(position: number, from: Buffers): Promise<void> {
    return this.parts(position, from, (offset, buffers) => this.device.write(offset, buffers));
  }

  /** Whether anything but zeroes may lie in [position, position + length), which does not go over the end. */
  async hasData(position: number, length: number): Promise<boolean> {
    const extents = await this.device.extents(this.offsetOf(position), length);
    return extents.some(({ kind }) => kind === 'data');
  }

  private async parts(
    position: number,
    buffers: Buffers,
    call: (offset: number, buffers: Buffers) => Promise<void>,
  ): Promise<void> {
    const length = byteLength(buffers);
    const first = Math.min(length, this.bytes - (position % this.bytes));
    if (first === length) return call(this.offsetOf(position), buffers);
    await allEnded([
      call(this.offsetOf(position), sliceBuffers(buffers, 0, first)),
      call(SLOTS_BYTES, sliceBuffers(buffers, first, length - first)),
    ]);
  }
}
