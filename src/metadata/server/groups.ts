/**
 * One message after another, and one engine commit for all that wait together. What comes while a commit is under way
 * is handled when it has ended, and shares the next one; an answer is given when the commit of its group is durable,
 * also to a question: nobody is told what a crash could take back.
 *
 * Invariants
 * - One engine commit is under way at most; what a message reads is durable, or of its own group before it.
 * - A message that is refused has changed nothing, and the others of its group do not notice.
 * - Where the engine has no room for a group, each of its messages is tried alone: one that frees something
 *   must not fail for another's sake.
 */
import { UserError } from '../../errors.js';
import type { Change, MetadataEngine } from '../engine/contract.js';
import { Draft } from './draft.js';

/** Messages of a group: the first one must not wait for ever for the answer, however many questions come. */
const GROUP_TASKS = 256;

/** What a task has to work with. */
export interface Session {
  readonly draft: Draft;
  /** See Turn.commitPart. */
  commitPart(force?: boolean): Promise<void>;
  /** Runs when what was changed is durable. */
  afterwards(action: () => void): void;
}

interface Task {
  readonly isAlone: boolean;
  readonly run: (session: Session) => Promise<unknown>;
  readonly resolve: (reply: unknown) => void;
  readonly reject: (cause: unknown) => void;
}

interface Outcome {
  readonly task: Task;
  readonly reply: unknown;
  readonly actions: readonly (() => void)[];
}

export interface GroupsOptions {
  /** A group, or a part, that has grown to this is put. */
  readonly partBytes: number;
  /** What was read in a draft that was dropped is not so. */
  onDropped(): void;
  /** Whether the changes begin what `background` goes on with. */
  startsBackground(changes: readonly Change[]): boolean;
  /** A step of what is no message; false: there is none. */
  background(session: Session): Promise<boolean>;
}

export class Groups {
  readonly #engine: MetadataEngine;
  readonly #options: GroupsOptions;
  readonly #tasks: Task[] = [];
  #isRunning = false;
  #isIdle: Promise<void> = Promise.resolve();
  #hasBackground = true;
  /** What made the background stop, until it goes on. */
  #stopped: { readonly cause: unknown } | null = null;
  /** Of whoever was told something. */
  #fault: { readonly cause: unknown } | null = null;

  constructor(engine: MetadataEngine, options: GroupsOptions) {
    this.#engine = engine;
    this.#options = options;
  }

  /** `isAlone`: it commits parts of its own. */
  run<T>(isAlone: boolean, run: (session: Session) => Promise<T>): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#tasks.push({ isAlone, run, resolve: resolve as (reply: unknown) => void, reject });
      this.kick();
    });
  }

  /** Begins what is to be done, if nothing is under way. */
  kick(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#isIdle = this.#loop();
  }

  /** When there is nothing left to do, also in the background. Throws what stopped it, or what was thrown when told. */
  async idle(): Promise<void> {
    while (this.#isRunning) await this.#isIdle;
    const failed = this.#stopped ?? this.#fault;
    if (failed !== null) throw failed.cause;
  }

  async #loop(): Promise<void> {
    for (;;) {
      if (this.#tasks[0]?.isAlone) await this.#runAlone(this.#tasks.shift()!);
      else if (this.#tasks.length > 0) await this.#runGroup();
      // Between messages, so that neither keeps the other from going on.
      if (this.#hasBackground) await this.#runBackground();
      else if (this.#tasks.length === 0) {
        this.#isRunning = false;
        return;
      }
    }
  }

  async #runGroup(): Promise<void> {
    const draft = new Draft(this.#engine, { remembers: true });
    const outcomes: Outcome[] = [];
    for (
      let n = 0;
      n < GROUP_TASKS && this.#tasks[0]?.isAlone === false && draft.bytes < this.#options.partBytes;
      n++
    ) {
      const outcome = await this.#attempt(this.#tasks.shift()!, draft);
      if (outcome !== null) outcomes.push(outcome);
    }
    try {
      await this.#commit(draft);
    } catch (cause) {
      this.#options.onDropped();
      const isFull = cause instanceof UserError && cause.code === 'NO_SPACE';
      if (isFull && outcomes.length > 1) for (const { task } of outcomes) await this.#runAlone(task);
      else for (const { task } of outcomes) task.reject(cause);
      return;
    }
    for (const { task, reply, actions } of outcomes) this.#answer(task, reply, actions);
  }

  /** One message of a group, on a draft of its own; null: it was refused. */
  async #attempt(task: Task, group: Draft): Promise<Outcome | null> {
    const draft = new Draft(group);
    const actions: (() => void)[] = [];
    const afterwards = (action: () => void) => void actions.push(action);
    try {
      const reply = await task.run({ draft, afterwards, commitPart: async () => {} });
      group.adopt(draft);
      return { task, reply, actions };
    } catch (cause) {
      this.#options.onDropped();
      task.reject(cause);
      return null;
    }
  }

  async #runAlone(task: Task): Promise<void> {
    const { session, actions } = this.#sessionAlone();
    try {
      const reply = await task.run(session);
      await session.commitPart(true);
      this.#answer(task, reply, actions);
    } catch (cause) {
      this.#options.onDropped();
      task.reject(cause);
    }
  }

  async #runBackground(): Promise<void> {
    const { session, actions } = this.#sessionAlone();
    try {
      this.#hasBackground = await this.#options.background(session);
      await session.commitPart(true);
      this.#stopped = null;
      this.#act(actions);
    } catch (cause) {
      // It has its keys in the engine: it goes on when something starts it again, or the server opens again.
      this.#hasBackground = false;
      this.#stopped = { cause };
      this.#options.onDropped();
    }
  }

  #sessionAlone(): { session: Session; actions: (() => void)[] } {
    const draft = new Draft(this.#engine, { remembers: true });
    const actions: (() => void)[] = [];
    const commitPart = async (force = false) => {
      if (!force && draft.bytes < this.#options.partBytes) return;
      try {
        await this.#commit(draft);
      } finally {
        // What failed is not there: what is made of it is made of what the engine has.
        draft.clear();
      }
    };
    return { session: { draft, commitPart, afterwards: (action) => void actions.push(action) }, actions };
  }

  async #commit(draft: Draft): Promise<void> {
    if (draft.isEmpty) return;
    const changes = draft.changes();
    await this.#engine.commit(changes);
    if (this.#options.startsBackground(changes)) this.#hasBackground = true;
  }

  #answer(task: Task, reply: unknown, actions: readonly (() => void)[]): void {
    this.#act(actions);
    task.resolve(reply);
  }

  /** The changes are durable: what goes wrong with whoever is told must not undo the answer. */
  #act(actions: readonly (() => void)[]): void {
    for (const action of actions) {
      try {
        action();
      } catch (cause) {
        this.#fault ??= { cause };
      }
    }
  }
}
