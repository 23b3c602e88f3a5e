/**
 * What a primary was at each moment: after each change, in the order in which they ended on it, which is the order in which
 * they are sent. What a secondary holds is one of these; what the primary holds after a cut is told sector by sector.
 */
import { createHash } from 'node:crypto';
import { BLOCK_BYTES, type BlockRange } from '../../../replication/blocks.js';
import { VOLUME_SECTORS } from './pair-devices.js';
import { SECTOR_BYTES, type SecondaryName } from './replica-list.js';

interface Version {
  readonly moment: number;
  readonly bytes: Uint8Array;
}

export class PairHistory {
  /** The number of changes so far. */
  moment = 0;
  readonly #versions: Version[][];
  readonly #content: Uint8Array;
  readonly #momentsFor = new Map<SecondaryName, Moments>();

  constructor(content: Uint8Array) {
    this.#content = content.slice();
    this.#versions = Array.from({ length: VOLUME_SECTORS }, (_, sector) => [
      { moment: 0, bytes: sectorOf(content, sector).slice() },
    ]);
  }

  /** From now on a secondary is to have its moments. What is `uncopied` is never copied to it. */
  joined(secondary: SecondaryName, uncopied: readonly BlockRange[]): void {
    this.#momentsFor.set(secondary, new Moments(this.moment, this.#content, uncopied));
  }

  changed(offset: number, bytes: Uint8Array): void {
    this.moment += 1;
    this.#content.set(bytes, offset);
    this.#seen(bytes, offset / SECTOR_BYTES);
    for (const moments of this.#momentsFor.values()) moments.changed(this.moment, offset, bytes);
  }

  /** A process was killed, and this is what it left. */
  found(content: Uint8Array): void {
    this.moment += 1;
    const before = this.#versions.map(([first]) => first!.bytes);
    const isUntouched = (sector: number) => Buffer.compare(before[sector]!, sectorOf(content, sector)) === 0;
    this.#content.set(content);
    this.#seen(content, 0);
    for (const moments of this.#momentsFor.values()) moments.found(this.moment, content, isUntouched);
  }

  /** The moments at which it was this, as the secondary has it, ascending. */
  momentsOf(secondary: SecondaryName, content: Uint8Array): readonly number[] {
    return this.#momentsFor.get(secondary)?.of(content) ?? [];
  }

  /** Of each sector the moment since which it was as it is now. */
  versions(): Uint32Array {
    return Uint32Array.from(this.#versions, (versions) => versions.at(-1)!.moment);
  }

  /** Of each sector the last moment of which it may be; what no version is counts as the newest. */
  versionsOf(content: Uint8Array): Uint32Array {
    return Uint32Array.from(this.#versions, (versions, sector) => {
      const bytes = sectorOf(content, sector);
      const found = versions.findLast((version) => Buffer.compare(version.bytes, bytes) === 0);
      return found?.moment ?? 0xffff_ffff;
    });
  }

  #seen(bytes: Uint8Array, first: number): void {
    for (let sector = 0; sector < bytes.byteLength / SECTOR_BYTES; sector++)
      this.#versions[first + sector]!.push({
        moment: this.moment,
        bytes: sectorOf(bytes, sector).slice(),
      });
  }
}

/** What a secondary was at the ends of its epochs, which are the moments of a secondary that it has itself. */
export class EpochHistory {
  /** The number of epochs so far. */
  moment = 0;
  readonly #moments: Moments;

  constructor(content: Uint8Array) {
    this.#moments = new Moments(0, content, []);
  }

  changed(offset: number, bytes: Uint8Array): void {
    this.#moments.set(offset, bytes);
  }

  /** What there is now is one. */
  ended(): void {
    this.moment += 1;
    this.#moments.note(this.moment);
  }

  /** It was opened again, and this is there. */
  found(content: Uint8Array, isMoment: boolean): void {
    this.#moments.set(0, content);
    if (isMoment) this.ended();
  }

  momentsOf(content: Uint8Array): readonly number[] {
    return this.#moments.of(content);
  }
}

/** As a secondary has them: what is `uncopied` is taken for zeroes, as it is on one that was blank. */
class Moments {
  readonly #content: Uint8Array;
  readonly #moments = new Map<string, number[]>();

  constructor(
    moment: number,
    content: Uint8Array,
    private readonly uncopied: readonly BlockRange[],
  ) {
    this.#content = content.slice();
    for (const block of blocksIn(uncopied)) this.#blank(block);
    this.note(moment);
  }

  set(offset: number, bytes: Uint8Array): void {
    this.#content.set(bytes, offset);
  }

  changed(moment: number, offset: number, bytes: Uint8Array): void {
    this.set(offset, bytes);
    this.note(moment);
  }

  found(moment: number, content: Uint8Array, isUntouched: (sector: number) => boolean): void {
    this.#content.set(content);
    for (const block of blocksIn(this.uncopied)) if (sectorsOf(block).every(isUntouched)) this.#blank(block);
    this.note(moment);
  }

  of(content: Uint8Array): readonly number[] {
    return this.#moments.get(digest(content)) ?? [];
  }

  #blank(block: number): void {
    this.#content.fill(0, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
  }

  note(moment: number): void {
    const key = digest(this.#content);
    const moments = this.#moments.get(key) ?? [];
    moments.push(moment);
    this.#moments.set(key, moments);
  }
}

function blocksIn(ranges: readonly BlockRange[]): number[] {
  return ranges.flatMap(({ from, count }) => Array.from({ length: count }, (_, at) => from + at));
}

function sectorsOf(block: number): number[] {
  const first = (block * BLOCK_BYTES) / SECTOR_BYTES;
  const end = Math.min(VOLUME_SECTORS, first + BLOCK_BYTES / SECTOR_BYTES);
  return Array.from({ length: end - first }, (_, at) => first + at);
}

function sectorOf(bytes: Uint8Array, sector: number): Uint8Array {
  return bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
}

function digest(content: Uint8Array): string {
  return createHash('sha1').update(content).digest('base64');
}
