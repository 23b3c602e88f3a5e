/**
 * One device in a state that is explored: a block device over content that other states share. It is as fast as a
 * device can be, since hundreds of calls go to it for each of hundreds of thousands of states: a call that nothing
 * is to be said against is done when it returns. Flush and fua have nothing to do.
 */
import { bufferList, byteLength } from '../device/buffers.js';
import { CallGuard } from '../device/call-guard.js';
import type { BlockDevice, Buffers, Extent } from '../device/contract.js';
import { ExtentList } from '../device/extent-list.js';
import type { StateContent } from './state-content.js';
import { HASH_WORDS, SECTOR_BYTES } from './state-hash.js';

const DONE = Promise.resolve();

export interface StateDeviceOptions {
  readonly name: string;
  /** Bytes, whole sectors. */
  readonly size: number;
  readonly readOnly?: boolean;
}

export class StateDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize = SECTOR_BYTES;
  readonly readOnly: boolean;
  private readonly guard: CallGuard;
  private isClosed = false;
  private changes = 0;

  /** `content` is taken over. */
  constructor(
    readonly content: StateContent,
    options: StateDeviceOptions,
  ) {
    this.name = options.name;
    this.size = options.size;
    this.readOnly = options.readOnly ?? false;
    this.guard = new CallGuard(this);
  }

  /** How many calls have changed it, or could have: a look makes none. */
  get writes(): number {
    return this.changes;
  }

  /** Another device that holds the same and is open. */
  fork(options: Pick<StateDeviceOptions, 'readOnly'> = {}): StateDevice {
    const { name, size } = this;
    return new StateDevice(this.content.fork(), { name, size, ...options });
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    if (!this.isPlain(offset, length))
      return this.guard.run('read', offset, length, () => this.fill(offset, into));
    return this.fill(offset, into);
  }

  write(offset: number, from: Buffers): Promise<void> {
    const length = byteLength(from);
    if (this.readOnly || !this.isPlain(offset, length))
      return this.guard.run('write', offset, length, () => this.take(offset, from));
    return this.take(offset, from);
  }

  writeZeroes(offset: number, length: number): Promise<void> {
    return this.guard.run('write-zeroes', offset, length, () => this.clear(offset, length));
  }

  trim(offset: number, length: number): Promise<void> {
    return this.guard.run('trim', offset, length, () => this.clear(offset, length));
  }

  flush(): Promise<void> {
    return this.guard.flush(() => DONE);
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      for (let at = offset; at < offset + length; ) {
        const { isData, end } = this.content.allocated(at);
        let stop = end;
        for (let next = stop; next < offset + length; next = stop) {
          const more = this.content.allocated(next);
          if (more.isData !== isData) break;
          stop = more.end;
        }
        stop = Math.min(stop, offset + length);
        list.add(at, stop - at, isData ? 'data' : 'hole');
        at = stop;
      }
      return list.list();
    });
  }

  close(): Promise<void> {
    this.isClosed = true;
    return this.guard.close(() => DONE);
  }

  /** Nothing is to be said against a call of this range; what may be wrong is the guard's to say. */
  private isPlain(offset: number, length: number): boolean {
    return (
      !this.isClosed &&
      offset >= 0 &&
      offset % SECTOR_BYTES === 0 &&
      length % SECTOR_BYTES === 0 &&
      offset + length <= this.size
    );
  }

  private fill(offset: number, into: Buffers): Promise<void> {
    let at = offset;
    for (const bytes of bufferList(into)) {
      this.content.read(at, bytes);
      at += bytes.length;
    }
    return DONE;
  }

  private take(offset: number, from: Buffers): Promise<void> {
    this.changes += 1;
    let at = offset;
    for (const bytes of bufferList(from)) {
      this.content.write(at, bytes);
      at += bytes.length;
    }
    return DONE;
  }

  private clear(offset: number, length: number): Promise<void> {
    this.changes += 1;
    this.content.zero(offset, length);
    return DONE;
  }
}

/** The same for devices that hold the same; null: it is missing. */
export function hashOf(devices: readonly (StateDevice | null)[]): string {
  const words = new Int32Array(devices.length * HASH_WORDS);
  for (const [at, device] of devices.entries()) device?.content.hash(words, at * HASH_WORDS);
  return words.join();
}
