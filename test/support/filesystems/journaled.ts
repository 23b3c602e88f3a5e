/**
 * Filesystems whose journal holds what is not in its place yet: two changed states of one filesystem, written by debugfs into
 * the journal of the first as transactions. Data lies in its place already, in blocks that the bitmaps there call free.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bitmapsOf, debugfs, fillAndHollow, type JudgedGroup, judge, makeFilesystem } from './e2fsprogs.js';

/** A bitmap that begins so is escaped in a journal: these are the bits of its magic number. */
const MAGIC_BITS = [6, 7, 8, 9, 11, 12, 13, 16, 19, 20, 21, 27, 28, 31];

export interface JournaledOptions {
  readonly size: string;
  readonly mke2fs: readonly string[];
  /** Options of debugfs' journal_open. */
  readonly open: string;
}

/** What debugfs is told to write as one transaction. */
interface Transaction {
  readonly blocks: readonly number[];
  readonly content: Uint8Array;
  readonly revoked?: readonly number[];
  readonly isCommitted?: boolean;
}

/** Makes `image`. Its last transaction is not committed; one before revokes a version of a bitmap that is wrong. */
export function makeJournaled(folder: string, image: string, options: JournaledOptions): void {
  const states = makeStates(folder, options);
  const base = readFileSync(states[0]!);
  const { blockBytes } = judge(states[0]!);
  const inPlace = Buffer.from(base);
  const transactions: Transaction[] = [];
  const steady = steadyGroup(states[0]!).bitmap;
  const junk = { blocks: [steady], content: new Uint8Array(blockBytes).fill(0x11) };
  transactions.push(junk, { blocks: [], content: new Uint8Array(), revoked: [steady] });
  let before = base;
  for (const state of states.slice(1)) {
    const after = readFileSync(state);
    const changed = changedBlocks(before, after, blockBytes);
    for (const block of changed.data)
      after.copy(inPlace, block * blockBytes, block * blockBytes, (block + 1) * blockBytes);
    const content = Buffer.concat(
      changed.metadata.map((block) => after.subarray(block * blockBytes, (block + 1) * blockBytes)),
    );
    if (changed.metadata.includes(steady)) throw new Error('the bitmap that is to stay as it is has changed');
    transactions.push({ blocks: changed.metadata, content });
    before = after;
  }
  transactions.push({ ...junk, isCommitted: false });
  writeFileSync(image, inPlace);
  writeTransactions(folder, image, options.open, transactions);
}

export function writeTransactions(
  folder: string,
  image: string,
  open: string,
  transactions: readonly Transaction[],
): void {
  const commands = transactions.map(({ blocks, content, revoked = [], isCommitted = true }, i) => {
    const file = join(folder, `transaction-${i}`);
    writeFileSync(file, content);
    const flags = [
      isCommitted ? '' : '-c',
      blocks.length > 0 ? `-b ${blocks}` : '',
      revoked.length > 0 ? `-r ${revoked}` : '',
    ];
    return `jw ${flags.join(' ')} ${blocks.length > 0 ? file : ''}`;
  });
  debugfs(image, [`jo ${open}`, ...commands, 'jc']);
}

/** Three images: a filesystem with files, more and fewer of them, and one with a bitmap that begins with the magic number. */
function makeStates(folder: string, { size, mke2fs }: JournaledOptions): string[] {
  const images = [0, 1, 2].map((i) => join(folder, `state-${i}`)) as [string, string, string];
  const [base, more, last] = images;
  makeFilesystem(base, size, mke2fs);
  takeBits(base, steadyGroup(base), [3001, 3002, 3010]);
  fillAndHollow(folder, base, [200_000, 3000, 50_000], '/first');
  copyFileSync(base, more);
  fillAndHollow(folder, more, [900_000, 70_000, 5000, 1200], '/second');
  debugfs(more, ['rm /first/file-0']);
  copyFileSync(more, last);
  fillAndHollow(folder, last, [400_000], '/third');
  takeMagicBits(last);
  return images;
}

/** In the last group of which nothing is used; without flex_bg there is none, and no bitmap that can begin so. */
function takeMagicBits(image: string): void {
  const empty = bitmapsOf(image).findLast((group) => group.free === group.blocks);
  if (empty !== undefined) takeBits(image, empty, MAGIC_BITS);
}

/** Blocks of the last group but one, which no state takes others of. */
function steadyGroup(image: string): JudgedGroup {
  return bitmapsOf(image).at(-2)!;
}

function takeBits(image: string, group: JudgedGroup, bits: readonly number[]): void {
  // Its bitmap of inodes was never written, which only a descriptor under a checksum may say.
  const hasInodeFlags = judge(image).hasChecksums;
  debugfs(image, [
    ...bits.map((bit) => `setb ${group.first + bit}`),
    `set_bg ${group.index} flags ${hasInodeFlags ? 1 : 0}`,
    `set_bg ${group.index} free_blocks_count ${group.free - bits.length}`,
    `set_bg ${group.index} checksum calc`,
  ]);
  debugfs(image, [`ssv free_blocks_count ${judge(image).free.totalBytes}`]);
}

/** Data are blocks of one byte again and again: what fillAndHollow writes. */
function changedBlocks(
  before: Buffer,
  after: Buffer,
  blockBytes: number,
): { data: number[]; metadata: number[] } {
  const data: number[] = [];
  const metadata: number[] = [];
  for (let at = 0; at < after.byteLength; at += blockBytes) {
    const block = after.subarray(at, at + blockBytes);
    if (block.equals(before.subarray(at, at + blockBytes))) continue;
    const isData = block[0] !== 0 && block.equals(Buffer.alloc(blockBytes, block[0]));
    (isData ? data : metadata).push(at / blockBytes);
  }
  return { data, metadata };
}
