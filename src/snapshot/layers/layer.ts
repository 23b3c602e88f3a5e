/**
 * A layer: what blocks of a volume held when they were first written after a moment, or, of a layer that keeps no content, which
 * they are. Groups of kept blocks in a device that only grows (replication/kept/, docs/on-disk-format.md, "Kept blocks").
 *
 * Invariants
 * - What is kept is in memory at once and can be read; when `settle` has returned all that was kept before it was called is
 *   durable. Whoever changes a block waits for that. All who settle at one time share the writes and the flush.
 * - A block is kept once.
 */
import { crc32c } from '@node-rs/crc32';
import type { BlockDevice } from '../../device/contract.js';
import { isZero } from '../../device/zeroes.js';
import { UserError } from '../../errors.js';
import { BLOCK_BYTES, type BlockRange, blocksOf } from '../../replication/blocks.js';
import { SECTOR_BYTES } from '../../replication/file-header.js';
import { type KeptKind, MOST_ENTRIES } from '../../replication/kept/group.js';
import { type Group, KeptGroups, type KeptPart } from '../../replication/kept/groups.js';
import { BlockMap } from '../../replication/map/block-map.js';
import { Rounds } from '../../replication/rounds.js';
import { LayerIndex } from './layer-index.js';

/** Content of a group: with an entry for each block its index is a few sectors. */
const MOST_BLOCKS = 256;
/** What a block takes that is kept by itself. */
const SINGLE_BYTES = BLOCK_BYTES + SECTOR_BYTES;
/** What was kept and is not written yet is not to take more memory than this. */
const GATHERED_BLOCKS = 2048;

/** Filesystems have no longer files: ext4 has 16 TiB. */
const LONGEST_BYTES = 15 * 1024 ** 4;

/** As long as all blocks of the volume can take, were each kept by itself, or as a file can be. Sparse: it takes what it keeps. */
export function layerBytesFor(sizeBytes: number): number {
  return Math.min(blocksOf(sizeBytes) * SINGLE_BYTES + BLOCK_BYTES, LONGEST_BYTES);
}

export interface LayerOptions {
  /** 16 bytes: a group of another layer in the same place does not count. */
  readonly keptId: Uint8Array;
  /** Of the volume. */
  readonly sizeBytes: number;
}

/** Content that is not written yet; null: zeroes. */
type Gathered = Map<number, Uint8Array | null>;

type Runs = BlockRange[];

