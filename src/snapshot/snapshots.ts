/**
 * The moments of a volume that outlive the command that chose them: snapshots, which can be read, and marks, which know what was
 * changed since. Chains of layers over one gate (layers/chain.ts), a list of them (layers/records.ts), and what is done to both.
 *
 * Invariants
 * - A moment is on the list, durably, before the first write that comes after it goes down; and nobody is told of it before.
 * - A layer's file is there before a list names it, and goes when no list names it. What is left over is nobody's.
 * - One that cannot be trusted any more says so on the list before a write goes on that it misses.
 */
import { allEnded } from '../device/all-ended.js';
import type { BlockDevice } from '../device/contract.js';
import { UserError } from '../errors.js';
import { BLOCK_BYTES, type BlockRange } from '../replication/blocks.js';
import type { BlockMap } from '../replication/map/block-map.js';
import { GateDevice } from './gate.js';
import { Chain } from './layers/chain.js';
import type { Layer } from './layers/layer.js';
import { OpenLayers } from './layers/open-layers.js';
import {
  type LayerRecord,
  type MomentKind,
  type MomentRecord,
  newId,
  type SnapshotStore,
  withGroups,
  withoutMoment,
  withUnusable,
} from './layers/records.js';
import type { MomentListener, MomentStatus, NewMoment } from './moment.js';
import type { Moments } from './moments.js';
import { cannotBeUsed, isBeingRead, isLost, messageOf, missing, taken, textOfLeftOver } from './refusals.js';
import { MomentView } from './view.js';

export interface SnapshotsParts {
  /** For people: the volume's. */
  readonly label: string;
  /** Below whatever changes the volume; of one that nobody changes, its device. */
  readonly device: BlockDevice;
  /** null: nobody changes the volume here. */
  readonly moments: Moments | null;
  readonly store: SnapshotStore;
  readonly warn: (message: string) => void;
}

export class Snapshots {
  readonly #chains: Readonly<Record<MomentKind, Chain>>;
  readonly #gate: GateDevice;
  readonly #layers: OpenLayers;
  /** How many are at work on what a moment held. */
  readonly #uses = new Map<string, number>();
  #listener: MomentListener | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #saving: Promise<unknown> = Promise.resolve();

  private constructor(
    private readonly parts: SnapshotsParts,
    private records: readonly MomentRecord[],
  ) {
    this.#gate = parts.moments?.gate ?? new GateDevice(parts.device);
    this.#layers = new OpenLayers(parts.store, parts.device.size);
    const chain = (kind: MomentKind) =>
      new Chain({
        ...{ label: parts.label, sizeBytes: parts.device.size, keepsContent: kind !== 'mark' },
        onLost: (ids, cause) => this.#onLost(ids, cause),
        onUnneeded: (layers) => this.#removeUnneeded(layers),
      });
    this.#chains = { snapshot: chain('snapshot'), volatile: chain('volatile'), mark: chain('mark') };
  }

  /** Nothing is changed before this returns. What cannot be opened is unusable, and said; durably where the volume is opened to be changed. */
  static async open(parts: SnapshotsParts, records: readonly MomentRecord[]): Promise<Snapshots> {
    const snapshots = new Snapshots(parts, records);
    try {
      await snapshots.#open();
      return snapshots;
    } catch (error) {
      await snapshots.#layers.close();
      throw error;
    }
  }

  /** From the oldest on. */
  list(): MomentStatus[] {
    return this.records.map(({ id, name, kind, createdMs, layers, unusable }) => {
      const open = this.#layers.of(layers);
      const sum = (of: (layer: Layer) => number) => open.reduce((bytes, layer) => bytes + of(layer), 0);
      const changed = () => (unusable === null ? this.#chains[kind].changedBlocks(id) : 0);
      return {
        ...{ name, kind, createdMs, why: unusable, state: unusable === null ? 'good' : 'unusable' },
        changedBytes: kind === 'mark' ? null : changed() * BLOCK_BYTES,
        usedBytes: sum((layer) => layer.usedBytes),
        capacityBytes: sum((layer) => layer.capacityBytes),
      };
    });
  }

  /** Writers would wait for barriers of layers: better the flush does. */
  get wantsCache(): boolean {
    return this.allowsCache && this.#goodOnes().some(({ kind }) => kind !== 'volatile');
  }

  /** Not where writes are to fail: a cache would have answered them. */
  get allowsCache(): boolean {
    return this.#goodOnes().every(({ onOverflow }) => onOverflow !== 'fail');
  }

  #goodOnes(): MomentRecord[] {
    return this.records.filter(({ unusable }) => unusable === null);
  }

