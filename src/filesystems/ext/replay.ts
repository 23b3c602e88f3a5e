/**
 * A journal's log, replayed in memory: the newest version that a committed transaction holds of each block, and that is not
 * revoked by the same or a later one, lies over what is in its place.
 *
 * Only descriptors, revoke blocks and commits are read; a version is read (and its checksum compared) when it is asked for,
 * which is for the few blocks that tell used from free.
 *
 * The log ends where no block of the next transaction stands. Damage can look the same, so that a few blocks behind it are
 * read as well: what continues there, continued before. Everything that is damaged makes the filesystem Untrusted; so do
 * fast commits, whose content is not read.
 *
 * Source: the kernel's documentation of ext4, section "Journal (jbd2)"; of fast commits "ext4 Journal, Fast commits".
 */
import type { BlockOverlay } from './blocks.js';
import type { Journal, JournalState } from './journal.js';
import { hasGoodTail, isGoodCommit, isGoodVersion, revokedBy, type Tag, tagsOf } from './journal-blocks.js';
import { JOURNAL_HEADER, JOURNAL_MAGIC, KIND } from './journal-fields.js';
import { demand } from './superblock.js';

/** Of a journal, one block in so many is read behind the end of its log, and no more than the other number. */
const AHEAD_SHARE = 64;
const MOST_AHEAD = 256;
const FAST_COMMIT_HEAD = 9;
const MAGIC_BYTES = [0xc0, 0x3b, 0x39, 0x98];

interface Version extends Tag {
  readonly sequence: number;
  /** Block of the journal. */
  readonly at: number;
}

/** What one transaction has, until its commit is met. */
interface Transaction {
  versions: Version[];
  revoked: number[];
}

export class ReplayedLog implements BlockOverlay {
  readonly #versions = new Map<number, Version>();
  #blocks: number[] = [];

  constructor(
    private readonly journal: Journal,
    private readonly state: JournalState,
    /** The last transaction that was committed; null where there is none. */
    readonly committed: number | null,
    versions: Iterable<Version>,
  ) {
    for (const version of versions) this.#versions.set(version.block, version);
    this.#blocks = [...this.#versions.keys()].sort((a, b) => a - b);
  }

  /** All blocks that have a version here. */
  targets(): readonly number[] {
    return this.#blocks;
  }

  within(first: number, count: number): readonly number[] {
    let low = 0;
    let high = this.#blocks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#blocks[middle]! < first) low = middle + 1;
      else high = middle;
    }
    let end = low;
    while (end < this.#blocks.length && this.#blocks[end]! < first + count) end += 1;
    return this.#blocks.slice(low, end);
  }

  async read(block: number): Promise<Uint8Array> {
    const version = this.#versions.get(block)!;
    const bytes = (await this.journal.read(version.at)).slice();
    demand(
      isGoodVersion(this.state, bytes, version.sequence, version.checksum),
      `the checksum of a block in transaction ${version.sequence} of its journal is wrong`,
      true,
    );
    if (version.isEscaped) bytes.set(MAGIC_BYTES);
    return bytes;
  }
}

/** Throws Untrusted. */
export async function replayLog(
  journal: Journal,
  state: JournalState,
  fsBlocks: number,
): Promise<ReplayedLog> {
  const log = new LogWalk(journal, state, fsBlocks);
  await log.walk();
  await log.lookAhead();
  if (state.hasFastCommits) await refuseFastCommits(journal, state, log.next);
  const now = await journal.state();
  demand(
    now.start === state.start && now.sequence === state.sequence,
    'its journal went on while it was read',
    true,
  );
  return new ReplayedLog(journal, state, log.committed, log.live());
}

class LogWalk {
  /** The transaction that is expected, and where. */
  next: number;
  committed: number | null = null;
  #at: number;
  #seen = 0;
  readonly #versions = new Map<number, Version>();
  readonly #revoked = new Map<number, number>();

  constructor(
    private readonly journal: Journal,
    private readonly state: JournalState,
    private readonly fsBlocks: number,
  ) {
    this.next = state.sequence;
    this.#at = state.start;
  }

