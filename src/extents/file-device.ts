/** The face of a file as a block device; what stands behind it follows. */
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { ExtentFile } from './file.js';

/** `close` closes the file (for this opener), and commits nothing. */
export class FileDevice implements BlockDevice {
  readonly blockSize = 1;

  constructor(readonly file: ExtentFile) {}

  get name(): string {
    return this.file.name;
  }

  get size(): number {
    return this.file.sizeBytes;
  }

  get readOnly(): boolean {
    return this.file.isReadOnly;
  }

  async read(_offset: number, _into: Buffers): Promise<void> {
    throw soon();
  }

  async write(_offset: number, _from: Buffers, _options?: WriteOptions): Promise<void> {
    throw soon();
  }

  async writeZeroes(_offset: number, _length: number, _options?: WriteOptions): Promise<void> {
    throw soon();
  }

  async trim(_offset: number, _length: number): Promise<void> {
    throw soon();
  }

  async flush(): Promise<void> {
    throw soon();
  }

  async extents(_offset: number, _length: number): Promise<Extent[]> {
    throw soon();
  }

  async close(): Promise<void> {
    throw soon();
  }
}

function soon(): UserError {
  return new UserError('UNSUPPORTED', 'files on extents are not there yet');
}
