/** What each sector may read as after a power cut, by the crash model: a version no older than the last flushed. */
const SECTOR_BYTES = 512;

export class SectorHistory {
  /** Of each sector the last flushed version and all later ones. */
  readonly #versions: Uint8Array[][];

  /** All zeroes, or `content`, and durable. */
  constructor(size: number, content = new Uint8Array(size)) {
    this.#versions = Array.from({ length: size / SECTOR_BYTES }, (_, sector) => [sectorOf(content, sector)]);
  }

  /** To be called before the write. */
  written(offset: number, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; at += SECTOR_BYTES) {
      this.#versions[(offset + at) / SECTOR_BYTES]!.push(bytes.subarray(at, at + SECTOR_BYTES));
    }
  }

  /** Of what was answered when a flush is called; one flush at a time. */
  snapshot(): number[] {
    return this.#versions.map((list) => list.length);
  }

  /** That flush was answered. */
  flushed(lengths: readonly number[]): void {
    for (const [sector, length] of lengths.entries()) this.#versions[sector]!.splice(0, length - 1);
  }

  /** A write with fua was answered; no other of these bytes was under way. */
  durable(offset: number, length: number): void {
    for (let sector = offset / SECTOR_BYTES; sector < (offset + length) / SECTOR_BYTES; sector++)
      this.#versions[sector]!.splice(0, this.#versions[sector]!.length - 1);
  }

  /** Throws if a sector is none of its versions; those that `isOwed` says no to may be anything. */
  check(content: Uint8Array, isOwed: (offset: number) => boolean = () => true): void {
    for (const [sector, list] of this.#versions.entries()) {
      if (!isOwed(sector * SECTOR_BYTES)) continue;
      const found = sectorOf(content, sector);
      if (list.some((version) => Buffer.compare(version, found) === 0)) continue;
      throw new Error(`sector ${sector} is none of its ${list.length} versions`);
    }
  }
}

function sectorOf(content: Uint8Array, sector: number): Uint8Array {
  return content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
}
