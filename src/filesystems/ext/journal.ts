/**
 * The journal inside a filesystem: found, its superblock checked, its blocks read.
 */
import type { BlockReader } from './blocks.js';
import { FIRST_SEED, rawCrc32c, rawCrc32cWithout } from './checksums.js';
import { mapOf, type Piece } from './inode.js';
import {
  COMPAT_CHECKSUM,
  JOURNAL_FEATURE,
  JOURNAL_MAGIC,
  JOURNAL_SUPERBLOCK,
  KIND,
  KNOWN_JOURNAL_FEATURES,
} from './journal-fields.js';
import { demand, type Superblock } from './superblock.js';

const DEFAULT_FAST_COMMIT_BLOCKS = 256;

export interface JournalState {
  /** Its first transaction, and the block of the journal where that begins; 0: there is none. */
  readonly sequence: number;
  readonly start: number;
  readonly first: number;
  /** One behind the last block of the log; fast commits lie behind it. */
  readonly end: number;
  readonly blocks: number;
  readonly is64: boolean;
  readonly checksums: 'none' | 'v2' | 'v3';
  readonly checksumSeed: number;
  readonly hasFastCommits: boolean;
}

export class Journal {
  private constructor(
    private readonly reader: BlockReader,
    private readonly pieces: readonly Piece[],
    /** Blocks of the filesystem that hold its map. */
    readonly mapBlocks: readonly number[],
    private readonly fileBlocks: number,
    readonly blockBytes: number,
  ) {}

  /** Throws Untrusted where it is not inside the filesystem, or cannot be found. */
  static async find(reader: BlockReader, sb: Superblock): Promise<Journal> {
    demand(sb.journalInode !== 0, 'its journal is on another device');
    const map = await mapOf(reader, sb, sb.journalInode);
    demand(map.blocks > 0 && map.pieces.length > 0, 'its journal is empty');
    return new Journal(reader, map.pieces, map.mapBlocks, map.blocks, sb.blockBytes);
  }

  /** Its blocks on the device, as first and count. */
  *places(): Generator<{ block: number; count: number }> {
    for (const { block, count } of this.pieces) yield { block, count };
    for (const block of this.mapBlocks) yield { block, count: 1 };
  }

  async read(index: number): Promise<Uint8Array> {
    return this.reader.run(this.place(index), 1);
  }

  private place(index: number): number {
    let low = 0;
    let high = this.pieces.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.pieces[middle]!.logical <= index) low = middle;
      else high = middle - 1;
    }
    const piece = this.pieces[low]!;
    demand(
      index >= piece.logical && index < piece.logical + piece.count,
      `block ${index} of its journal has no place`,
    );
    return piece.block + index - piece.logical;
  }

  /** Its superblock, as it is now. Throws Untrusted. */
  async state(): Promise<JournalState> {
    const bytes = await this.reader.part(this.place(0), 0, JOURNAL_SUPERBLOCK.sizeBytes);
    const view = JOURNAL_SUPERBLOCK.at(bytes);
    const kind = view.number('kind');
    demand(
      view.number('magic') === JOURNAL_MAGIC && (kind === KIND.superblockV1 || kind === KIND.superblockV2),
      'its journal has no superblock',
    );
    const features = kind === KIND.superblockV2 ? view.number('incompat') : 0;
    const unknown = (features & ~KNOWN_JOURNAL_FEATURES) >>> 0;
    demand(unknown === 0, `its journal has features that are not known here: 0x${unknown.toString(16)}`);
    const checksums = checksumsOf(features);
    if (checksums !== 'none') {
      const at = JOURNAL_SUPERBLOCK.offsetOf('checksum');
      demand(view.number('checksum_type') === 4, 'the checksums of its journal are of an unknown kind');
      demand(
        rawCrc32cWithout(FIRST_SEED, bytes, at, 4) === view.number('checksum'),
        'the checksum of the superblock of its journal is wrong',
        true,
      );
    }
    demand(view.number('block_size') === this.blockBytes, 'its journal has blocks of another size');
    demand(view.number('error') === 0, 'its journal was given up after an error');
    const blocks = view.number('blocks');
    const hasFastCommits = (features & JOURNAL_FEATURE.fastCommit) !== 0;
    const fast = hasFastCommits ? view.number('fast_commit_blocks') || DEFAULT_FAST_COMMIT_BLOCKS : 0;
    const state: JournalState = {
      sequence: view.number('sequence'),
      start: view.number('start'),
      first: view.number('first'),
      end: blocks - fast,
      blocks,
      is64: (features & JOURNAL_FEATURE.bits64) !== 0,
      checksums,
      checksumSeed: rawCrc32c(FIRST_SEED, view.bytes('uuid')),
      hasFastCommits,
    };
    const isPossible =
      blocks <= this.fileBlocks &&
      state.first > 0 &&
      state.first < state.end &&
      (state.start === 0 || (state.start >= state.first && state.start < state.end));
    demand(isPossible, 'the superblock of its journal is damaged');
    if (state.start !== 0 && kind === KIND.superblockV2) {
      // What a commit without a barrier, or under a sum over all of its blocks, promises is known only when all is read.
      const isOld = (view.number('compat') & COMPAT_CHECKSUM) !== 0;
      demand(!isOld, 'its journal has checksums of version 1, which are not read here');
      demand((features & JOURNAL_FEATURE.asyncCommit) === 0, 'its journal commits without barriers');
    }
    return state;
  }
}

function checksumsOf(features: number): JournalState['checksums'] {
  const has2 = (features & JOURNAL_FEATURE.checksumV2) !== 0;
  const has3 = (features & JOURNAL_FEATURE.checksumV3) !== 0;
  demand(!has2 || !has3, 'its journal has checksums of two kinds');
  return has3 ? 'v3' : has2 ? 'v2' : 'none';
}
