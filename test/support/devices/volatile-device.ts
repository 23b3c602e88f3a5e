/**
 * A device with a volatile cache whose power can be cut, by the project's crash model (docs/crash-model.md):
 *
 * - Durable are the writes that completed before the submission of a flush that completed, and fua writes
 *   that completed. Every other submitted write is volatile.
 * - After a cut each sector of 512 bytes holds one version: the newest durable one, or any volatile later
 *   one; never an older one.
 *
 * Several devices on one PowerSupply lose power at the same event, which is how arrays are tested.
 */
import { byteLength, copyOf } from '../../../src/device/buffers.js';
import { CallGuard } from '../../../src/device/call-guard.js';
import type { BlockDevice, Buffers, Extent, WriteOptions } from '../../../src/device/contract.js';
import { ExtentList } from '../../../src/device/extent-list.js';
import { MemoryDevice } from '../../../src/device/memory.js';
import { SparseMemory } from '../../../src/device/sparse-memory.js';
import { type Delay, turns } from '../../../src/lab/self/delays.js';
import { SeededRandom } from './seeded-random.js';

const SECTOR_BYTES = 512;

/** Which volatile writes a cut keeps. `random` draws one of the others. */
export type CutMode = 'none' | 'all' | 'prefix' | 'writes' | 'sectors' | 'random';

/** What several devices share: the power, and the count of events (submissions and completions). */
export class PowerSupply {
  #events = 0;
  #cutAt = Number.POSITIVE_INFINITY;
  #isOn = true;

  get isOn(): boolean {
    return this.#isOn;
  }

  get events(): number {
    return this.#events;
  }

  /** The power goes at this event (counted from 1), before what it stands for happens. */
  cutAtEvent(event: number): void {
    this.#cutAt = event;
  }

  cut(): void {
    this.#isOn = false;
  }

