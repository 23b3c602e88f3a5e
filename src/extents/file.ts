/** The face of a file on extents; what stands behind it follows. */
import type { Buffers, Extent } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { CommitResult, FileStatistics } from './contract.js';

export class ExtentFile {
  name = '';
  /** Number of the file: it stays when the name changes. */
  readonly file: number = 0;
  readonly isReadOnly: boolean = false;

  /** With what is not committed. */
  get sizeBytes(): number {
    throw soon();
  }

  get statistics(): FileStatistics {
    throw soon();
  }

  /** One's own uncommitted writes too. OUT_OF_RANGE past the end. */
  async read(_offset: number, _into: Buffers): Promise<void> {
    throw soon();
  }

  /** At any byte; the file grows. NO_SPACE where no journal extent is to be had: then nothing of it is written. */
  async write(_offset: number, _from: Buffers): Promise<void> {
    throw soon();
  }

  /** Reads as zeroes afterwards, and whole blocks have no room any more. Within the size. */
  async clear(_offset: number, _length: number): Promise<void> {
    throw soon();
  }

  async resize(_sizeBytes: number): Promise<void> {
    throw soon();
  }

  async extents(_offset: number, _length: number): Promise<Extent[]> {
    throw soon();
  }

  /** All that was acknowledged before, whole or not at all whatever happens; durable when it answers. */
  async commit(): Promise<CommitResult> {
    throw soon();
  }

  /** What is not committed outlives this process, and is seen by nobody else. */
  async keep(): Promise<void> {
    throw soon();
  }

  /** What is not committed is gone. */
  async discard(): Promise<void> {
    throw soon();
  }

  /** Of one who opened it. With the last one, what is neither committed nor kept is gone. */
  async close(): Promise<void> {
    throw soon();
  }
}

function soon(): UserError {
  return new UserError('UNSUPPORTED', 'files on extents are not there yet');
}
