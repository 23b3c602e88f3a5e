/**
 * Which versions each sector of an array has had, and which of them it may read as after a cut: none older than the
 * last that was flushed, none that was not submitted (docs/crash-model.md, 1).
 */

import type { Recorder } from '../../../crash/recorder.js';
import type { BlockDevice } from '../../../device/contract.js';

export const SECTOR_BYTES = 512;
/** In place of a version: the sector reads as something that was never written there. */
export const UNKNOWN = -1;
/** In place of a version: the read is refused. */
export const REFUSED = -2;

/** Of each sector the oldest and the newest version that it may read as. */
export interface Owed {
  readonly oldest: Uint16Array;
  readonly newest: Uint16Array;
}

export class RaidHistory {
  readonly sectors: number;
  private readonly versions: Uint8Array[][];
  /** Of each version the first one with the same content. */
  private readonly firstAlike: number[][];
  private readonly answered: Uint16Array;
  private current: Owed;

  /** Of an array that holds `content`, durably. */
  constructor(content: Uint8Array) {
    this.sectors = content.length / SECTOR_BYTES;
    this.versions = Array.from({ length: this.sectors }, (_, sector) => [sectorOf(content, sector)]);
    this.firstAlike = this.versions.map(() => [0]);
    this.answered = new Uint16Array(this.sectors);
    this.current = { oldest: new Uint16Array(this.sectors), newest: new Uint16Array(this.sectors) };
  }

  /** What is owed now; what it says never changes. */
  get owed(): Owed {
    return this.current;
  }

  /** Before it is submitted. No other write of these sectors is in flight. */
  submitted(offset: number, bytes: Uint8Array): void {
    const newest = this.current.newest.slice();
    for (const [sector, content] of sectorsOf(offset, bytes)) {
      const versions = this.versions[sector]!;
      const alike = this.find(sector, content);
      this.firstAlike[sector]!.push(alike < 0 ? versions.length : this.firstAlike[sector]![alike]!);
      newest[sector] = versions.length;
      versions.push(content);
    }
    this.current = { ...this.current, newest };
  }

  answeredWrite(offset: number, bytes: Uint8Array, isDurable: boolean): void {
    const oldest = this.current.oldest.slice();
    for (const [sector] of sectorsOf(offset, bytes)) {
      this.answered[sector] = this.current.newest[sector]!;
      if (isDurable) oldest[sector] = this.answered[sector]!;
    }
    if (isDurable) this.current = { ...this.current, oldest };
  }

  /** A flush begins. To be called when it was answered. */
  flushing(): () => void {
    const covered = this.answered.slice();
    return () => {
      const oldest = this.current.oldest.map((was, sector) => Math.max(was, covered[sector]!));
      this.current = { ...this.current, oldest };
    };
  }

  /** Which version each sector of some bytes is. */
  classify(offset: number, bytes: Uint8Array, into: Int16Array): void {
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      const sector = (offset + at) / SECTOR_BYTES;
      const found = this.find(sector, bytes.subarray(at, at + SECTOR_BYTES));
      into[sector] = found < 0 ? UNKNOWN : this.firstAlike[sector]![found]!;
    }
  }

  private find(sector: number, content: Uint8Array): number {
    const versions = this.versions[sector]!;
    for (let index = versions.length - 1; index >= 0; index--) {
      const version = versions[index]!;
      if (version[0] === content[0] && Buffer.compare(version, content) === 0) return index;
    }
    return -1;
  }

  /** The first sector that reads as something that it may not, or -1. What is refused is not looked at. */
  firstWrong(found: Int16Array, { oldest, newest }: Owed): number {
    for (let sector = 0; sector < this.sectors; sector++) {
      const version = found[sector]!;
      if (version === REFUSED || (oldest[sector]! <= version && version <= newest[sector]!)) continue;
      const alike = this.firstAlike[sector]!.slice(oldest[sector]!, newest[sector]! + 1);
      if (!alike.includes(version)) return sector;
    }
    return -1;
  }
}

function sectorOf(content: Uint8Array, sector: number): Uint8Array {
  return content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
}

function* sectorsOf(offset: number, bytes: Uint8Array): Generator<[number, Uint8Array]> {
  for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
    yield [(offset + at) / SECTOR_BYTES, bytes.subarray(at, at + SECTOR_BYTES)];
  }
}

/** An array (or what stands above it) whose writes and flushes are noted in the history and marked in the trace. */
export class WitnessedDevice {
  constructor(
    private readonly device: BlockDevice,
    private readonly history: RaidHistory,
    private readonly recorder: Recorder,
  ) {}

  async write(offset: number, bytes: Uint8Array, fua = false): Promise<void> {
    this.submit(offset, bytes);
    await this.device.write(offset, bytes, { fua });
    this.history.answeredWrite(offset, bytes, fua);
    if (fua) this.mark('fua answered');
  }

  async writeZeroes(offset: number, length: number): Promise<void> {
    const bytes = new Uint8Array(length);
    this.submit(offset, bytes);
    await this.device.writeZeroes(offset, length);
    this.history.answeredWrite(offset, bytes, false);
  }

  /** Writes that are made in some way of the caller's own, all at once. */
  async batch(
    writes: readonly { offset: number; from: Uint8Array }[],
    body: () => Promise<void>,
  ): Promise<void> {
    for (const { offset, from } of writes) this.submit(offset, from);
    await body();
    for (const { offset, from } of writes) this.history.answeredWrite(offset, from, false);
  }

  async flush(): Promise<void> {
    const answered = this.history.flushing();
    await this.device.flush();
    answered();
    this.mark('flush answered');
  }

  private submit(offset: number, bytes: Uint8Array): void {
    this.history.submitted(offset, bytes);
    this.mark('submitted');
  }

  private mark(name: string): void {
    this.recorder.mark(name, this.history.owed);
  }
}
