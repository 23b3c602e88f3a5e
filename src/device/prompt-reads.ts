/**
 * Reads that stay on this thread: what the page cache holds is copied at once (preadv2(2) with RWF_NOWAIT), without the
 * turn through the thread pool that costs ten times as much. What it does not hold is not waited for here.
 *
 * Invariants
 * - No call waits for a disk: the kernel says EAGAIN where it would.
 * - Between two turns of the event loop only so much is read (turn-budget.ts).
 *
 * koffi is optional, and is loaded only when much is read: a command that looks at a few superblocks starts faster
 * without it.
 */
import { byteLength } from './buffers.js';
import { bindC } from './c-library.js';
import { TurnBudget } from './turn-budget.js';

/** As preadv2 has it: bytes read, 0 at the end of the file; negative: the number of the error. */
export type ReadNow = (fd: number, buffers: readonly Uint8Array[], position: number) => number;

/** More is copied by the thread pool, beside what else this thread has to do. */
const MAX_CALL_BYTES = 128 * 1024;
const MAX_CALL_BUFFERS = 8;
const READS_BEFORE_LOAD = 128;

export class PromptReads {
  private readNow: ReadNow | null = null;
  private reads = 0;
  private readonly budget = new TurnBudget();

  constructor(private readonly load: () => Promise<ReadNow | null> = loadReadNow) {}

  /** How many bytes were read; null: ask the thread pool. */
  read(fd: number, buffers: readonly Uint8Array[], position: number): number | null {
    if (this.readNow === null) {
      this.reads += 1;
      if (this.reads === READS_BEFORE_LOAD) void this.bind();
      return null;
    }
    if (buffers.length > MAX_CALL_BUFFERS) return null;
    const length = byteLength(buffers);
    if (length > MAX_CALL_BYTES || !this.budget.take(length)) return null;
    const bytes = this.readNow(fd, buffers, position);
    // The end of the file, and whatever is wrong, is told by the call that waits.
    return bytes > 0 ? bytes : this.missed(-bytes);
  }

  private async bind(): Promise<void> {
    this.readNow = await this.load();
  }

  private missed(errno: number): null {
    // A filesystem that cannot: it will not learn.
    if (errno === EOPNOTSUPP || errno === ENOSYS) this.readNow = null;
    return null;
  }
}

/** Linux's own numbers, the same on every machine that Node runs on. */
const RWF_NOWAIT = 8;
const ENOSYS = 38;
const EOPNOTSUPP = 95;

/** null: the thread pool reads everything. */
function loadReadNow(): Promise<ReadNow | null> {
  return bindC((koffi) => {
    koffi.struct('iovec', { base: 'uint8_t *', length: 'size_t' });
    const preadv2 = koffi
      .load(null)
      .func('int64_t preadv2(int fd, iovec *buffers, int count, int64_t offset, int flags)');
    return (fd, buffers, position) => {
      const list = buffers.map((base) => ({ base, length: base.byteLength }));
      const bytes = Number(preadv2(fd, list, list.length, position, RWF_NOWAIT));
      return bytes >= 0 ? bytes : -koffi.errno();
    };
  });
}
