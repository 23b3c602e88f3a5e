/**
 * A map of blocks that outlives the process: a `BlockMap` and the file that has it on disk (coordinated dirty block tracking,
 * paragraphs 61, 82, 89 and 98). Bits are made durable when somebody asks for those of some blocks, and taken away there
 * when somebody asks for that; in between the file has bits that the map has not any more, which is only more work.
 *
 * Invariants
 * - What `persist` promised is found by every opening until the map has it no more. One round of writing is in flight, and
 *   a page that is written has all bits that the map has when the round is put together.
 * - `#kept` has only bits that are on disk durably and that no write in flight takes away: it loses what a round takes away
 *   when the round is put together, and gains what it brings when that is durable. So a bit that comes back while it is being
 *   taken away is written again by the next round. What an opening read may have been in the page cache alone: until a
 *   flush nothing is kept.
 * - A page and the page of the auxiliary map that names it are written in one round, with one flush behind both. Before the
 *   flush nothing was promised of what is new, and any mixture covers what was promised before: named and not yet there
 *   counts as full; there and not yet named, it had no bits before; what is not named any more and still there had bits that
 *   the map had given up, and the other way round they come back. A page that was there before and tore counts as full.
 * - A page without bits is not named, and then let go, when that is durable. Its old content may come back with a cut:
 *   nobody looks at it; and when the page is named again its own write is behind the same flush.
 * - A failed write or flush is final.
 */
import { randomBytes } from 'node:crypto';
import { allEnded } from '../../device/all-ended.js';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import type { BlockRange } from '../blocks.js';
import {
  encodeHeader,
  HEADER_OFFSETS,
  type HeaderKind,
  ofAnother,
  readHeader,
  SECTOR_BYTES,
  uuidBytes,
  writeHeader,
} from '../file-header.js';
import { Rounds } from '../rounds.js';
import { BlockMap } from './block-map.js';
import { MAP_HEADER, MAP_KINDS, MAP_MAGIC } from './fields.js';
import { type Doubt, type FoundMap, readMap } from './map-reader.js';
import { holesOf, roundOf } from './map-round.js';
import { MapLayout } from './page.js';
import { isWithin } from './words.js';

const KIND: HeaderKind = { what: 'the map of a replica', magic: MAP_MAGIC };

const COUNTS: Doubt = { isSet: true, means: 'count as in it' };
/** What counts as never copied is copied to nobody, and compared with nothing. */
const DOUBTS: Readonly<Record<MapOwner['kind'], Doubt>> = {
  dirty: COUNTS,
  uncopied: { isSet: false, means: 'count as dirty, and are copied' },
  putBack: COUNTS,
};

/** Whose map it is, and of what. */
export interface MapOwner {
  readonly volumeUuid: string;
  readonly replicaUuid: string;
  /** How many the volume has. */
  readonly blocks: number;
  readonly kind: keyof typeof MAP_KINDS;
}

/** Since it was opened; exact. */
export interface MapCounts {
  rounds: number;
  writes: number;
  bytes: number;
  flushes: number;
  trims: number;
}

export interface OpenedMap {
  readonly file: MapFile;
  /** Of these it could not be told: they count as in the map; or as not in it, where it is one of blocks to be passed over. */
  readonly inDoubt: readonly BlockRange[];
  /** For people: what could not be used, in which file, at which offset, and what becomes of which blocks for it. */
  readonly damage: readonly string[];
}

/** A header that the next round writes, where. */
interface HeaderWrite {
  readonly bytes: Uint8Array;
  readonly offsets: readonly number[];
}

type Wish = readonly BlockRange[] | 'release';

export class MapFile {
  readonly counts: MapCounts = { rounds: 0, writes: 0, bytes: 0, flushes: 0, trims: 0 };
  /** The map; whoever has the file sets and clears its bits. */
  readonly map: BlockMap;
  readonly #device: BlockDevice;
  readonly #id: bigint;
  readonly #layout: MapLayout;
  readonly #kept: BlockMap;
  readonly #named: BlockMap;
  /** Not good on disk, and counting as full there, or as in doubt. */
  readonly #badPages: Set<number>;
  readonly #badAuxiliary: Set<number>;
  readonly #rounds = new Rounds<Wish, true>((wishes) => this.#round(wishes));
  #generation: number;
  #header: HeaderWrite | null;
  #isSettled: boolean;
  #failure: { readonly error: unknown } | null = null;

