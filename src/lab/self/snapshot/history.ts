/**
 * What was written to a volume whose moments are kept, as far as it matters after a cut: which versions each sector has had, and
 * what the volume held at each moment.
 */
import { SECTOR_BYTES } from '../../../crash/state-hash.js';

/** Of writes behind a cut: they are owed to nobody. */
export const AFTERMATH = 0x4000_0000;

/** Of each sector: the first version that may be there. */
export type Floors = readonly number[];

/** Content of some sectors in which each knows the write; 0: zeroes. */
export function stamped(stamp: number, sector: number, sectors: number): Uint8Array {
  const bytes = new Uint8Array(sectors * SECTOR_BYTES);
  if (stamp === 0) return bytes;
  bytes.fill(((stamp * 31 + sector) % 255) | 1);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < sectors; at++) view.setUint32(at * SECTOR_BYTES, stamp);
  return bytes;
}

/** The write that each sector has. */
export function stampsOf(content: Uint8Array): number[] {
  const view = new DataView(content.buffer, content.byteOffset);
  return Array.from({ length: content.length / SECTOR_BYTES }, (_, sector) =>
    view.getUint32(sector * SECTOR_BYTES),
  );
}

export class SnapshotHistory {
  /** What was answered. */
  content: Uint8Array;
  /** What the volume held at each moment, by its name. */
  readonly held = new Map<string, Uint8Array>();
  floors: Floors;
  readonly #versions: number[][];
  #answered: number[];

  constructor(content: Uint8Array) {
    this.content = content.slice();
    this.#versions = stampsOf(content).map((stamp) => [stamp]);
    this.#answered = this.#versions.map(() => 0);
    this.floors = this.#answered.slice();
  }

  /** Of bytes from `offset` on; `call` changes the volume. */
  async write(offset: number, bytes: Uint8Array, call: () => Promise<void>): Promise<void> {
    const first = offset / SECTOR_BYTES;
    const stamps = stampsOf(bytes);
    const numbers = stamps.map((stamp, at) => this.#versions[first + at]!.push(stamp) - 1);
    await call();
    this.content.set(bytes, offset);
    for (const [at, number] of numbers.entries()) this.#answered[first + at] = number;
  }

  async flush(call: () => Promise<void>): Promise<void> {
    const answered = this.#answered.slice();
    await call();
    this.floors = this.floors.map((floor, sector) => Math.max(floor, answered[sector]!));
  }

  /** Whoever wrote it was killed: this is there now. */
  found(content: Uint8Array): void {
    this.content = content.slice();
    this.#answered = stampsOf(content).map((stamp, sector) => this.#versions[sector]!.lastIndexOf(stamp));
    const lost = this.#answered.findIndex((number, sector) => number < this.floors[sector]!);
    if (lost >= 0) throw new Error(`sector ${lost} was flushed and is gone with the process`);
  }

  /** The moment is now. */
  hold(name: string): void {
    if (!this.held.has(name)) this.held.set(name, this.content.slice());
  }

  /** The first sector that holds what it may not; -1: there is none. */
  wrongSector(stamps: readonly number[], floors: Floors, mayBeNoise: boolean): number {
    return stamps.findIndex((stamp, sector) => {
      const version = this.#versions[sector]!.lastIndexOf(stamp);
      if (version < 0 && (mayBeNoise || stamp >= AFTERMATH)) return false;
      return version < floors[sector]!;
    });
  }
}

/** What is owed to whoever finds what a cut left. */
export interface SnapshotsOwed {
  readonly floors: Floors;
  /** These are there, and good. */
  readonly there: readonly string[];
  /** These are not. */
  readonly gone: readonly string[];
  /** Of the backup whose end was answered; null: none was. */
  readonly backup: string | null;
  /** These may be unusable. */
  readonly mayBeLost: 'none' | 'all';
}
