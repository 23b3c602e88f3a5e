/**
 * The files that are open, one ExtentFile each however many have opened it, and what is kept of files that are not
 * (opening.ts). Who opens a file for writing has its lock until the last one closes it, or longer where it keeps
 * something.
 */
import { UserError } from '../errors.js';
import type { FileInfo } from '../metadata/messages.js';
import type { ClientContext } from './context.js';
import type { OpenFileOptions } from './contract.js';
import { ExtentFile } from './file.js';
import { FileState } from './file-state.js';
import type { KeptFile } from './flags/contract.js';
import type { AwayFile } from './opening.js';

interface Opened {
  readonly state: FileState;
  readonly file: ExtentFile;
  openers: number;
}

export class OpenFiles {
  readonly #open = new Map<number, Opened>();
  /** Opening and closing of a file wait for one another. */
  readonly #turns = new Map<number, Promise<unknown>>();
  /** See FileState.isInDoubt: who opens the volume next finds out. */
  readonly #inDoubt = new Set<number>();
  #context!: ClientContext;
  kept: Map<number, KeptFile> = new Map();
  /** Of these too something is kept, and cannot be had now. */
  away: Map<number, AwayFile> = new Map();

  use(context: ClientContext, found: { kept: Map<number, KeptFile>; away: Map<number, AwayFile> }): void {
    this.#context = context;
    this.kept = found.kept;
    this.away = found.away;
  }

  state(file: number): FileState | undefined {
    return this.#open.get(file)?.state;
  }

  get(file: number): ExtentFile | undefined {
    return this.#open.get(file)?.file;
  }

  all(): ExtentFile[] {
    return [...this.#open.values()].map(({ file }) => file);
  }

  open(info: FileInfo, options: OpenFileOptions): Promise<ExtentFile> {
    return this.#inTurn(info.file, () => this.#openOne(info, options));
  }

  /** Each file as if all who have it open had closed it; throws the first failure when all are closed. */
  async closeAll(): Promise<void> {
    const failures: unknown[] = [];
    for (const opened of [...this.#open.values()]) {
      opened.openers = 0;
      await this.#inTurn(opened.state.file, () => this.#end(opened)).catch((cause: unknown) =>
        failures.push(cause),
      );
    }
    if (failures.length > 0) throw failures[0];
  }

  /** Of all but one that have something and want it committed. False: none was. */
  async commitEarly(butFile: number): Promise<boolean> {
    const others = [...this.#open.values()].filter(
      ({ state }) =>
        state.file !== butFile &&
        state.onJournalFull === 'commit' &&
        state.failed === null &&
        !state.current.isEmpty,
    );
    let hasCommitted = false;
    for (const { state } of others) {
      try {
        await state.commitEarly();
        hasCommitted = true;
      } catch (cause) {
        // Theirs to be told with their next call: who asks for room has lost nothing.
        this.#context.settings.warn(`${state.name}: an early commit failed: ${String(cause)}`);
      }
    }
    return hasCommitted;
  }

  /** Paragraph 51: the file is as of the commit before. */
  aborted(transaction: number, file: number | null, cause: UserError): void {
    for (const { state } of this.#open.values()) {
      if (state.file !== file && file !== null) continue;
      state.map.drop(null);
      if (state.file !== file) continue;
      state.sealed = state.sealed.filter((epoch) => epoch.transaction !== transaction);
      state.fail(cause);
    }
  }

  async #openOne(info: FileInfo, options: OpenFileOptions): Promise<ExtentFile> {
    const isNew = !this.#open.has(info.file);
    const opened = this.#open.get(info.file) ?? this.#make(info);
    if (options.access === 'write' && !opened.state.isWritable) await this.#makeWritable(opened.state, isNew);
    else if (isNew) {
      await this.#lock(opened.state, 'read');
      await this.#learnSize(opened.state);
    }
    if (options.uncommitted === true) {
      this.#refuseAway(opened.state);
      this.#resume(opened.state);
    }
    if (options.onJournalFull !== undefined) opened.state.onJournalFull = options.onJournalFull;
    opened.openers += 1;
    this.#open.set(info.file, opened);
    return opened.file;
  }