  async walk(): Promise<void> {
    let open: Transaction = { versions: [], revoked: [] };
    for (;;) {
      const at = this.#at;
      const bytes = await this.journal.read(at);
      const header = JOURNAL_HEADER.at(bytes);
      const kind = header.number('kind');
      const isNext = header.number('magic') === JOURNAL_MAGIC && header.number('sequence') === this.next;
      if (!isNext) return;
      this.#step(1);
      if (kind === KIND.descriptor) this.#takeTags(open, bytes);
      else if (kind === KIND.revoke) this.#takeRevoked(open, bytes);
      else if (kind === KIND.commit) {
        demand(
          isGoodCommit(this.state, bytes),
          `the commit of transaction ${this.next} of its journal is damaged`,
          true,
        );
        this.#commit(open);
        open = { versions: [], revoked: [] };
      } else {
        demand(false, `its journal has a block of unknown kind ${kind}`, true);
      }
    }
  }

  /** What continues behind the end shows that it is none. */
  async lookAhead(): Promise<void> {
    const rest = this.state.end - this.state.first - this.#seen;
    const blocks = Math.min(rest, MOST_AHEAD, Math.floor(this.state.blocks / AHEAD_SHARE));
    for (let i = 0; i < blocks; i++) {
      const header = JOURNAL_HEADER.at(await this.journal.read(this.#at));
      this.#step(1);
      if (header.number('magic') !== JOURNAL_MAGIC) continue;
      const ahead = distance(this.next, header.number('sequence'));
      const isLater = ahead > 0 || (ahead === 0 && header.number('kind') === KIND.commit);
      demand(!isLater, `transaction ${this.next} of its journal is damaged`, true);
    }
  }

  live(): Version[] {
    return [...this.#versions.values()].filter(({ block, sequence }) => {
      const revoked = this.#revoked.get(block);
      return revoked === undefined || distance(revoked, sequence) > 0;
    });
  }

  #takeTags(open: Transaction, bytes: Uint8Array): void {
    demand(
      hasGoodTail(this.state, bytes),
      `a descriptor of transaction ${this.next} of its journal is damaged`,
      true,
    );
    for (const tag of tagsOf(this.state, bytes)) {
      demand(
        tag.block < this.fsBlocks,
        `its journal has a version of block ${tag.block} of ${this.fsBlocks}`,
        true,
      );
      open.versions.push({ ...tag, sequence: this.next, at: this.#at });
      this.#step(1);
    }
  }

  #takeRevoked(open: Transaction, bytes: Uint8Array): void {
    demand(
      hasGoodTail(this.state, bytes),
      `a revoke block of transaction ${this.next} of its journal is damaged`,
      true,
    );
    for (const block of revokedBy(this.state, bytes)) open.revoked.push(block);
  }

  #commit({ versions, revoked }: Transaction): void {
    for (const version of versions) this.#versions.set(version.block, version);
    for (const block of revoked) this.#revoked.set(block, this.next);
    this.committed = this.next;
    this.next = (this.next + 1) >>> 0;
  }

  #step(blocks: number): void {
    const { first, end, hasFastCommits } = this.state;
    this.#seen += blocks;
    demand(this.#seen <= end - first, 'the log of its journal has no end', true);
    this.#at += blocks;
    if (this.#at < end) return;
    // With fast commits, versions of the kernel differ in where the log wraps.
    demand(!hasFastCommits, 'its journal has fast commits, and wraps around');
    this.#at = first;
  }
}

/** From one sequence number to another that is at most 2^31 away. */
function distance(from: number, to: number): number {
  return (to - from) | 0;
}

/** They count if they are of the transaction that the log ends before. The area begins at either of two blocks. */
async function refuseFastCommits(journal: Journal, state: JournalState, next: number): Promise<void> {
  for (const at of [state.end, state.end + 1]) {
    if (at >= state.blocks) continue;
    const bytes = await journal.read(at);
    if (bytes.every((byte) => byte === 0)) continue;
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const isHead = view.getUint16(0, true) === FAST_COMMIT_HEAD;
    const isOld = isHead && distance(next, view.getUint32(8, true)) < 0;
    demand(isOld, 'its journal has fast commits, which are not read here', true);
  }
}
