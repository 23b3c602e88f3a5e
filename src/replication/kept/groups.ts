/**
 * A device that groups of kept blocks are appended to: one behind the other from byte 0 on, each an index and the content of its
 * blocks (docs/on-disk-format.md, "Kept blocks").
 *
 * Invariants
 * - Whoever overwrites a block waits until `settle` has returned. So what a group says is true whenever it is good: also of one
 *   that was dropped because one before it was torn, and is found again.
 * - A group says how many were durable when it was written (`sure`): one of these that is no good is damaged; what it has kept need
 *   not be read to believe it. The first one behind them that is no good, index or content, was torn by a cut, and ends the container.
 *   So after a crash the content of what was settled last is read, and no more, however long ago the count was written elsewhere.
 * - Whoever opens it to go on flushes the device first: what is found is durable before a group says so.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { UserError } from '../../errors.js';
import { SECTOR_BYTES } from '../file-header.js';
import { readSectors } from '../sector-reads.js';
import {
  beginsGroup,
  contentBytesOf,
  decodeIndex,
  encodeIndex,
  indexBytes,
  type KeptEntry,
  type KeptIndex,
  type KeptRun,
} from './group.js';

/** A run that is to be kept. */
export interface KeptPart {
  readonly run: KeptRun;
  /** null where its kind has none. */
  readonly content: Uint8Array | null;
}

/** A group, and where it lies. */
export interface Group extends KeptIndex {
  readonly offset: number;
}

/** An entry, and where its content lies; null: it has none. */
export interface PlacedEntry {
  readonly entry: KeptEntry;
  readonly position: number | null;
}

/** Takes a group that is durable: then the groups keep no more of it than what it takes to go on behind it. */
export type GroupSink = (group: Group) => void;

export interface OpenGroupsOptions {
  readonly keptId: Uint8Array;
  /** Of what the blocks are. */
  readonly sizeBytes: number;
  /** So many are known to be durable. */
  readonly sureGroups: number;
  /** From the first one on, also of those that are appended later; none: all are in the list. */
  readonly sink?: GroupSink;
}

/** What is behind the last good group is not what a cut leaves. */
export interface GroupsDamage {
  readonly offset: number;
  readonly why: string;
}

const SCAN_SECTORS = 2048;

export class KeptGroups {
  readonly #groups: Group[] = [];
  /** Of those that are durable, in the list or not. */
  #count = 0;
  #end = 0;
  /** Written behind those, and not known to be durable. */
  #appended: Group[] = [];

  private constructor(
    private readonly device: BlockDevice,
    readonly keptId: Uint8Array,
    private readonly sizeBytes: number,
    private readonly sink: GroupSink = (group) => this.#groups.push(group),
  ) {}

  /** Nothing is in it; what lies there has another id. */
  static empty(device: BlockDevice, keptId: Uint8Array, sizeBytes: number, sink?: GroupSink): KeptGroups {
    return new KeptGroups(device, keptId, sizeBytes, sink);
  }

  /** Reads the indexes, and of those that may be torn, which no later one knows to have been durable, the content. */
  static async open(
    device: BlockDevice,
    { keptId, sizeBytes, sureGroups, sink }: OpenGroupsOptions,
  ): Promise<{ readonly groups: KeptGroups; readonly damage: GroupsDamage | null }> {
    const groups = new KeptGroups(device, keptId, sizeBytes, sink);
    const sure = await groups.#find(sureGroups);
    const damage = (most: number) => ({
      offset: groups.usedBytes,
      why: `${most} groups were kept, and number ${groups.count} is no good`,
    });
    if (groups.count < sure) return { groups, damage: damage(sure) };
    const later = await groups.#sureOfLater();
    return { groups, damage: later === null ? null : damage(later) };
  }

  /** Those that are durable; none where somebody else takes them. */
  get list(): readonly Group[] {
    return this.#groups;
  }

  /** How many are durable. */
  get count(): number {
    return this.#count;
  }

  /** Of those that are durable. */
  get usedBytes(): number {
    return this.#end;
  }

