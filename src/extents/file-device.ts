/**
 * A file as a block device of any byte, to be served or exported. Its flush is the file's commit, and a write with fua is
 * followed by one, which takes all that was acknowledged before it along: what the device holds after any crash is
 * exactly a commit point, never a mixture. That is more than the contract of a device asks for.
 */
import { byteLength } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../device/contract.js';
import type { ExtentFile } from './file.js';

/** `close` closes the file (for this opener), and commits nothing. Its size is the file's when it was made. */
export class FileDevice implements BlockDevice {
  readonly blockSize = 1;
  readonly name: string;
  readonly size: number;
  readonly readOnly: boolean;
  readonly #guard: CallGuard;

  constructor(readonly file: ExtentFile) {
    this.name = file.name;
    this.size = file.sizeBytes;
    this.readOnly = file.isReadOnly;
    this.#guard = new CallGuard(this);
  }

  read(offset: number, into: Buffers): Promise<void> {
    return this.#guard.run('read', offset, byteLength(into), () => this.file.read(offset, into));
  }

  write(offset: number, from: Buffers, { fua = false }: WriteOptions = {}): Promise<void> {
    return this.#guard.run('write', offset, byteLength(from), () =>
      this.#committed(fua, () => this.file.write(offset, from)),
    );
  }

  writeZeroes(offset: number, length: number, { fua = false }: WriteOptions = {}): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, () =>
      this.#committed(fua, () => this.file.clear(offset, length)),
    );
  }

  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, () => this.file.clear(offset, length));
  }

  flush(): Promise<void> {
    // A file that is read only has nothing to commit.
    return this.#guard.flush(async () => {
      if (!this.readOnly) await this.file.commit();
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], () => this.file.extents(offset, length));
  }

  close(): Promise<void> {
    return this.#guard.close(() => this.file.close());
  }

  async #committed(isDurable: boolean, change: () => Promise<void>): Promise<void> {
    await change();
    if (isDurable) await this.file.commit();
  }
}
