/**
 * What a map file says at an opening. What is in doubt has all its bits, or none where the map lets something be passed over:
 *
 * - a page that is no good, or that the auxiliary map names and that is not there. A power cut leaves the same of a page
 *   that was being written for the first time: then it is only more work;
 * - where a page of the auxiliary map is no good, every page that it could name: those that are good count as they are.
 *
 * A page that is not named does not count, whatever lies in its place. Only named pages are read, many at a time: a map of
 * a large volume with few bits is opened quickly.
 */
import type { BlockDevice } from '../../device/contract.js';
import type { BlockRange } from '../blocks.js';
import { SECTOR_BYTES } from '../file-header.js';
import { type ReadSectors, readSectors } from '../sector-reads.js';
import { BlockMap } from './block-map.js';
import { decodePage, type MapLayout } from './page.js';
import { PAGE_BITS } from './words.js';

/** What becomes of blocks of which nobody can tell whether they are in the map. */
export interface Doubt {
  readonly isSet: boolean;
  /** For people. */
  readonly means: string;
}

export interface FoundMap {
  readonly map: BlockMap;
  /** What pages that are good say: it is on disk. */
  readonly kept: BlockMap;
  /** A bit for each page that the auxiliary map names, or may have named. */
  readonly named: BlockMap;
  /** Pages that count as full because of what they are. */
  readonly badPages: Set<number>;
  readonly badAuxiliary: Set<number>;
  readonly generation: number;
  /** What `badPages` have blocks for. */
  readonly inDoubt: readonly BlockRange[];
  /** For people: file, offset and blocks. */
  readonly damage: readonly string[];
}

/** Gaps that are not worth another read. */
const GAP_PAGES = 128;
const READ_PAGES = 2048;

export async function readMap(
  device: BlockDevice,
  layout: MapLayout,
  { id, blocks, doubt }: { readonly id: bigint; readonly blocks: number; readonly doubt: Doubt },
): Promise<FoundMap> {
  const reading = new MapReading(device, layout, { id, blocks, doubt });
  await reading.readAuxiliary();
  for (const { from, count } of clusters(reading.named)) await reading.readPages(from, count);
  return { ...reading.found(), damage: reading.sentences() };
}

class MapReading {
  readonly named: BlockMap;
  readonly #map: BlockMap;
  readonly #kept: BlockMap;
  readonly #badPages = new Set<number>();
  readonly #badAuxiliary = new Set<number>();
  readonly #doubts: { first: number; last: number; why: string }[] = [];
  readonly #damage: string[] = [];
  #generation = 0;

  constructor(
    private readonly device: BlockDevice,
    private readonly layout: MapLayout,
    private readonly of: { readonly id: bigint; readonly blocks: number; readonly doubt: Doubt },
  ) {
    const { blocks } = of;
    this.#map = new BlockMap(blocks);
    this.#kept = new BlockMap(blocks);
    this.named = new BlockMap(layout.pages);
  }

  found(): Omit<FoundMap, 'damage'> {
    return {
      map: this.#map,
      kept: this.#kept,
      named: this.named,
      badPages: this.#badPages,
      badAuxiliary: this.#badAuxiliary,
      generation: this.#generation,
      inDoubt: [...this.#badPages].map((page) => this.#blocksOf(page)),
    };
  }

  async readAuxiliary(): Promise<void> {
    const read = await readSectors(this.device, this.layout.offsetOf('pages', 0), this.layout.auxiliaryPages);
    for (let number = 0; number < this.layout.auxiliaryPages; number++) {
      const bits = this.named.bitsOf(number);
      const page = this.#decode(read, number, { kind: 'pages', number, bits });
      if (!('bad' in page)) {
        this.named.putPage(number, page.words);
        continue;
      }
      this.#badAuxiliary.add(number);
      this.named.fillPage(number);
      const first = number * PAGE_BITS;
      const offset = this.layout.offsetOf('pages', number);
      this.#damage.push(
        `${this.device.name}: page ${number} of the auxiliary map at offset ${offset} is damaged: ${page.bad}; each of the pages ${first} to ${first + bits - 1} of the map is looked at`,
      );
    }
  }

  async readPages(first: number, count: number): Promise<void> {
    const read = await readSectors(this.device, this.layout.offsetOf('blocks', first), count);
    for (let number = first; number < first + count; number++) {
      if (!this.named.has(number)) continue;
      const bits = this.#map.bitsOf(number);
      const page = this.#decode(read, number - first, { kind: 'blocks', number, bits });
      if ('bad' in page) this.#doubt(number, page.bad);
      else {
        this.#map.putPage(number, page.words);
        this.#kept.putPage(number, page.words);
      }
    }
  }

  #decode(read: ReadSectors, index: number, expected: Parameters<typeof decodePage>[2]) {
    const why = read.unread.get(index);
    const page = why === undefined ? decodePage(read.at(index), this.of.id, expected) : { bad: why };
    if (!('bad' in page)) this.#generation = Math.max(this.#generation, page.generation);
    return page;
  }

  #doubt(number: number, why: string): void {
    this.#badPages.add(number);
    if (this.of.doubt.isSet) this.#map.set(this.#blocksOf(number));
    const last = this.#doubts.at(-1);
    if (last !== undefined && last.last === number - 1 && last.why === why) last.last = number;
    else this.#doubts.push({ first: number, last: number, why });
  }

  #blocksOf(page: number): BlockRange {
    return { from: page * PAGE_BITS, count: this.#map.bitsOf(page) };
  }

  sentences(): string[] {
    const blocks = this.#map.blocks;
    return [
      ...this.#damage,
      ...this.#doubts.map(({ first, last, why }) => {
        const pages = first === last ? `page ${first}` : `pages ${first} to ${last}`;
        const range = `${first * PAGE_BITS} to ${Math.min(blocks, (last + 1) * PAGE_BITS) - 1}`;
        const offset = this.layout.offsetOf('blocks', first);
        const length = (last - first + 1) * SECTOR_BYTES;
        return `${this.device.name}: ${pages} of the map at offset ${offset}, ${length} bytes, cannot be used: ${why}; blocks ${range} all ${this.of.doubt.means}`;
      }),
    ];
  }
}

/** Pages in few reads: runs that lie close together, none longer than a large read. */
function* clusters(named: BlockMap): Generator<{ from: number; count: number }> {
  let from = -1;
  let end = 0;
  for (
    let run = named.next(0, READ_PAGES);
    run !== null;
    run = named.next(run.from + run.count, READ_PAGES)
  ) {
    const runEnd = run.from + run.count;
    if (from >= 0 && run.from - end <= GAP_PAGES && runEnd - from <= READ_PAGES) {
      end = runEnd;
      continue;
    }
    if (from >= 0) yield { from, count: end - from };
    from = run.from;
    end = runEnd;
  }
  if (from >= 0) yield { from, count: end - from };
}