  #make(info: FileInfo): Opened {
    const state = new FileState(this.#context, info, info.name);
    const opened: Opened = { state, file: new ExtentFile(state, () => this.#release(opened)), openers: 0 };
    return opened;
  }

  /** Before it was locked, others may have committed another size than the one that was looked up. */
  async #learnSize(state: FileState): Promise<void> {
    const { session, client } = this.#context;
    const request = { client, file: state.file, from: 0, count: 1 };
    const { sizeBytes } = await session.request({ type: 'Map_Extents', ...request });
    state.committedSizeBytes = sizeBytes;
  }

  async #makeWritable(state: FileState, isNew: boolean): Promise<void> {
    if (state.info.isReadOnly || this.#context.settings.readOnly) {
      const why = state.info.isReadOnly ? 'it is a snapshot' : 'the volume was opened read only';
      throw new UserError('PERMISSION_DENIED', `${state.name} cannot be written: ${why}`, {
        details: { file: state.name },
      });
    }
    if (this.#inDoubt.has(state.file)) {
      throw new UserError('REFUSED', `${state.name}: whether its last commit counts is not known`, {
        hint: 'Close the volume and open it again: then it is committed, or still in the journal.',
        details: { file: state.name },
      });
    }
    this.#refuseAway(state);
    await this.#lock(state, 'write');
    if (isNew) await this.#learnSize(state);
    this.#resume(state);
    state.isWritable = true;
  }

  /** What was kept is the current epoch again. */
  #resume(state: FileState): void {
    const kept = this.kept.get(state.file);
    if (kept === undefined) return;
    this.kept.delete(state.file);
    for (const { index, journal, marked, cleared } of kept.extents) {
      const place = state.current.place(index);
      Object.assign(place, { journal, isAssociated: true, marked: marked.slice(), cleared: cleared.slice() });
    }
    if (kept.sizeBytes !== state.committedSizeBytes) state.current.sizeBytes = kept.sizeBytes;
    state.current.keptIn = kept.where;
    state.current.flagsExtents.push(...kept.flagsExtents);
    state.hasKeptSize = true;
  }

  /** What is kept of it would be lost when something else is written. */
  #refuseAway({ file, name }: FileState): void {
    const away = this.away.get(file);
    if (away === undefined) return;
    const { code, message, hint } = away.cause;
    throw new UserError(code, `${name}: what is kept of it and not committed cannot be had now: ${message}`, {
      hint: `${hint ?? 'Try it again later.'} holdfast journal discard gives it up.`,
      details: { ...away.cause.details, file: name },
      cause: away.cause,
    });
  }

  /** A snapshot never changes: who reads it needs none. */
  async #lock(state: FileState, mode: 'read' | 'write'): Promise<void> {
    const { session, client, settings } = this.#context;
    if (state.info.isReadOnly || settings.readOnly) return;
    const { isGranted } = await session.request({ type: 'Lock_File', client, file: state.file, mode });
    if (isGranted) return;
    throw new UserError('IN_USE', `${state.name} is open by another client`, {
      hint: 'Close it there, or wait until the lease of that client ends.',
      details: { file: state.name, mode },
    });
  }

  async #release(opened: Opened): Promise<void> {
    if (opened.openers === 0) return;
    opened.openers -= 1;
    if (opened.openers > 0) return;
    await this.#inTurn(opened.state.file, () => this.#end(opened));
  }

  async #end(opened: Opened): Promise<void> {
    const { state, file } = opened;
    // Somebody has opened it meanwhile, or closed it.
    if (opened.openers > 0 || this.#open.get(state.file) !== opened) return;
    try {
      await file.end();
    } finally {
      // It is closed whatever has failed: the next one opens it anew.
      this.#open.delete(state.file);
      if (state.isInDoubt) this.#inDoubt.add(state.file);
    }
    const { session, client, settings } = this.#context;
    if (session.hasEnded || settings.readOnly || state.isInDoubt) return;
    if (state.current.isKept) this.kept.set(state.file, keptOf(state));
    else if (!state.info.isReadOnly) await session.request({ type: 'Unlock_File', client, file: state.file });
  }

  #inTurn<T>(file: number, body: () => Promise<T>): Promise<T> {
    const turn = (this.#turns.get(file) ?? Promise.resolve()).then(body);
    const ended = turn.then(
      () => {},
      () => {},
    );
    this.#turns.set(file, ended);
    void ended.then(() => {
      if (this.#turns.get(file) === ended) this.#turns.delete(file);
    });
    return turn;
  }
}

function keptOf({ file, sizeBytes, current }: FileState): KeptFile {
  const extents = [...current.places.values()]
    .filter((place) => !place.isEmpty)
    .map(({ index, journal, marked, cleared }) => ({ file, index, journal: journal!, marked, cleared }));
  return { file, sizeBytes, extents, where: current.keptIn!, flagsExtents: [...current.flagsExtents] };
}