  /**
   * Writes a group behind all others; durable with `settle`. One at a time; its index has room for MOST_ENTRIES. Throws NO_SPACE
   * where the device is full: what was appended before stays.
   */
  async append(parts: readonly KeptPart[]): Promise<Group> {
    const entries = parts.map(({ run, content }) => ({
      ...run,
      checksum: content === null ? 0 : crc32c(content),
    }));
    const contents = parts.flatMap(({ content }) => content ?? []);
    const contentBytes = contents.reduce((sum, { length }) => sum + length, 0);
    const last = this.#appended.at(-1);
    const offset = last === undefined ? this.#end : endOf(last);
    const [number, sure] = [this.#count + this.#appended.length, this.#count];
    const group = { number, sure, entries, offset, indexBytes: indexBytes(entries.length), contentBytes };
    if (endOf(group) > this.device.size) throw this.#full(offset);
    const index = encodeIndex({ keptId: this.keptId, number, sure }, entries, contentBytes);
    await this.device.write(offset, [index, ...contents]);
    this.#appended.push(group);
    return group;
  }

  /** What was appended is durable when it returns, and counts. Throws what the flush throws: then it is not. */
  async settle(): Promise<void> {
    const appended = this.#appended;
    this.#appended = [];
    if (appended.length === 0) return;
    await this.device.flush();
    for (const group of appended) this.#add(group);
  }

  /** What was kept; null: there is no content. It is not checked. */
  async *contents(
    group: Group,
  ): AsyncGenerator<{ readonly entry: KeptEntry; readonly content: Uint8Array | null }> {
    for (const { entry, position } of entriesOf(group, this.sizeBytes)) {
      if (position === null) {
        yield { entry, content: null };
        continue;
      }
      const content = new Uint8Array(contentBytesOf(entry, this.sizeBytes));
      await this.device.read(position, content);
      yield { entry, content };
    }
  }

  async isContentGood(group: Group): Promise<boolean> {
    for await (const { entry, content } of this.contents(group))
      if (content !== null && crc32c(content) !== entry.checksum) return false;
    return true;
  }

  /** Takes all that is good, and returns how many are known to have been durable. */
  async #find(sureGroups: number): Promise<number> {
    let sure = sureGroups;
    /** Those that nobody knows to be durable: of what was settled at one time. */
    const waiting: Group[] = [];
    for (;;) {
      const last = waiting.at(-1);
      const offset = last === undefined ? this.#end : endOf(last);
      const group = await this.#groupAt(offset, this.#count + waiting.length);
      if (group === null) break;
      waiting.push(group);
      sure = Math.max(sure, group.sure);
      for (const known of waiting.splice(0, Math.max(0, sure - this.#count))) this.#add(known);
    }
    for (const group of waiting) {
      if (!(await this.isContentGood(group))) break;
      this.#add(group);
    }
    return sure;
  }

  #add(group: Group): void {
    this.#count += 1;
    this.#end = endOf(group);
    this.sink(group);
  }

  /** The one of this number, of which the index is good. */
  async #groupAt(offset: number, number: number): Promise<Group | null> {
    const { device, keptId, sizeBytes } = this;
    if (offset + SECTOR_BYTES > device.size) return null;
    const sector = new Uint8Array(SECTOR_BYTES);
    await device.read(offset, sector);
    const begun = beginsGroup(sector, keptId);
    if (begun === null || begun.number !== number || offset + begun.length > device.size) return null;
    const bytes = new Uint8Array(begun.length);
    await device.read(offset, bytes);
    const index = decodeIndex(bytes, sizeBytes);
    return index === null || offset + begun.length + index.contentBytes > device.size
      ? null
      : { ...index, offset };
  }

  /** How many groups a later one knows to have been durable, where that is more than there are; null: there is none such. */
  async #sureOfLater(): Promise<number | null> {
    const { device, usedBytes, count } = this;
    if (usedBytes >= device.size) return null;
    const extents = await device.extents(usedBytes, device.size - usedBytes);
    for (const { offset, length, kind } of extents) {
      if (kind !== 'data') continue;
      for await (const [at, number] of this.#begunIn(offset, offset + length)) {
        if (number <= count) continue;
        const group = await this.#groupAt(at, number);
        if (group !== null && group.sure > count) return group.sure;
      }
    }
    return null;
  }

  /** Where indexes seem to begin, and of which groups. */
  async *#begunIn(start: number, end: number): AsyncGenerator<readonly [number, number]> {
    for (let at = start; at + SECTOR_BYTES <= end; at += SCAN_SECTORS * SECTOR_BYTES) {
      const count = Math.min(SCAN_SECTORS, Math.floor((end - at) / SECTOR_BYTES));
      const sectors = await readSectors(this.device, at, count);
      for (let sector = 0; sector < count; sector++) {
        const begun = beginsGroup(sectors.at(sector).bytes, this.keptId);
        if (begun !== null) yield [at + sector * SECTOR_BYTES, begun.number];
      }
    }
  }

  #full(offset: number): UserError {
    const { name, size } = this.device;
    return new UserError('NO_SPACE', `${name}: the container of ${size} bytes is full`, {
      details: { image: name, offsetBytes: offset },
    });
  }
}

/** Of a device of so many bytes. */
export function* entriesOf(group: Group, sizeBytes: number): Generator<PlacedEntry> {
  let at = group.offset + group.indexBytes;
  for (const entry of group.entries) {
    yield { entry, position: entry.kind === 'data' ? at : null };
    at += contentBytesOf(entry, sizeBytes);
  }
}

function endOf(group: Group): number {
  return group.offset + group.indexBytes + group.contentBytes;
}
