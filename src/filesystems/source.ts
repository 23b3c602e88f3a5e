/**
 * Bytes of a device, or of a part of it, at any offset, and every one counted that the device was asked for.
 *
 * A range that does not exist is asked for because something on the disk says so: it is Untrusted, not a fault of ours. An
 * error of the device is thrown as it is: a device that cannot be read cannot be copied either.
 */
import type { BlockDevice } from '../device/contract.js';
import { type Region, Untrusted } from './contract.js';

export interface ByteSource {
  readonly sizeBytes: number;
  /** A buffer of the caller's own. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

export class CountedReads implements ByteSource {
  readBytes = 0;
  readonly sizeBytes: number;

  constructor(private readonly device: BlockDevice) {
    this.sizeBytes = device.size;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    refuseOutside(this.sizeBytes, offset, length);
    const unit = this.device.blockSize;
    const start = Math.floor(offset / unit) * unit;
    const end = Math.ceil((offset + length) / unit) * unit;
    const bytes = new Uint8Array(end - start);
    this.readBytes += bytes.byteLength;
    await this.device.read(start, bytes);
    return bytes.subarray(offset - start, offset - start + length);
  }
}

/** A part, as if it were all there is. */
export class PartSource implements ByteSource {
  readonly sizeBytes: number;

  constructor(
    private readonly whole: ByteSource,
    private readonly region: Region,
  ) {
    this.sizeBytes = region.lengthBytes;
  }

  async read(offset: number, length: number): Promise<Uint8Array> {
    refuseOutside(this.sizeBytes, offset, length);
    return this.whole.read(this.region.offsetBytes + offset, length);
  }
}

function refuseOutside(sizeBytes: number, offset: number, length: number): void {
  if (offset < 0 || !Number.isSafeInteger(offset + length) || offset + length > sizeBytes) {
    throw new Untrusted(`something at ${offset} is named, and there are ${sizeBytes} bytes`);
  }
}
