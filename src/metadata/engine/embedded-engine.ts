/**
 * The metadata engine on a range of a block device: a log, in which commits become durable, and a tree, into which
 * checkpoints put them. Opened by open-engine.ts.
 *
 * A read looks at what is not in the tree yet (overlay.ts), then in the tree as the newest durable root has it. A commit
 * is put into the overlay and the log in the same turn, so that both have all transactions in one order.
 *
 * Invariants
 * - What a checkpoint takes from the overlay is what the log has up to its mark, not more and not less.
 * - A commit is taken only if the log has room for it, and the range for the tree that will be; else it waits for a
 *   checkpoint, and those behind it wait too. What does not fit then is NO_SPACE, and so are those behind it.
 * - The first failure of a write or a flush ends writing for good.
 */
import { SharedFlush } from '../../device/shared-flush.js';
import { type CheckpointParts, writeNextTree } from './checkpoint.js';
import { type Change, type Entry, type MetadataEngine, transactionBytes } from './contract.js';
import { encodeChanges } from './entry-codec.js';
import { keyAfter, keyText } from './key-text.js';
import type { LogWriter } from './log-writer.js';
import { entryOf, mergeLayers, type Overlay } from './overlay.js';
import { noSpace, readOnlyRefusal } from './refusals.js';
import type { Root } from './root.js';
import { SortedMap } from './sorted-map.js';
import { fits } from './tree-growth.js';
import { leafFor, leafInMemory, leafRange, valueIn, valueInMemory } from './tree-reading.js';

/** So many entries are taken at a time. */
const BATCH_ENTRIES = 256;
/** The log is so full when a checkpoint begins in the background. */
const CHECKPOINT_AT = 3 / 4;
/** Commits wait when there is so many times more in memory than makes a checkpoint begin. */
const MOST_OVERLAYS = 2;

export interface EngineParts extends CheckpointParts {
  readonly root: Root;
  readonly overlay: Overlay;
  /** null: it is opened for reading. */
  readonly log: LogWriter | null;
  readonly transactionLimitBytes: number;
  /** Memory for what is not in the tree: a checkpoint begins when there is more. */
  readonly overlayLimitBytes: number;
}

interface Transaction {
  readonly encoded: Uint8Array;
  readonly changes: readonly (readonly [string, Uint8Array | null])[];
  readonly puts: number;
}

/** One that waits for a checkpoint. */
interface Waiting {
  readonly transaction: Transaction;
  /** Its changes, for reads. */
  readonly layer: SortedMap<Uint8Array | null>;
  resolve(done: Promise<void>): void;
  reject(error: unknown): void;
}

export class EmbeddedEngine implements MetadataEngine {
  readonly #parts: EngineParts;
  readonly #overlay: Overlay;
  readonly #checkpoints = new SharedFlush(() => this.#runCheckpoint());
  #root: Root;
  #waiting: Waiting[] = [];
  #admitting: Promise<void> | null = null;
  #inBackground: Promise<void> | null = null;
  #failure: { readonly error: unknown } | null = null;
  #closing: Promise<void> | null = null;

  /** @internal Made by openEngine. */
  constructor(parts: EngineParts) {
    this.#parts = parts;
    this.#overlay = parts.overlay;
    this.#root = parts.root;
  }

  /** Pages of the tree, of those that there are, and bytes of the log that are not free. */
  get usage(): { pages: number; pagesUsed: number; logBytes: number; logUsedBytes: number } {
    const { space, layout, log } = this.#parts;
    const { logBytes } = layout;
    return { pages: space.pages, pagesUsed: space.liveCount, logBytes, logUsedBytes: log?.takenBytes ?? 0 };
  }

  /** Generation of the newest durable root. */
  get generation(): number {
    return this.#root.generation;
  }

  /** @internal What failed, from whoever writes. */
  fail(error: unknown): void {
    this.#failure ??= { error };
  }