  /** Throws when the power is off. */
  event(): void {
    if (this.#isOn) this.#events += 1;
    if (this.#events >= this.#cutAt) this.#isOn = false;
    if (!this.#isOn) throw Object.assign(new Error('the power is off'), { code: 'EIO' });
  }
}

/** One write, as a power cut sees it. */
interface VolatileWrite {
  readonly sequence: number;
  completed: boolean;
}

interface SectorVersion {
  readonly write: VolatileWrite;
  /** null reads as zeroes. */
  readonly bytes: Uint8Array | null;
}

export interface VolatileDeviceOptions {
  readonly name?: string;
  readonly blockSize?: number;
  readonly seed?: number;
  /** Complete calls late and out of order; turns of the event loop. */
  readonly maxDelayTurns?: number;
  readonly power?: PowerSupply;
  /** Asked for every barrier when it is called; one that is not kept does nothing (a flush) or is a plain write (fua). */
  readonly keepsBarrier?: ((kind: 'flush' | 'fua') => boolean) | undefined;
}

export class VolatileDevice implements BlockDevice {
  readonly name: string;
  readonly size: number;
  readonly blockSize: number;
  readonly readOnly = false;
  readonly power: PowerSupply;
  readonly #guard: CallGuard;
  readonly #delay: Delay | undefined;
  readonly #keepsBarrier: (kind: 'flush' | 'fua') => boolean;
  /** What reads see: every write that was submitted. */
  readonly #current: SparseMemory;
  readonly #durable: SparseMemory;
  /** Versions later than the durable one of each sector, oldest first. */
  readonly #volatile = new Map<number, SectorVersion[]>();
  #sequence = 0;

  /** `content`: what the device holds, all of it durable; it is taken over. */
  constructor(size: number, options: VolatileDeviceOptions = {}, content = new SparseMemory(SECTOR_BYTES)) {
    this.size = size;
    this.blockSize = options.blockSize ?? SECTOR_BYTES;
    this.name = options.name ?? 'volatile';
    this.power = options.power ?? new PowerSupply();
    this.#durable = content;
    this.#current = content.clone();
    this.#guard = new CallGuard(this);
    this.#keepsBarrier = options.keepsBarrier ?? (() => true);
    const maxTurns = options.maxDelayTurns ?? 0;
    this.#delay = maxTurns > 0 ? { random: new SeededRandom(options.seed ?? 1), maxTurns } : undefined;
  }

  /** Sectors that a cut now could leave in more than one version. */
  get volatileSectors(): number {
    return this.#volatile.size;
  }

  /** What a read of the first bytes would give, at once. */
  peek(into: Uint8Array): void {
    this.#current.read(0, into.length, into);
  }

  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#guard.run('read', offset, length, async () => {
      this.power.event();
      await turns(this.#delay);
      this.#current.read(offset, length, into);
    });
  }

  write(offset: number, from: Buffers, options: WriteOptions = {}): Promise<void> {
    const length = byteLength(from);
    const fua = options.fua === true && this.#keepsBarrier('fua');
    return this.#guard.run('write', offset, length, async () => {
      const bytes = copyOf(from);
      await this.#change(offset, length, bytes, fua);
    });
  }

  writeZeroes(offset: number, length: number, options: WriteOptions = {}): Promise<void> {
    return this.#guard.run('write-zeroes', offset, length, () =>
      this.#change(offset, length, null, options.fua === true),
    );
  }

  /** Zeroes, in a write of its own: until the next flush the old content may come back. */
  trim(offset: number, length: number): Promise<void> {
    return this.#guard.run('trim', offset, length, () => this.#change(offset, length, null, false));
  }

  flush(): Promise<void> {
    const isKept = this.#keepsBarrier('flush');
    return this.#guard.flush(async () => {
      this.power.event();
      if (!isKept) return;
      const covered = this.#completedWrites();
      await turns(this.#delay);
      this.power.event();
      for (const [sector, versions] of [...this.#volatile]) {
        const newest = versions.findLastIndex(({ write }) => covered.has(write));
        if (newest >= 0) this.#harden(sector, newest);
      }
    });
  }

  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#guard.ask(offset, length, [], async () => {
      const list = new ExtentList();
      this.#current.extents(offset, length, list);
      return list.list();
    });
  }

  close(): Promise<void> {
    return this.#guard.close(async () => {});
  }

  /**
   * Cuts the power (of the whole supply) and gives what the cut leaves on this device. Every later call
   * fails, as do those in flight. The same seed leaves the same content.
   */
  cutPower(seed: number, mode: CutMode = 'random'): MemoryDevice {
    this.power.cut();
    const random = new SeededRandom(seed);
    const chosen =
      mode === 'random' ? random.pick(['none', 'all', 'prefix', 'writes', 'sectors'] as const) : mode;
    const left = this.#durable.clone();
    const keeps = this.#keeper(chosen, random);
    for (const [sector, versions] of this.#volatile) {
      const kept = versions.filter(keeps);
      const version = chosen === 'sectors' ? pickOrNone(random, versions) : kept.at(-1);
      if (version !== undefined) put(left, sector, version);
    }
    return new MemoryDevice(this.size, { name: this.name, blockSize: this.blockSize }, left);
  }

  #keeper(mode: Exclude<CutMode, 'random'>, random: SeededRandom): (version: SectorVersion) => boolean {
    const upTo = random.between(0, this.#sequence);
    const fates = new Map<VolatileWrite, boolean>();
    return ({ write }) => {
      if (mode === 'all' || mode === 'sectors') return true;
      if (mode === 'none') return false;
      if (mode === 'prefix') return write.sequence <= upTo;
      const fate = fates.get(write) ?? random.chance(0.5);
      fates.set(write, fate);
      return fate;
    };
  }

  async #change(offset: number, length: number, bytes: Uint8Array | null, fua: boolean): Promise<void> {
    this.power.event();
    this.#sequence += 1;
    const write: VolatileWrite = { sequence: this.#sequence, completed: false };
    if (bytes === null) this.#current.zero(offset, length);
    else this.#current.write(offset, length, bytes);
    const sectors = this.#remember(write, offset, length, bytes);
    await turns(this.#delay);
    this.power.event();
    write.completed = true;
    if (!fua) return;
    for (const sector of sectors) {
      const index = this.#volatile.get(sector)?.findIndex((version) => version.write === write) ?? -1;
      if (index >= 0) this.#harden(sector, index);
    }
  }

  #remember(write: VolatileWrite, offset: number, length: number, bytes: Uint8Array | null): number[] {
    const sectors: number[] = [];
    for (let at = 0; at < length; at += SECTOR_BYTES) {
      const sector = (offset + at) / SECTOR_BYTES;
      const version = { write, bytes: bytes?.subarray(at, at + SECTOR_BYTES) ?? null };
      const versions = this.#volatile.get(sector);
      if (versions === undefined) this.#volatile.set(sector, [version]);
      else versions.push(version);
      sectors.push(sector);
    }
    return sectors;
  }

  /** Makes a version of a sector the durable one: it and those before it are volatile no more. */
  #harden(sector: number, index: number): void {
    const versions = this.#volatile.get(sector)!;
    put(this.#durable, sector, versions[index]!);
    const later = versions.slice(index + 1);
    if (later.length === 0) this.#volatile.delete(sector);
    else this.#volatile.set(sector, later);
  }

  #completedWrites(): Set<VolatileWrite> {
    const completed = new Set<VolatileWrite>();
    for (const versions of this.#volatile.values()) {
      for (const { write } of versions) if (write.completed) completed.add(write);
    }
    return completed;
  }
}

function pickOrNone(random: SeededRandom, versions: readonly SectorVersion[]): SectorVersion | undefined {
  return versions[random.below(versions.length + 1)];
}

function put(memory: SparseMemory, sector: number, { bytes }: SectorVersion): void {
  if (bytes === null) memory.zero(sector * SECTOR_BYTES, SECTOR_BYTES);
  else memory.write(sector * SECTOR_BYTES, SECTOR_BYTES, bytes);
}
