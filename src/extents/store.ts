/**
 * The client of a metadata server: files on extents with data journaling, as one client has them. It opens its session,
 * completes what a crash has left, and hands out the files.
 */
import { UserError } from '../errors.js';
import type { CompletedExtent } from '../metadata/completion.js';
import type { ServerEvent, SpaceInfo } from '../metadata/messages.js';
import { Completions } from './completions.js';
import type { ClientContext } from './context.js';
import type { OpenFileOptions, Recovery, StoreOptions } from './contract.js';
import { WriteMemory } from './epoch.js';
import type { ExtentFile } from './file.js';
import { FlagPlaces } from './flags/places.js';
import { giveUp, tellLost } from './giving-up.js';
import { JournalAdvice } from './journal-advice.js';
import { JournalReserve } from './journal-reserve.js';
import { OpenFiles } from './open-files.js';
import { findKept, transactionsToComplete } from './opening.js';
import { ReadsInFlight } from './reads-in-flight.js';
import { Session } from './session.js';
import { settingsOf } from './settings.js';
import { StoreFiles } from './store-files.js';
import { StoreJournal } from './store-journal.js';

const DEFAULT_WRITE_BEHIND_BYTES = 16 * 1024 * 1024;

export class ExtentStore {
  readonly files: StoreFiles;
  readonly journal: StoreJournal;
  #closed: Promise<void> | null = null;

  private constructor(
    private readonly context: ClientContext,
    private readonly open: OpenFiles,
    /** What was found and done when it opened. */
    readonly recovery: Recovery,
  ) {
    this.files = new StoreFiles(context, open);
    this.journal = new StoreJournal(context, open, this.files);
  }

  /** Throws what keeps a hardened transaction from being completed, with a hint. */
  static async open(options: StoreOptions): Promise<ExtentStore> {
    const settings = settingsOf(options);
    const { client, pool } = options;
    const session = new Session(options.service, client, settings.warn);
    const opened = await session.open();
    try {
      const reads = new ReadsInFlight();
      const { blocksPerExtent } = opened;
      const { blockBytes } = pool;
      const extentBytes = blockBytes * blocksPerExtent;
      const advice = new JournalAdvice(pool, extentBytes);
      const reserve = new JournalReserve(session, client, settings.warn, () => completions.freed(), advice);
      const open = new OpenFiles();
      const completions: Completions = new Completions({
        ...{ session, client, pool, reserve, reads, settings },
        onExtentDone: (done: CompletedExtent) => open.state(done.entry.file)?.extentDone(done),
        onAborted: (transaction, file, cause) => open.aborted(transaction, file, cause),
      });
      const flags = new FlagPlaces({
        ...{ session, client, pool, reserve, blocksPerExtent, extentBytes },
        extents: opened.extents,
        options: settings.flags,
      });
      const context: ClientContext = {
        ...{ session, client, pool, settings, reads, reserve, completions, flags },
        shape: { blockBytes, blocksPerExtent, extentBytes },
        memory: new WriteMemory(options.writeBehindBytes ?? DEFAULT_WRITE_BEHIND_BYTES),
        commitOthers: (file) => open.commitEarly(file),
      };
      session.subscribe(client, (event) => told(open, event));
      const found = await findKept(context, opened);
      open.use(context, found);
      const redone = settings.readOnly ? [] : await transactionsToComplete(context, opened);
      for (const transaction of redone) void completions.add(transaction, null).catch(() => {});
      await completions.firstRound();
      const store = new ExtentStore(context, open, {
        redoneTransactions: completions.statistics.transactions,
        freedJournalExtents: settings.readOnly ? 0 : found.stale.length,
        keptFiles: found.kept.size,
        lostFiles: found.lost.length,
        statistics: { ...completions.statistics },
      });
      await tellLost(context, store.files, found);
      if (!settings.readOnly) await giveUp(context, found, opened.locks);
      return store;
    } catch (cause) {
      session.close();
      throw cause;
    }
  }

  get blockBytes(): number {
    return this.context.shape.blockBytes;
  }

  get extentBytes(): number {
    return this.context.shape.extentBytes;
  }

  /**
   * Whoever opens a file that is open shares it. FILE_NOT_FOUND; PERMISSION_DENIED for writing a snapshot; IN_USE where
   * another client has it locked.
   */
  async openFile(name: string, options: OpenFileOptions): Promise<ExtentFile> {
    this.#check();
    return this.open.open(await this.files.get(name), options);
  }

  async space(): Promise<SpaceInfo> {
    const { session, client } = this.context;
    return session.request({ type: 'Space', client });
  }

  /** When all that was hardened by now is complete. Throws what keeps it from that. */
  async settled(): Promise<void> {
    await this.context.completions.idle();
    this.context.completions.check();
  }

  /**
   * Closes its files (see ExtentFile.close), waits until what was hardened is complete, and gives up what journal
   * extents were taken ahead. Closing twice is allowed. Service, engine and devices stay the caller's to close.
   */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    const { session, reserve, settings } = this.context;
    try {
      await this.open.closeAll();
      // What ended the session was told to all who asked for something.
      if (session.hasEnded) return;
      await this.settled();
      if (!settings.readOnly) await reserve.freeReady();
    } finally {
      session.close();
    }
  }

  #check(): void {
    this.context.session.check();
    if (this.#closed !== null) throw new UserError('IO_ERROR', 'the files of this volume are closed');
  }
}

function told(open: OpenFiles, event: ServerEvent): void {
  if (event.type === 'map-changed') open.state(event.file)?.map.drop(event.indexes);
  if (event.type !== 'file-removed') return;
  const state = open.state(event.file);
  state?.fail(
    new UserError('FILE_NOT_FOUND', 'another client has removed it', { details: { file: state.name } }),
  );
}
