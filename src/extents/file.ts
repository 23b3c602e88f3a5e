/**
 * A file on extents that is open: any byte can be read and written, it grows, and is sparse; `commit` makes what was
 * acknowledged before it durable, whole or not at all. Calls may overlap: they have the order in which they came.
 *
 * All who open a file share one ExtentFile. What is neither committed nor kept when the last one closes it is gone.
 */
import { byteLength } from '../device/buffers.js';
import type { Buffers, Extent } from '../device/contract.js';
import { UserError } from '../errors.js';
import type { FlagPlace } from '../metadata/flag-places.js';
import { MOST_FILE_EXTENTS } from '../metadata/messages.js';
import { Commits, dropEpoch } from './commits.js';
import type { CommitResult, FileJournal, FileStatistics } from './contract.js';
import type { Epoch } from './epoch.js';
import { clearFile, resizeFile } from './file-clears.js';
import { extentsOf, readRange } from './file-reads.js';
import type { FileState } from './file-state.js';
import { writeFile } from './file-writes.js';
import { keep } from './keeping.js';
import { withdrawKept, withdrawNumber } from './kept-flags.js';

const ALL = Number.MAX_SAFE_INTEGER;

export class ExtentFile {
  readonly #commits: Commits;
  #calls = 0;
  #idle: (() => void) | null = null;

  /** Files are opened with ExtentStore.openFile. `release`: this opener has closed it. */
  constructor(
    private readonly state: FileState,
    private readonly release: () => Promise<void>,
  ) {
    this.#commits = new Commits(state);
  }

  get name(): string {
    return this.state.name;
  }

  /** Number of the file: it stays when the name changes. */
  get file(): number {
    return this.state.file;
  }

  get isReadOnly(): boolean {
    return !this.state.isWritable;
  }

  /** With what is not committed. */
  get sizeBytes(): number {
    return this.state.sizeBytes;
  }

  get statistics(): FileStatistics {
    return { ...this.state.counts };
  }

  /** What is not committed. */
  get journal(): FileJournal {
    const { current, file, name, sizeBytes, committedSizeBytes } = this.state;
    const { marked: writtenBlocks, cleared: clearedBlocks } = current.count();
    const extents = [...current.places.values()].filter(({ journal }) => journal !== null).length;
    const kept = { flags: current.keptIn, away: null, isOpen: true };
    return { file, name, extents, writtenBlocks, clearedBlocks, sizeBytes, committedSizeBytes, ...kept };
  }

  get hasUncommitted(): boolean {
    return !this.state.current.isEmpty;
  }

