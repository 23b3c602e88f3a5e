/** Requests of the clients of a disk, told one by one. */
import type { DiskRequest, Operation, OperationKind } from '../../../src/crash/trace.js';
import { OwedDisk } from '../../../src/lab/volume/owed.js';

export const SECTOR = 512;

/** Each returns how many there are by then. */
export class Told {
  readonly requests: DiskRequest[] = [];
  #asked = 0;

  ask(kind: OperationKind, offset = 0, length = 0, value = 0, fua = false): Operation {
    const bytes = kind === 'write' ? new Uint8Array(length).fill(value) : null;
    const request = { number: this.#asked++, device: 0, kind, offset, length, bytes, fua };
    this.requests.push({ is: 'asked', at: 0, request });
    return request;
  }

  answer(request: Operation): number {
    return this.requests.push({ is: 'answered', at: 0, request });
  }

  done(kind: OperationKind, offset = 0, length = 0, value = 0, fua = false): number {
    return this.answer(this.ask(kind, offset, length, value, fua));
  }

  write(value: number, { sector = 0, fua = false } = {}): number {
    return this.done('write', sector * SECTOR, SECTOR, value, fua);
  }

  /** Which bytes the sector may be full of. */
  allowed(told: number, sector = 0): number[] {
    const owed = new OwedDisk(this.requests, 0, () => new Uint8Array(SECTOR));
    const index = owed.sectors.findIndex((each) => each.sector === sector);
    const { contents } = owed.sectors[index]!;
    return Array.from({ length: 10 }, (_, value) => value).filter((value) => {
      const content = contents.find(new Uint8Array(SECTOR).fill(value));
      return content >= 0 && owed.allows(index, content, told);
    });
  }
}
