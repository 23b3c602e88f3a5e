/**
 * The used blocks of an ext2, ext3 or ext4 filesystem, by its own bitmaps.
 *
 * Trusted is one whose superblock, group descriptors and bitmaps agree:
 * - all of its features are known here, it says that it is clean (or its journal tells what was under way), and no errors;
 * - with `metadata_csum` the checksums of superblock, descriptors, bitmaps, the journal's inode, and of what is used of the
 *   journal are right; with `uninit_bg` those of descriptors are;
 * - each bitmap that is read has as many free bits as its descriptor says, and calls the filesystem's own blocks used;
 * - without `metadata_csum`, and where no journal lies over it, the superblock has the same number of free blocks.
 *
 * Not found can be:
 * - without `metadata_csum`, damage to a bitmap that frees as many blocks as it takes, and a superblock or descriptor that
 *   was changed so that all of this still holds; with it, what has the same sum (32 bits; 16 of descriptors and of the
 *   bitmaps of filesystems without 64 bits, and of versions in a journal with sums of version 2);
 * - a last commit of the journal whose head is lost: it is then as if the power had gone before it.
 *
 * The journal is laid over all that is read after it (replay.ts). What it would write counts as used, as it does itself.
 *
 * A filesystem that is mounted changes while it is read. Whoever copies it begins to track writes before; what is seen then is
 * of some moment after that, or Untrusted. Even so, data comes to its place before the transaction is committed that makes its
 * blocks used: what was written before the tracking began can be committed after this has looked. `committedSequence`
 * tells when it is all in: two transactions after the one that was the last when the tracking began.
 *
 * Source: the kernel's documentation, "ext4 Data Structures and Algorithms".
 */
import { RangeSet } from '../../device/range-set.js';
import { type Region, Untrusted } from '../contract.js';
import { RunList } from '../run-list.js';
import type { ByteSource } from '../source.js';
import { readBitmaps } from './bitmaps.js';
import { BlockReader } from './blocks.js';
import { Descriptors } from './descriptors.js';
import { SUPERBLOCK, SUPERBLOCK_AT } from './fields.js';
import { Journal } from './journal.js';
import { ownBlocks } from './own-blocks.js';
import { type ReplayedLog, replayLog } from './replay.js';
import { demand, parseSuperblock, type Superblock } from './superblock.js';

/** How often a filesystem that seems to change is looked at. */
const ATTEMPTS = 3;

export interface ExtUsed {
  /** Within the filesystem's region, in bytes, ascending. What lies beyond the filesystem is not among them. */
  readonly runs: RunList;
  /** Bytes from the region's start that the filesystem speaks for. */
  readonly sizeBytes: number;
  readonly committedSequence: number | null;
}

/** Throws Untrusted. `source` begins where the filesystem does. */
export async function readExt(source: ByteSource): Promise<ExtUsed> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await readOnce(source);
    } catch (error) {
      if (!(error instanceof Untrusted && error.mayHaveMoved && attempt < ATTEMPTS)) throw error;
    }
  }
}

async function readOnce(source: ByteSource): Promise<ExtUsed> {
  const region: Pick<Region, 'lengthBytes'> = { lengthBytes: source.sizeBytes };
  const onDisk = parseSuperblock(await source.read(SUPERBLOCK_AT, SUPERBLOCK.sizeBytes), region);
  const journal = await openJournal(source, onDisk);
  const log = journal?.log;
  const blocks = new BlockReader(source, onDisk.blockBytes, log);
  const block = Math.floor(SUPERBLOCK_AT / onDisk.blockBytes);
  const sb =
    log === undefined
      ? onDisk
      : parseSuperblock(
          await blocks.part(block, SUPERBLOCK_AT % onDisk.blockBytes, SUPERBLOCK.sizeBytes),
          region,
        );
  demand(sb.blockBytes === onDisk.blockBytes, 'its journal would change the size of its blocks');
  const descriptors = await Descriptors.read(blocks, sb);
  const own = ownBlocks(sb, eachGroup(sb, descriptors));
  const used = new RunList();
  const free = await readBitmaps({ sb, blocks, descriptors, own }, used);
  demand(
    sb.checksums === 'crc32c' || log !== undefined || free === sb.freeBlocks,
    `its superblock has ${sb.freeBlocks} free blocks, and its groups ${free}`,
  );
  return {
    runs: withAlways(sb, used, own, journal),
    sizeBytes: sb.blocks * sb.blockBytes,
    committedSequence: log?.committed ?? null,
  };
}

interface OpenJournal {
  readonly journal: Journal;
  /** Only where the filesystem needs recovery. */
  readonly log?: ReplayedLog;
}

async function openJournal(source: ByteSource, sb: Superblock): Promise<OpenJournal | undefined> {
  demand(sb.hasJournal || !sb.needsRecovery, 'it needs recovery, and has no journal');
  if (!sb.hasJournal) return undefined;
  const journal = await Journal.find(new BlockReader(source, sb.blockBytes), sb);
  const state = await journal.state();
  if (!sb.needsRecovery) {
    demand(state.start === 0, 'its journal is not empty, and it says that it needs no recovery');
    return { journal };
  }
  // Mounted a moment ago, or killed right after its log was emptied.
  if (state.start === 0) return { journal };
  return { journal, log: await replayLog(journal, state, sb.blocks) };
}

function* eachGroup(sb: Superblock, descriptors: Descriptors): Generator<ReturnType<Descriptors['group']>> {
  for (let i = 0; i < sb.groups; i++) yield descriptors.group(i);
}

/** What is used whatever the bitmaps say: what lies before the first group, own blocks, the journal, what it would write. */
function withAlways(sb: Superblock, used: RunList, own: RangeSet, open: OpenJournal | undefined): RunList {
  const always = new RangeSet(own.list());
  always.add(0, Math.floor(SUPERBLOCK_AT / sb.blockBytes) + 1);
  for (const { block, count } of open?.journal.places() ?? []) always.add(block, block + count);
  for (const block of open?.log?.targets() ?? []) always.add(block, block + 1);
  const bytes = always
    .list()
    .map(({ start, end }) => ({ start: start * sb.blockBytes, end: end * sb.blockBytes }));
  return merged(used.runs(), bytes);
}

function merged(
  a: Iterable<{ start: number; end: number }>,
  b: readonly { start: number; end: number }[],
): RunList {
  const runs = new RunList();
  let i = 0;
  for (const run of a) {
    for (; i < b.length && b[i]!.start <= run.start; i++) runs.add(b[i]!.start, b[i]!.end);
    runs.add(run.start, run.end);
  }
  for (; i < b.length; i++) runs.add(b[i]!.start, b[i]!.end);
  return runs;
}