  /** One's own uncommitted writes too. OUT_OF_RANGE past the end; fails when the client's lease has ended. */
  read(offset: number, into: Buffers): Promise<void> {
    const length = byteLength(into);
    return this.#call(async () => {
      this.#checkRange('read', offset, length);
      if (length === 0) return;
      await this.#shared(offset, length, () => readRange(this.state, offset, into, length));
    });
  }

  /** At any byte; the file grows. NO_SPACE where no journal extent is to be had: then nothing of it is written. */
  write(offset: number, from: Buffers): Promise<void> {
    return this.#change(async () => {
      const length = byteLength(from);
      this.#checkEnd('write', offset, length);
      if (length > 0) await writeFile(this.state, offset, from);
    });
  }

  /** Reads as zeroes afterwards, and whole blocks have no room any more. Within the size. */
  clear(offset: number, length: number): Promise<void> {
    return this.#change(async () => {
      this.#checkRange('clear', offset, length);
      if (length > 0) await clearFile(this.state, offset, length);
    });
  }

  resize(sizeBytes: number): Promise<void> {
    return this.#change(async () => {
      this.#checkEnd('resize', sizeBytes, 0);
      await resizeFile(this.state, sizeBytes);
    });
  }

  /** `data` and `hole`, in whole blocks but at the ends of the range. */
  extents(offset: number, length: number): Promise<Extent[]> {
    return this.#call(async () => {
      this.#checkRange('extents', offset, length);
      if (length === 0) return [];
      return this.#shared(offset, length, () => extentsOf(this.state, offset, length));
    });
  }

  /**
   * All that was acknowledged before, whole or not at all whatever happens; durable when it answers. `isComplete`: waits
   * for its completion too, so that all counts of the result are final.
   */
  commit(options: { readonly isComplete?: boolean } = {}): Promise<CommitResult> {
    return this.#change(() => this.#commits.commit(options));
  }

  /**
   * What is not committed outlives this process, and is seen by nobody else. Later writes take that back. `flags`: where
   * its flags are kept, if not where the store keeps them.
   */
  keep({ flags }: { readonly flags?: FlagPlace | undefined } = {}): Promise<void> {
    return this.#change(() =>
      this.#alone(async () => {
        await this.#commits.hardenSealed();
        await keep(this.state, this.state.current, flags);
      }),
    );
  }

  /** What is not committed is gone. */
  discard(): Promise<void> {
    return this.#change(() => this.#alone(() => this.#discard()));
  }

  /** Of one who opened it. With the last one, what is neither committed nor kept is gone. Waits for calls under way. */
  close(): Promise<void> {
    return this.release();
  }

  /** For the store: with the last opener. Gives up what is not kept. */
  async end(): Promise<void> {
    const { state } = this;
    state.isClosed = true;
    if (this.#calls > 0) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    if (!state.isWritable || state.context.session.hasEnded) return;
    await state.inTurn(async () => {
      const left = takeLeft(state);
      // Where one cannot be given up, the others hold no memory all the same.
      for (const epoch of left) epoch.dropBuffers();
      await this.#makeVoid();
      for (const epoch of left) await this.#drop(epoch);
    });
  }

  /** For the store: no commit is sealed or hardened meanwhile. */
  withoutCommits<T>(body: () => Promise<T>): Promise<T> {
    return this.state.inTurn(body);
  }

  async #drop(epoch: Epoch): Promise<void> {
    const { state } = this;
    const { context, failed, name } = state;
    if (failed === null) return dropEpoch(state, epoch);
    // Its flags without its size, or the other way round, would be a mixture: all of it stays as the server has it.
    if (state.isInDoubt) return;
    try {
      // Their target may be what has failed.
      await dropEpoch(state, epoch, { toPool: true });
    } catch (cause) {
      // It may be hardened, for all that is known: then the server refuses, and what it has not is freed at the next opening.
      context.settings.warn(`${name}: journal extents are not given back: ${String(cause)}`);
    }
  }

  /**
   * Before what the server may have kept is given up: a keeping whose answer was lost may count. After a commit that
   * failed the size may be the commit's already, and nobody knows.
   */
  async #makeVoid(): Promise<void> {
    const { state } = this;
    if (!state.hasKeptSize || state.current.isKept) return;
    state.isInDoubt = true;
    if (state.failed !== null) return;
    await withdrawNumber(state);
    state.isInDoubt = false;
  }

  async #discard(): Promise<void> {
    const { state } = this;
    const dropped = [...state.unhardened, state.current];
    // A commit that found no room may have sealed what is kept.
    for (const epoch of dropped) if (epoch.isKept) await withdrawKept(state, epoch);
    if (state.hasKeptSize) await withdrawNumber(state);
    state.sealed = state.sealed.filter((epoch) => !dropped.includes(epoch));
    state.current = state.newEpoch();
    for (const epoch of dropped) await dropEpoch(state, epoch);
  }

  /** Nothing else of the file is under way but completion. */
  #alone(body: () => Promise<void>): Promise<void> {
    const { state } = this;
    return state.locked(0, ALL, true, () =>
      state.inTurn(async () => {
        state.check();
        await body();
      }),
    );
  }

  #shared<T>(offset: number, length: number, body: () => Promise<T>): Promise<T> {
    const { blockBytes } = this.state.context.shape;
    const start = Math.floor(offset / blockBytes) * blockBytes;
    return this.state.locked(start, Math.ceil((offset + length) / blockBytes) * blockBytes, false, body);
  }

  #change<T>(body: () => Promise<T>): Promise<T> {
    return this.#call(async () => {
      if (!this.state.isWritable) {
        throw new UserError('PERMISSION_DENIED', `${this.name} is open for reading only`, {
          hint: this.state.info.isReadOnly ? 'It is a snapshot.' : 'Open it for writing.',
          details: { file: this.name },
        });
      }
      this.state.check();
      return body();
    });
  }

  async #call<T>(body: () => Promise<T>): Promise<T> {
    if (this.state.isClosed) {
      throw new UserError('IO_ERROR', `${this.name} is closed`, { details: { file: this.name } });
    }
    this.state.context.session.check();
    this.#calls += 1;
    try {
      return await body();
    } finally {
      this.#calls -= 1;
      if (this.#calls === 0) this.#idle?.();
    }
  }

  /** A file has so many extents, and no byte past what numbers can tell. */
  #checkEnd(what: string, offset: number, length: number): void {
    const mostBytes = Math.min(MOST_FILE_EXTENTS * this.state.context.shape.extentBytes, ALL);
    checkNumbers(this.name, what, offset, length);
    if (offset + length <= mostBytes) return;
    throw new UserError(
      'OUT_OF_RANGE',
      `${this.name}: ${what} of ${length} bytes at offset ${offset}: a file has ${mostBytes} bytes at most`,
      { details: { file: this.name, offsetBytes: offset, lengthBytes: length, mostBytes } },
    );
  }

  #checkRange(what: string, offset: number, length: number): void {
    checkNumbers(this.name, what, offset, length);
    const { sizeBytes } = this.state;
    if (offset <= sizeBytes && length <= sizeBytes - offset) return;
    throw new UserError(
      'OUT_OF_RANGE',
      `${this.name}: ${what} of ${length} bytes at offset ${offset}: it ends at ${sizeBytes} bytes`,
      { details: { file: this.name, offsetBytes: offset, lengthBytes: length, sizeBytes } },
    );
  }
}

/**
 * What is to be given up. An early commit that another file has asked for may come behind this: it must not find it.
 * What is kept and was sealed by a commit for which there was no room is kept still.
 */
function takeLeft(state: FileState): Epoch[] {
  const { unhardened } = state;
  const left = [...unhardened, state.current];
  state.sealed = state.sealed.filter((epoch) => !unhardened.includes(epoch));
  const kept = left.find((epoch) => epoch.isKept && (epoch === state.current || state.failed === null));
  state.current = kept ?? state.newEpoch();
  return left.filter((epoch) => epoch !== kept);
}

function checkNumbers(name: string, what: string, offset: number, length: number): void {
  const isSafe = Number.isSafeInteger(offset) && Number.isSafeInteger(offset + length);
  if (isSafe && offset >= 0 && length >= 0) return;
  throw new UserError('OUT_OF_RANGE', `${name}: ${what} of ${length} bytes at ${offset}: no such bytes`, {
    details: { file: name, offsetBytes: offset, lengthBytes: length },
  });
}