export class Layer {
  #gathered: Gathered = new Map();
  /** On its way to the device. */
  #writing: Gathered = new Map();
  #writingZeroes: Runs = [];
  /** Not written yet either: runs that are known to be zeroes, and blocks that are changed, and no more. */
  #zeroes: Runs = [];
  #noted: BlockMap;
  readonly #rounds = new Rounds<null, true>(async (settling) => {
    await this.#round();
    return settling.map(() => true);
  });

  private constructor(
    private readonly device: BlockDevice,
    private readonly groups: KeptGroups,
    private readonly index: LayerIndex,
  ) {
    this.#noted = new BlockMap(this.blocks.blocks);
  }

  /** Nothing is in it; what lies there has another id. */
  static empty(device: BlockDevice, { keptId, sizeBytes }: LayerOptions): Layer {
    const index = new LayerIndex(sizeBytes);
    const groups = KeptGroups.empty(device, keptId, sizeBytes, (group) => index.enter(group));
    return new Layer(device, groups, index);
  }

  /**
   * `sureGroups`: so many are known to be durable. Throws METADATA_DAMAGED where some of these are no good. What it has is durable
   * when it returns, where the device can be written.
   */
  static async open(
    device: BlockDevice,
    { keptId, sizeBytes, sureGroups }: LayerOptions & { readonly sureGroups: number },
  ): Promise<Layer> {
    // Whoever wrote it may have been killed before that: what is found counts, and its blocks are overwritten without a wait.
    if (!device.readOnly) await device.flush();
    const index = new LayerIndex(sizeBytes);
    const sink = (group: Group) => index.enter(group);
    const { groups, damage } = await KeptGroups.open(device, { keptId, sizeBytes, sureGroups, sink });
    if (damage !== null) throw damaged(device, damage.offset, damage.why);
    return new Layer(device, groups, index);
  }

  /** All that it has. */
  get blocks(): BlockMap {
    return this.index.blocks;
  }

  /** That are durable. */
  get groupCount(): number {
    return this.groups.count;
  }

  get capacityBytes(): number {
    return this.device.size;
  }

  /** With what is not written yet. */
  get usedBytes(): number {
    const waiting =
      this.#gathered.size + this.#writing.size + this.#zeroes.length + this.#writingZeroes.length;
    return Math.min(this.device.size, this.groups.usedBytes + waiting * SINGLE_BYTES);
  }

  /** So many blocks can still be kept, were each kept by itself. */
  get roomBlocks(): number {
    return Math.max(0, Math.floor((this.device.size - this.usedBytes) / SINGLE_BYTES));
  }

  /**
   * There must be room for them; `content` is the layer's from now on. Waits where much is not written yet. null: they are zeroes,
   * for which there must be the room of one block.
   */
  async keep({ from, count }: BlockRange, content: Uint8Array | null): Promise<void> {
    this.blocks.set({ from, count });
    if (content === null) this.#zeroes.push({ from, count });
    else this.#gather(from, count, content);
    if (this.#gathered.size >= GATHERED_BLOCKS) await this.settle();
  }

  #gather(from: number, count: number, content: Uint8Array): void {
    for (let at = 0; at < count; at++) {
      const part = content.subarray(at * BLOCK_BYTES, (at + 1) * BLOCK_BYTES);
      this.#gathered.set(from + at, isZero(part) ? null : part);
    }
  }

  /** They are changed, and what they held is not kept. */
  note(range: BlockRange): void {
    this.blocks.set(range);
    this.index.without.set(range);
    this.#noted.set(range);
  }

  /** What was kept and noted is durable when it returns. Throws what the device throws: then nobody can tell. */
  async settle(): Promise<void> {
    await this.#rounds.add(null);
  }

  /**
   * The content of a block that it has; shorter at the end of the volume. Throws METADATA_DAMAGED where it is not what was kept,
   * IO_ERROR where it could not be read when it was to be kept.
   */
  async read(block: number, into: Uint8Array): Promise<void> {
    const waiting = this.#gathered.get(block) ?? this.#writing.get(block);
    if (waiting != null) {
      into.set(waiting.subarray(0, into.length));
      return;
    }
    const place = this.index.places.get(block);
    if (place === undefined) {
      if (this.index.without.has(block)) throw lost(this.device, block);
      into.fill(0);
      return;
    }
    await this.device.read(place.position, into);
    if (crc32c(into) !== place.checksum)
      throw damaged(this.device, place.position, `what is kept of block ${block} is no good`);
  }

  /** Of what it has, each block that cannot be read as it was. */
  async *damaged(signal: AbortSignal | undefined): AsyncGenerator<UserError> {
    const { blocks, sizeBytes } = this.index;
    for (const { from, count } of blocks.runs()) {
      for (let block = from; block < from + count; block++) {
        if (signal?.aborted === true) return;
        const bytes = Math.min(BLOCK_BYTES, sizeBytes - block * BLOCK_BYTES);
        const error = await failureOf(() => this.read(block, new Uint8Array(bytes)));
        if (error !== null) yield error;
      }
    }
  }

  close(): Promise<void> {
    return this.device.close();
  }

  /** All that waits, in as few groups as may be, and one flush. Where that fails it waits on: until then it is read from here. */
  async #round(): Promise<void> {
    this.#writing = this.#gathered;
    this.#gathered = new Map();
    this.#writingZeroes = this.#zeroes;
    this.#zeroes = [];
    const noted = this.#noted;
    this.#noted = new BlockMap(noted.blocks);
    const without = [...runsOf('zeroes', this.#writingZeroes), ...runsOf('changed', noted.runs())];
    try {
      for (const parts of groupsOf([...partsOf(this.#writing), ...without])) await this.groups.append(parts);
      await this.groups.settle();
    } catch (error) {
      this.#gathered = new Map([...this.#writing, ...this.#gathered]);
      this.#zeroes = [...this.#writingZeroes, ...this.#zeroes];
      this.#noted.add(noted);
      throw error;
    } finally {
      this.#writing = new Map();
      this.#writingZeroes = [];
    }
  }
}

async function failureOf(body: () => Promise<void>): Promise<UserError | null> {
  try {
    await body();
    return null;
  } catch (error) {
    if (error instanceof UserError) return error;
    throw error;
  }
}

/** An entry for each block that has content, so that each is read and checked by itself. */
function* partsOf(gathered: Gathered): Generator<KeptPart> {
  let zeroes: { block: number; count: number } | null = null;
  for (const [block, content] of [...gathered].sort(([a], [b]) => a - b)) {
    if (zeroes !== null && (content !== null || zeroes.block + zeroes.count !== block)) {
      yield { run: { ...zeroes, kind: 'zeroes' }, content: null };
      zeroes = null;
    }
    if (content !== null) yield { run: { block, count: 1, kind: 'data' }, content };
    else if (zeroes === null) zeroes = { block, count: 1 };
    else zeroes.count += 1;
  }
  if (zeroes !== null) yield { run: { ...zeroes, kind: 'zeroes' }, content: null };
}

function* runsOf(kind: KeptKind, runs: Iterable<BlockRange>): Generator<KeptPart> {
  for (const { from, count } of runs) yield { run: { block: from, count, kind }, content: null };
}

function groupsOf(parts: readonly KeptPart[]): KeptPart[][] {
  const groups: KeptPart[][] = [];
  let blocks = 0;
  for (const part of parts) {
    const last = groups.at(-1);
    if (last === undefined || last.length === MOST_ENTRIES || blocks === MOST_BLOCKS) {
      groups.push([part]);
      blocks = 0;
    } else last.push(part);
    blocks += part.content === null ? 0 : 1;
  }
  return groups;
}

function lost({ name }: BlockDevice, block: number): UserError {
  return new UserError(
    'IO_ERROR',
    `${name}: offset ${block * BLOCK_BYTES} of the volume could not be read when it was overwritten: what it held is lost`,
    { details: { image: name, offsetBytes: block * BLOCK_BYTES } },
  );
}

function damaged(device: BlockDevice, offset: number, why: string): UserError {
  return new UserError('METADATA_DAMAGED', `${device.name}: ${why}`, {
    hint: 'The snapshots that need it cannot be read as they were: delete them.',
    details: { image: device.name, offsetBytes: offset },
  });
}
