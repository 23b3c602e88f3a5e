/**
 * A device whose reads and writes are prompt calls wherever they can be: what the conformance suite asks of `read` and
 * `write` it asks of `readNow` and `writeNow` so.
 */
import { bufferList, byteLength } from '../../../src/device/buffers.js';
import type { BlockDevice, Buffers, PromptDevice, WriteOptions } from '../../../src/device/contract.js';

export class Promptly implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly readOnly: boolean;

  constructor(private readonly below: PromptDevice) {
    this.name = below.name;
    this.size = below.size;
    this.readOnly = below.readOnly;
  }

  get blockSize(): number {
    return this.below.blockSize;
  }

  async read(offset: number, into: Buffers): Promise<void> {
    const isNow = into instanceof Uint8Array && this.below.readNow(offset, into);
    if (!isNow) await this.below.read(offset, into);
  }

  async write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const isNow = options.fua !== true && this.below.writeNow(offset, bufferList(from), byteLength(from));
    if (!isNow) await this.below.write(offset, from, options);
  }

  writeZeroes(offset: number, length: number, options?: WriteOptions): Promise<void> {
    return this.below.writeZeroes(offset, length, options);
  }

  trim(offset: number, length: number): Promise<void> {
    return this.below.trim(offset, length);
  }

  flush(): Promise<void> {
    return this.below.flush();
  }

  extents(offset: number, length: number) {
    return this.below.extents(offset, length);
  }

  close(): Promise<void> {
    return this.below.close();
  }
}
