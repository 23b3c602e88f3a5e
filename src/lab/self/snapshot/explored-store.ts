/**
 * The list of moments and their layers, on devices of one power supply: the list and the names of the layers are replaced as a whole
 * (sealed-slots.ts), and a layer has one of a few devices. Those are used again: what lies there is of another layer.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import { layerBytesFor } from '../../../snapshot/layers/layer.js';
import type { LayerRecord, MomentRecord, SnapshotStore } from '../../../snapshot/layers/records.js';
import { withCalls } from '../with-calls.js';
import { SealedSlots } from './sealed-slots.js';

export const BLOCKS = 8;
/** The last block is short. */
export const VOLUME_BYTES = BLOCKS * BLOCK_BYTES - 2560;
/** Fewer than may be overwritten before they are saved. */
const CONTAINER_BLOCKS = 3;
const LAYERS = ['layer-0', 'layer-1', 'layer-2', 'layer-3', 'layer-4', 'layer-5'] as const;

/** The last three are of a backup, beside it. */
export const PARTS = ['volume', 'list', 'names', ...LAYERS, 'container', 'target', 'named'] as const;
export type PartName = (typeof PARTS)[number];
export type Parts<D extends BlockDevice = BlockDevice> = Readonly<Record<PartName, D>>;

export function sizeOf(part: PartName): number {
  if (part === 'volume' || part === 'target') return VOLUME_BYTES;
  if (part === 'container') return CONTAINER_BLOCKS * BLOCK_BYTES;
  const isSealed = part === 'list' || part === 'names' || part === 'named';
  return isSealed ? SealedSlots.bytes : layerBytesFor(VOLUME_BYTES);
}

/** One device a part. */
export function partsBy<D extends BlockDevice>(make: (part: PartName, index: number) => D): Parts<D> {
  return Object.fromEntries(PARTS.map((part, index) => [part, make(part, index)])) as unknown as Parts<D>;
}

/** Which layer lies where, and how long it may become. */
interface Name {
  readonly id: string;
  readonly part: (typeof LAYERS)[number];
  readonly bytes: number;
}

export class ExploredStore implements SnapshotStore {
  readonly #list: SealedSlots<readonly MomentRecord[]>;
  readonly #names: SealedSlots<readonly Name[]>;
  #saved: readonly MomentRecord[] = [];
  #named: readonly Name[] = [];
  /** One after another, as files of one folder are. */
  #turn: Promise<unknown> = Promise.resolve();

  constructor(
    private readonly parts: Parts,
    /** Called when these are about to be saved. */
    private readonly onSave: (records: readonly MomentRecord[]) => void = () => {},
  ) {
    this.#list = new SealedSlots(parts.list);
    this.#names = new SealedSlots(parts.names);
  }

  /** What is there. */
  async read(): Promise<readonly MomentRecord[]> {
    this.#saved = (await this.#list.read()) ?? [];
    this.#named = (await this.#names.read()) ?? [];
    return this.#saved;
  }

  /** As `read`, to be changed: what is there is durable when it returns, and layers that nobody needs are gone. */
  async open(): Promise<readonly MomentRecord[]> {
    await this.read();
    // First: a list that is not durable may be followed by the one before it, which names more layers.
    await this.#list.settle();
    await this.#names.settle();
    const needed = new Set(this.#saved.flatMap(({ layers }) => layers.map(({ id }) => id)));
    const left = this.#named.filter(({ id }) => needed.has(id));
    if (left.length < this.#named.length) await this.#names.put(left);
    this.#named = left;
    return this.#saved;
  }

  /** What is on the list. */
  get saved(): readonly MomentRecord[] {
    return this.#saved;
  }

  /** Differs when anything of it was changed. */
  get version(): number {
    return this.#list.sequence * 1000 + this.#names.sequence;
  }

  save(records: readonly MomentRecord[]): Promise<void> {
    this.onSave(records);
    return this.#serial(async () => {
      await this.#list.put(records);
      this.#saved = records;
    });
  }

  async createLayer({ id }: LayerRecord, bytes: number): Promise<BlockDevice> {
    return this.#serial(async () => {
      const part = LAYERS.find((each) => this.#named.every((name) => name.part !== each));
      if (part === undefined) throw new UserError('NO_SPACE', 'there is no device left for a layer');
      const name = { id, part, bytes };
      await this.#names.put([...this.#named, name]);
      this.#named = [...this.#named, name];
      return this.#deviceOf(name);
    });
  }

  async openLayer({ id }: LayerRecord): Promise<BlockDevice> {
    const name = this.#named.find((each) => each.id === id);
    if (name === undefined) throw new UserError('FILE_NOT_FOUND', `layer ${id} is gone`);
    return this.#deviceOf(name);
  }

  removeLayer({ id }: LayerRecord): Promise<void> {
    return this.#serial(async () => {
      const left = this.#named.filter((each) => each.id !== id);
      if (left.length === this.#named.length) return;
      await this.#names.put(left);
      this.#named = left;
    });
  }

  /** No longer than it was made, and open when the layer is closed. */
  #deviceOf({ part, bytes }: Name): BlockDevice {
    const device = this.parts[part];
    const size = Math.min(bytes, device.size);
    return withCalls<BlockDevice>(device, { close: async () => {}, ...({ size } as Partial<BlockDevice>) });
  }

  #serial<R>(body: () => Promise<R>): Promise<R> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

/** Between the snapshots and the recorder. */
export type Wrap = (device: BlockDevice, part: PartName) => BlockDevice;
