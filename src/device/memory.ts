/**
 * A block device in memory, for tests and for what is not to outlive the process. It is sparse, so any size
 * can be had. Flush and fua have nothing to do: the memory is all the durability there is.
 */
import { byteLength } from './buffers.js';
import { CallGuard } from './call-guard.js';
import type { BlockDevice, Buffers, Extent } from './contract.js';
import { ExtentList } from './extent-list.js';
import { SparseMemory } from './sparse-memory.js';

export interface MemoryDeviceOptions {
  /** Bytes; 512 unless said otherwise. */
  readonly blockSize?: number;
  readonly name?: string;
  readonly readOnly?: boolean;
}

export class MemoryDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly: boolean;
  readonly #memory: SparseMemory;
  readonly #guard: CallGuard;

  /** `size` in bytes, rounded down to whole blocks. `content` is taken over, not copied. */
  constructor(size: number, options: MemoryDeviceOptions = {}, content?: SparseMemory) {
    this.blockSize = options.blockSize ?? 512;
    this.size = size - (size % this.blockSize);
    this.name = options.name ?? 'memory';
    this.readOnly = options.readOnly ?? false;
    this.#memory = content ?? new SparseMemory(this.blockSize);
    this.#guard = new CallGuard(this);
  }

  /** Bytes of memory that its content takes. */
  get allocatedBytes(): number {
    return this.#memory.allocatedBytes;
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, async () => this.#memory.read(offset, length, into));
  }

  write(offset: number, from: Buffers): Promise<void> {
    const length = byteLength(from);
    return this.#guard.run('write', offset, length, async () => this.#memory.write(offset, length, from));
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, async () => this.#memory.zero(offset, length));
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, async () => this.#memory.zero(offset, length));
  }

  flush(): Promise<void> {
    return this.#guard.flush(async () => {});
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      this.#memory.extents(offset, length, list);
      return list.list();
    });
  }

  close(): Promise<void> {
    return this.#guard.close(async () => {});
  }
}
