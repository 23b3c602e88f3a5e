/**
 * The images that a volume has open, and so locked. Those that leave a volume that is served leave it while it is open:
 * they are closed then, so that whoever wants them may have them.
 */
import type { BlockDevice } from '../device/contract.js';
import { closeInOrder } from './stack.js';

export class HeldImages {
  readonly #devices: Set<BlockDevice>;

  constructor(devices: Iterable<BlockDevice> = []) {
    this.#devices = new Set(devices);
  }

  list(): BlockDevice[] {
    return [...this.#devices];
  }

  has(device: BlockDevice): boolean {
    return this.#devices.has(device);
  }

  add(device: BlockDevice): void {
    this.#devices.add(device);
  }

  /** Closes one before the volume is closed: nobody may be about to use it. */
  async release(device: BlockDevice): Promise<void> {
    this.#devices.delete(device);
    await device.close();
  }

  /** @throws the first failure, when all are closed. */
  close(): Promise<void> {
    return closeInOrder(this.list().map((device) => () => this.release(device)));
  }
}