  /** One listener: who serves the volume. What it throws refuses the change. */
  listen(listener: MomentListener): void {
    this.#listener = listener;
  }

  /**
   * A moment of the volume, now. Throws FILE_EXISTS where the name is taken, and what making its layer throws; then there is none.
   * `body` runs at that moment too.
   */
  create(asked: NewMoment, body: () => void = () => {}): Promise<MomentStatus> {
    return this.#serial(async () => {
      const { label } = this.parts;
      if (this.records.some(({ name }) => name === asked.name)) throw taken(label, asked.name);
      const { id = newId() } = asked;
      const layer = { id: newId(), groups: 0, place: asked.place };
      const { name, kind, onOverflow, layerBytes } = asked;
      await this.#layers.create(layer, kind, layerBytes);
      const begun = { ...{ name, id, kind, onOverflow }, layers: [layer], unusable: null };
      await this.#at(async () => {
        if (this.#layers.get(layer) === undefined) throw isLost(label, asked.name);
        const record = { ...begun, createdMs: Date.now() };
        const listed = this.#change((records) => [...records, record]);
        await listed.catch((cause: unknown) => this.#unlist(record, cause));
        this.#begin(record);
        body();
      }).catch(async (cause: unknown) => {
        if (!this.records.some(({ layers }) => layers.some((one) => one.id === layer.id)))
          await this.#removeUnneeded(this.#layers.of([layer]));
        throw cause;
      });
      if (kind !== 'mark') await this.#offer(this.#named(name));
      return this.list().at(-1)!;
    });
  }

  /** It is on the list by now: where who serves refuses it, it goes again. */
  async #offer(record: MomentRecord): Promise<void> {
    try {
      await this.#listener?.(record.name, 'made');
    } catch (refused) {
      const { label, warn } = this.parts;
      await this.#remove(record).catch((cause: unknown) =>
        warn(`${label}: ${record.name} is on the list of snapshots still: ${messageOf(cause)}`),
      );
      throw refused;
    }
  }

  /** Throws FILE_NOT_FOUND, IN_USE. */
  delete(name: string): Promise<void> {
    return this.#serial(async () => {
      const record = this.#named(name);
      await this.#leave(record);
      await this.#remove(record).catch(async (cause: unknown) => {
        // It is served as before, where it is there still.
        if (record.kind !== 'mark' && this.nameOf(record.id) !== null) await this.#listener?.(name, 'made');
        throw cause;
      });
    });
  }

  async #remove({ id, kind }: MomentRecord): Promise<void> {
    await this.#change((records) => withoutMoment(records, id));
    const chain = this.#chains[kind];
    await chain.remove(id);
    if (chain.moments.length === 0) this.parts.moments?.gate.remove(chain);
  }

  /**
   * What the volume held at the moment, until it is closed; meanwhile it cannot be deleted. Throws FILE_NOT_FOUND,
   * METADATA_DAMAGED where it is unusable.
   */
  view(name: string): MomentView {
    const { id, kind } = this.#good(name);
    if (kind === 'mark') throw new UserError('USAGE', `${name} is a mark: what it held is not kept`);
    this.#uses.set(id, (this.#uses.get(id) ?? 0) + 1);
    return new MomentView(this.#gate, this.#chains[kind].keptSince(id), () =>
      this.#uses.set(id, this.#uses.get(id)! - 1),
    );
  }

  /** The good one of this id; null: there is none. */
  nameOf(id: string): string | null {
    return this.records.find((record) => record.id === id && record.unusable === null)?.name ?? null;
  }

  /** Of a good one. Throws as `view`. */
  idOf(name: string): string {
    return this.#good(name).id;
  }

  /** Good moments, of those of its kind that come before the one of this id, or of all: what was changed since these can be told. */
  momentsBefore(until: string | null): { readonly name: string; readonly id: string }[] {
    const end = this.records.findIndex(({ id }) => id === until);
    const before = until === null ? this.records : this.records.slice(0, Math.max(0, end));
    const kind = this.records[end]?.kind;
    return before
      .filter((record) => record.unusable === null && (kind === undefined || record.kind === kind))
      .map(({ name, id }) => ({ name, id }));
  }

  /**
   * Runs of the range that were changed since the moment of this id, ascending; `until`: up to that one. Throws FILE_NOT_FOUND,
   * METADATA_DAMAGED, where one of them is gone, or nobody can tell any more: another of its name does not count.
   */
  changedWithin(id: string, until: string | null, range: BlockRange): Iterable<BlockRange> {
    const { kind } = this.#goodOfId(id);
    return this.#chains[kind].changedWithin(id, until === null ? null : this.#goodOfId(until).id, range);
  }

  /** Blocks that were changed since the moment; `until`: up to that one, which is of its kind. Throws as `view`. */
  changedSince(name: string, until: string | null = null): BlockMap {
    const { id, kind } = this.#good(name);
    return this.#chains[kind].changedSince(id, until === null ? null : this.#good(until).id);
  }

  /** What is kept and is no good, or could not be kept; all that good snapshots need is read, until that is aborted. */
  async *damaged(signal: AbortSignal | undefined): AsyncGenerator<UserError> {
    for (const { kind, layers } of this.records)
      if (kind !== 'mark') for (const layer of this.#layers.of(layers)) yield* layer.damaged(signal);
  }

  /** Of these layers nothing can be had any more, though the volume is changed: whoever needs them is lost, durably, when it returns. */
  async lose(isMeant: (layer: LayerRecord) => boolean, cause: unknown): Promise<void> {
    for (const layer of this.#layers.meant(isMeant)) {
      for (const chain of Object.values(this.#chains)) await chain.layerLost(layer, cause);
      // It is being made, or nobody's.
      await this.#removeUnneeded([layer]);
    }
  }

  /** The volume is changed no more. */
  async close(): Promise<void> {
    await this.#turn;
    for (const chain of Object.values(this.#chains)) {
      await chain.settle();
      this.parts.moments?.gate.remove(chain);
    }
    if (this.parts.moments !== null) await this.#change((records) => records);
    await this.#layers.close();
  }

  async #open(): Promise<void> {
    for (const record of this.records)
      for (const layer of record.layers) await this.#openLayer(record.id, layer);
    for (const record of this.records) if (record.unusable === null) this.#begin(record);
    const needed = this.records.flatMap(({ layers }) => layers);
    if (this.parts.moments !== null) await this.#removeUnneeded(this.#layers.butFor(needed));
  }

  /** Where one cannot be had, neither can what needs it: its own moment and all before. */
  async #openLayer(owner: string, layer: LayerRecord): Promise<void> {
    const { moments } = this.parts;
    if (this.records.find(({ id }) => id === owner)?.unusable !== null) return;
    try {
      await this.#layers.open(layer);
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const lost = this.#upTo(owner).map(({ id }) => id);
      if (moments !== null) await this.#onLost(lost, error);
      else
        this.records = lost.reduce((records, id) => withUnusable(records, id, error.message), this.records);
    }
  }

  /**
   * Nobody knows whether it is on the list. That is settled before a write goes on, which it would miss: it is not on it, or its
   * layer is gone, and with that whatever needs it; or it is kept as if it were on it.
   */
  async #unlist(record: MomentRecord, cause: unknown): Promise<never> {
    const { label, store, warn } = this.parts;
    try {
      await this.#change((records) => records);
    } catch (error) {
      warn(`${label}: its list of snapshots could not be put back: ${messageOf(error)}`);
      const removed = record.layers.map((layer) => store.removeLayer(layer));
      await allEnded(removed).catch(() => {
        this.records = [...this.records, record];
        this.#begin(record);
      });
    }
    throw cause;
  }

  /** What is changed from now on is kept for it. */
  #begin({ id, kind, onOverflow, layers }: MomentRecord): void {
    const chain = this.#chains[kind];
    chain.push({ id, onOverflow, layers: this.#layers.of(layers) });
    this.parts.moments?.gate.add(chain);
  }

  /** Where nobody changes the volume here any moment is as good as another. */
  #at(body: () => Promise<void>): Promise<void> {
    return this.parts.moments?.at(body) ?? body();
  }

  /** Durable when it returns. One after another, each of what the one before has left. */
  #change(change: (records: readonly MomentRecord[]) => readonly MomentRecord[]): Promise<void> {
    return this.#afterChanges(async () => {
      const next = withGroups(change(this.records), (id) => this.#layers.get({ id })?.groupCount);
      await this.parts.store.save(next.filter(({ kind }) => kind !== 'volatile'));
      this.records = next;
    });
  }

  #afterChanges<R>(body: () => Promise<R>): Promise<R> {
    const saving = this.#saving.then(body);
    this.#saving = saving.catch(() => {});
    return saving;
  }

  /** No list names them: that one cannot be removed is nobody's failure, least of all of a write. */
  async #removeUnneeded(layers: readonly Layer[]): Promise<void> {
    const { label, warn } = this.parts;
    for (const layer of layers)
      await this.#layers.discard([layer]).catch((cause: unknown) => warn(textOfLeftOver(label, cause)));
  }

  /** Where the list cannot say so, they lose what makes them good; and with them all that need that too. */
  async #onLost(ids: readonly string[], cause: unknown): Promise<readonly string[]> {
    const { label, warn } = this.parts;
    const marked = (lost: readonly string[]) => (records: readonly MomentRecord[]) =>
      lost.reduce((left, id) => withUnusable(left, id, messageOf(cause)), records);
    let lost = ids;
    try {
      await this.#change(marked(ids));
    } catch {
      // After those that came behind this one, which say what was before it.
      lost = await this.#afterChanges(async () => {
        const all = ids.flatMap((id) => this.#upTo(id));
        for (const layer of all.flatMap(({ layers }) => layers)) await this.parts.store.removeLayer(layer);
        const gone = [...new Set([...all.map(({ id }) => id), ...ids])];
        this.records = marked(gone)(this.records);
        return gone;
      });
    }
    for (const { id, name, kind } of this.records)
      if (lost.includes(id) && kind !== 'mark')
        warn(`${label}: snapshot ${name} is lost: ${messageOf(cause)}`);
    return lost;
  }

  /** The good ones of its kind, from the oldest to this one: what it needs they need too. */
  #upTo(id: string): MomentRecord[] {
    const at = this.records.findIndex((record) => record.id === id);
    const kind = this.records[at]?.kind;
    return this.records.filter(
      (record, index) => index <= at && record.kind === kind && record.unusable === null,
    );
  }

  #serial<R>(body: () => Promise<R>): Promise<R> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }

  #named(name: string): MomentRecord {
    const record = this.records.find((each) => each.name === name);
    if (record === undefined) throw missing(this.parts.label, `"${name}"`);
    return record;
  }

  #good(name: string): MomentRecord {
    return this.#usable(this.#named(name));
  }

  #goodOfId(id: string): MomentRecord {
    const record = this.records.find((each) => each.id === id);
    if (record === undefined) throw missing(this.parts.label, `with the id ${id}`);
    return this.#usable(record);
  }

  #usable(record: MomentRecord): MomentRecord {
    if (record.unusable !== null) throw cannotBeUsed(this.parts.label, record);
    return record;
  }

  /** Who serves it does so no more, and nobody else is at work on it. */
  async #leave(record: MomentRecord): Promise<void> {
    const { id, name, kind, unusable } = record;
    // One that was lost may be served still.
    if (kind !== 'mark') await this.#listener?.(name, 'removed');
    if ((this.#uses.get(id) ?? 0) === 0) return;
    if (kind !== 'mark' && unusable === null) await this.#listener?.(name, 'made');
    throw isBeingRead(record);
  }
}
