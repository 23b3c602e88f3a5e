/**
 * What all devices share that are only read: changes are refused by the guard, there is nothing to flush, and closing closes
 * nothing below.
 */
import { byteLength } from './buffers.js';
import { CallGuard } from './call-guard.js';
import type { BlockDevice, Buffers, Extent } from './contract.js';

export abstract class ReadOnlyDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = true;
  protected readonly guard: CallGuard;

  constructor({ name, size, blockSize }: Pick<BlockDevice, 'name' | 'size' | 'blockSize'>) {
    this.name = name;
    this.size = size;
    this.blockSize = blockSize;
    this.guard = new CallGuard(this);
  }

  abstract read(offset: number, into: Buffers): Promise<void>;
  abstract extents(offset: number, length: number): Promise<Extent[]>;

  write(offset: number, from: Buffers): Promise<void> {
    return this.guard.run('write', offset, byteLength(from), neverChanged);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.guard.run('write-zeroes', offset, length, neverChanged);
  }

  trim(offset: number, length: number): Promise<void> {
    return this.guard.run('trim', offset, length, neverChanged);
  }

  flush(): Promise<void> {
    return this.guard.flush(async () => {});
  }

  close(): Promise<void> {
    return this.guard.close(async () => {});
  }
}

/** The guard refuses what is read only. */
async function neverChanged(): Promise<void> {
  throw new Error('a device that is only read was changed');
}