  private constructor(
    device: BlockDevice,
    id: bigint,
    layout: MapLayout,
    found: Omit<FoundMap, 'inDoubt' | 'damage'>,
    header: HeaderWrite | null,
  ) {
    this.#device = device;
    this.#id = id;
    this.#layout = layout;
    this.map = found.map;
    this.#kept = found.kept;
    this.#named = found.named;
    this.#badPages = found.badPages;
    this.#badAuxiliary = found.badAuxiliary;
    this.#generation = found.generation;
    this.#header = header;
    this.#isSettled = false;
  }

  /** Makes a map without a bit, durably. Whatever was there is gone. The device has `mapFileBytes(blocks)` or more. */
  static async format(device: BlockDevice, owner: MapOwner): Promise<MapFile> {
    const file = MapFile.#anew(device, owner);
    await file.#rounds.add([]);
    return file;
  }

  /**
   * Reads the map; writes nothing. Where the header cannot be used every block is in the map, and the file is made anew
   * with the first bits that are persisted.
   *
   * @throws UserError REFUSED (of another volume or replica, or of another map of it), UNSUPPORTED (of a later holdfast),
   *   METADATA_DAMAGED (the file is cut short, so that it cannot take the map).
   */
  static async open(device: BlockDevice, owner: MapOwner): Promise<OpenedMap> {
    const layout = new MapLayout(owner.blocks);
    if (device.size < layout.fileBytes) throw cutShort(device, layout);
    const header = await readHeader(device, KIND, owner.volumeUuid);
    const doubt = DOUBTS[owner.kind];
    if ('damage' in header) return lost(MapFile.#anew(device, owner), doubt, header.damage);
    const { bytes, id, bad, warnings } = header;
    const view = MAP_HEADER.at(bytes);
    if (Buffer.compare(view.bytes('replica_uuid'), uuidBytes(owner.replicaUuid)) !== 0)
      throw ofAnother(device, KIND, 0, 'replica');
    if (view.number('kind') !== MAP_KINDS[owner.kind])
      throw ofAnother(device, KIND, 0, `purpose: kind ${view.number('kind')}`);
    const blocks = Number(view.big('blocks'));
    if (blocks !== owner.blocks) {
      const why = `${device.name}: ${KIND.what} is of ${blocks} blocks, and the volume has ${owner.blocks}`;
      return lost(MapFile.#anew(device, owner), doubt, why);
    }
    const found = await readMap(device, layout, { id, blocks, doubt });
    const mends = bad.length === 0 ? null : { bytes, offsets: bad };
    return {
      file: new MapFile(device, id, layout, found, mends),
      inDoubt: found.inDoubt,
      damage: [...warnings, ...found.damage],
    };
  }

  /** One of which nothing is on disk yet: the first round writes all of it. */
  static #anew(device: BlockDevice, owner: MapOwner): MapFile {
    const { blocks } = owner;
    const layout = new MapLayout(blocks);
    if (device.size < layout.fileBytes) throw cutShort(device, layout);
    const id = randomBytes(8).readBigUInt64LE();
    const bytes = encodeHeader(MAP_HEADER, KIND, { volumeUuid: owner.volumeUuid, id }, (into) => {
      const view = MAP_HEADER.at(into);
      view.setBytes('replica_uuid', uuidBytes(owner.replicaUuid));
      view.setBig('blocks', BigInt(blocks));
      view.setNumber('kind', MAP_KINDS[owner.kind]);
    });
    const nothing = {
      map: new BlockMap(blocks),
      kept: new BlockMap(blocks),
      named: new BlockMap(layout.pages),
      badPages: new Set<number>(),
      badAuxiliary: new Set(Array.from({ length: layout.auxiliaryPages }, (_, number) => number)),
      generation: 0,
    };
    return new MapFile(device, id, layout, nothing, { bytes, offsets: HEADER_OFFSETS });
  }

  /** Whether `persist` of these would have nothing to do. */
  isPersisted(ranges: readonly BlockRange[]): boolean {
    return this.#isSettled && this.#missing(ranges).next().done === true;
  }

  /**
   * When it returns, the bits that the map has of these blocks now are durable. Where they are already it does nothing.
   * Those who ask at one moment share the writes and the flush.
   */
  async persist(ranges: readonly BlockRange[]): Promise<void> {
    if (this.#failure !== null) throw this.#failure.error;
    if (!this.isPersisted(ranges)) await this.#rounds.add(ranges);
  }

  /**
   * Takes away on disk, durably, what the map has not any more; pages without a bit become holes. Nothing is written where
   * the file has no such bit: the map was set and cleared again (paragraphs 89 and 98.2).
   */
  async release(): Promise<void> {
    if (this.#failure !== null) throw this.#failure.error;
    await this.#rounds.add('release');
  }

  /** Pages of these blocks with a bit that is not kept on disk. */
  *#missing(ranges: readonly BlockRange[]): Generator<number> {
    for (const range of ranges) {
      for (const { page, low, high } of this.map.partsOf(range)) {
        if (!isWithin(this.map.page(page), this.#kept.page(page), low, high)) yield page;
      }
    }
  }

  /** Pages with a bit on disk that the map has not. */
  *#surplus(): Generator<number> {
    for (const page of this.#kept.pages())
      if (!isWithin(this.#kept.page(page), this.map.page(page))) yield page;
    for (const page of this.#badPages) if (!this.map.isPageFull(page)) yield page;
  }

  async #round(wishes: readonly Wish[]): Promise<readonly true[]> {
    if (this.#failure !== null) throw this.#failure.error;
    try {
      await this.#write(wishes);
    } catch (error) {
      this.#failure = { error };
      throw error;
    }
    return wishes.map(() => true);
  }

  async #write(wishes: readonly Wish[]): Promise<void> {
    // Nothing is awaited until the pages are made and what they take away is not kept any more.
    const pages = new Set<number>();
    for (const wish of wishes)
      for (const page of wish === 'release' ? this.#surplus() : this.#missing(wish)) pages.add(page);
    const isMade = this.#header?.offsets !== HEADER_OFFSETS;
    if (!isMade) for (const page of this.map.pages()) pages.add(page);
    if (pages.size === 0 && isMade && this.#isSettled) return;
    this.counts.rounds += 1;
    this.#generation += 1;
    const content = roundOf(pages, {
      layout: this.#layout,
      id: this.#id,
      generation: this.#generation,
      map: this.map,
      named: this.#named,
      auxiliary: pages.size === 0 && isMade ? [] : this.#badAuxiliary,
    });
    for (const [page, words] of content.snapshot) this.#keepWithin(page, words);
    await this.#writeDurably(content.writes, pages.size === 0 && isMade ? null : this.#header);
    for (const [page, words] of content.snapshot) {
      this.#kept.putPage(page, words);
      this.#badPages.delete(page);
    }
    for (const { offset, length } of holesOf(content, this.#layout, this.#named)) {
      this.counts.trims += 1;
      await this.#device.trim(offset, length);
    }
  }

  #keepWithin(page: number, words: Uint32Array | undefined): void {
    const kept = this.#kept.page(page);
    if (kept === undefined) return;
    this.#kept.putPage(page, words === undefined ? undefined : kept.map((word, at) => word & words[at]!));
  }

  /** Without a write it is the flush alone, for what the opening read. */
  async #writeDurably(
    writes: readonly { readonly offset: number; readonly bytes: Uint8Array }[],
    header: HeaderWrite | null,
  ): Promise<void> {
    if (header !== null) {
      this.#count(header.offsets.length, header.offsets.length * SECTOR_BYTES);
      await writeHeader(this.#device, header.bytes, header.offsets);
    }
    this.#count(
      writes.length,
      writes.reduce((sum, { bytes }) => sum + bytes.byteLength, 0),
    );
    await allEnded(writes.map(({ offset, bytes }) => this.#device.write(offset, bytes)));
    this.counts.flushes += 1;
    await this.#device.flush();
    this.#isSettled = true;
    if (header !== null) this.#header = null;
    if (writes.length > 0) this.#badAuxiliary.clear();
  }

  #count(writes: number, bytes: number): void {
    this.counts.writes += writes;
    this.counts.bytes += bytes;
  }
}

function lost(file: MapFile, { isSet, means }: Doubt, why: string): OpenedMap {
  const { map } = file;
  if (isSet) map.setAll();
  return {
    file,
    inDoubt: [{ from: 0, count: map.blocks }],
    damage: [`${why}; all ${map.blocks} blocks ${means}`],
  };
}

function cutShort(device: BlockDevice, { fileBytes }: MapLayout): UserError {
  return new UserError(
    'METADATA_DAMAGED',
    `${device.name}: ${KIND.what} is cut short: ${device.size} bytes of ${fileBytes}`,
    {
      hint: 'Move it away: a new one is made, and all blocks are copied.',
      details: { image: device.name, offsetBytes: device.size },
    },
  );
}