  async get(key: Uint8Array): Promise<Uint8Array | null> {
    this.#expectOpen();
    const text = keyText(key);
    const found = this.#notInTree(text);
    if (found !== undefined) return found?.slice() ?? null;
    const { pages } = this.#parts;
    const now = valueInMemory(pages, this.#root, text);
    return now !== undefined ? now : this.#withTree(() => valueIn(pages, this.#root, text));
  }

  async *entries(from: Uint8Array, to: Uint8Array): AsyncGenerator<Entry> {
    const end = keyText(to);
    for (let next = keyText(from); next < end; ) {
      this.#expectOpen();
      const batch = await this.#batch(next, end);
      yield* batch.entries;
      next = batch.upTo;
    }
  }

  async commit(changes: readonly Change[]): Promise<void> {
    this.#expectOpen();
    if (this.#parts.log === null) throw readOnlyRefusal(this.#parts.halves.range);
    const bytes = transactionBytes(changes, this.#parts.transactionLimitBytes);
    if (this.#failure !== null) throw this.#failure.error;
    if (changes.length === 0) return;
    const transaction: Transaction = {
      encoded: encodeChanges(changes, bytes),
      changes: changes.map(({ key, value }) => [keyText(key), value?.slice() ?? null] as const),
      puts: changes.filter(({ value }) => value !== null).length,
    };
    if (this.#waiting.length === 0 && this.#hasRoomFor(transaction)) return this.#take(transaction);
    return this.#wait(transaction);
  }

  async checkpoint(): Promise<void> {
    this.#expectOpen();
    if (this.#parts.log === null) throw readOnlyRefusal(this.#parts.halves.range);
    await this.#checkpoints.run();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#admitting;
    await this.#parts.log?.idle();
    await this.#inBackground;
  }

  #expectOpen(): void {
    if (this.#closing !== null) throw new Error('the metadata engine is closed');
  }

  #notInTree(key: string): Uint8Array | null | undefined {
    const layer = this.#waiting.findLast(({ layer }) => layer.get(key) !== undefined)?.layer;
    return layer === undefined ? this.#overlay.get(key) : layer.get(key);
  }

  /** The newest first. */
  #layers(): SortedMap<Uint8Array | null>[] {
    return [...this.#waiting.map(({ layer }) => layer).reverse(), ...this.#overlay.layers()];
  }

  /** The pages of the newest tree stay as they are meanwhile. */
  async #withTree<T>(body: () => Promise<T>): Promise<T> {
    const unpin = this.#parts.space.pin();
    try {
      return await body();
    } finally {
      unpin();
    }
  }

  /** What one leaf has, and what lies over it. Layers and root are taken in one turn: together they are all there is. */
  async #batch(from: string, to: string): Promise<{ entries: Entry[]; upTo: string }> {
    const layers = this.#layers();
    const { pages } = this.#parts;
    const now = leafInMemory(pages, this.#root, from);
    const leaf = now !== undefined ? now : await this.#withTree(() => leafFor(pages, this.#root, from));
    const end = leaf?.upTo != null && leaf.upTo < to ? leaf.upTo : to;
    const sources = layers.map(
      (layer): Iterator<readonly [string, Uint8Array | null]> => layer.range(from, end),
    );
    if (leaf !== null) sources.push(leafRange(leaf, from, end));
    const entries: Entry[] = [];
    for (const [key, value] of mergeLayers(sources)) {
      if (value === null) continue;
      entries.push(entryOf([key, value]));
      if (entries.length === BATCH_ENTRIES) return { entries, upTo: keyAfter(key) };
    }
    return { entries, upTo: end };
  }

  #hasRoomFor({ encoded, puts }: Transaction): boolean {
    const { log, overlayLimitBytes } = this.#parts;
    if (!log!.hasRoomFor(encoded.byteLength) || this.#overlay.memoryBytes > MOST_OVERLAYS * overlayLimitBytes)
      return false;
    return puts === 0 || this.#fitsTree(puts, encoded.byteLength, false);
  }

  #fitsTree(puts: number, bytes: number, isShrinking: boolean): boolean {
    const { space } = this.#parts;
    const { amount } = this.#overlay;
    const more = { puts: amount.puts + puts, bytes: amount.bytes + bytes };
    return fits(space.pages, space.liveCount, more, isShrinking);
  }

  #take({ encoded, changes }: Transaction): Promise<void> {
    const { log, layout, overlayLimitBytes } = this.#parts;
    for (const [key, value] of changes) this.#overlay.set(key, value);
    const done = log!.append(encoded, changes.length);
    const isFull = log!.takenBytes >= CHECKPOINT_AT * layout.logBytes;
    if (isFull || this.#overlay.memoryBytes > overlayLimitBytes) this.#checkpointInBackground();
    return done;
  }

  #checkpointInBackground(): void {
    // What it fails with is kept, and told to every later commit.
    this.#inBackground ??= this.#checkpoints
      .run()
      .catch((error: unknown) => this.fail(error))
      .then(() => {
        this.#inBackground = null;
      });
  }

  #wait(transaction: Transaction): Promise<void> {
    const layer = new SortedMap<Uint8Array | null>();
    for (const [key, value] of transaction.changes) layer.set(key, value);
    return new Promise<void>((resolve, reject) => {
      this.#waiting.push({ transaction, layer, resolve, reject });
      this.#admitting ??= this.#admit();
    });
  }

  /** Takes those that wait, in their order, after as many checkpoints as that needs. */
  async #admit(): Promise<void> {
    while (this.#waiting.length > 0) {
      const { transaction, resolve } = this.#waiting[0]!;
      try {
        if (!this.#hasRoomFor(transaction)) await this.#makeRoomFor(transaction);
      } catch (error) {
        // Those behind it may have been made of what they read of it.
        for (const { reject } of this.#waiting) reject(error);
        this.#waiting = [];
        break;
      }
      // In one turn: it leaves those that wait, and is in the overlay.
      this.#waiting.shift();
      resolve(this.#take(transaction));
    }
    this.#admitting = null;
  }

  /** Throws NO_SPACE if a checkpoint does not help: then it is known how many pages there are. */
  async #makeRoomFor(transaction: Transaction): Promise<void> {
    await this.#checkpoints.run();
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#hasRoomFor(transaction)) return;
    const { puts, encoded } = transaction;
    const isShrinking = (await this.#growthBytes(transaction)) <= 0;
    if (isShrinking && this.#fitsTree(puts, encoded.byteLength, true)) return;
    throw noSpace(this.#parts.halves.range, this.usage);
  }

  /** By how many bytes what is stored gets longer. */
  async #growthBytes({ changes }: Transaction): Promise<number> {
    let bytes = 0;
    for (const [key, value] of new Map(changes)) {
      const found = this.#overlay.get(key);
      const inTree = () => valueIn(this.#parts.pages, this.#root, key);
      const old = found !== undefined ? found : await this.#withTree(inTree);
      if (value !== null) bytes += key.length + value.byteLength;
      if (old !== null) bytes -= key.length + old.byteLength;
    }
    return bytes;
  }

  async #runCheckpoint(): Promise<void> {
    if (this.#failure !== null) throw this.#failure.error;
    try {
      await this.#putIntoTree();
    } catch (error) {
      this.fail(error);
      throw error;
    }
  }

  async #putIntoTree(): Promise<void> {
    const { pages, log, space } = this.#parts;
    if (this.#overlay.isEmpty && log!.takenBytes === 0 && !pages.hasBadCopies) return;
    // In one turn: what is in the overlay now is in the log before the mark, and nothing else is.
    let changes: readonly (readonly [string, Uint8Array | null])[] = this.#overlay.freeze();
    const marked = log!.mark();
    // Whatever fails before it is asked for is thrown from there.
    marked.catch(() => undefined);
    await pages.mend();
    // Nothing of the tree is ahead of the log.
    const place = await marked;
    do {
      const next = await writeNextTree(this.#parts, this.#root, changes, place);
      // In one turn: who reads from now on sees the new tree, and its pages are held.
      space.become(next.pages, next.root.generation);
      this.#root = next.root;
      changes = next.left;
    } while (changes.length > 0);
    this.#overlay.drop();
    log!.release(place.position);
  }
}
