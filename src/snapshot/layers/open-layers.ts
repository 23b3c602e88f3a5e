/** The layers of a volume's moments that are open, by their ids, and where each is. */
import type { BlockDevice } from '../../device/contract.js';
import { MemoryDevice } from '../../device/memory.js';
import { Layer, layerBytesFor } from './layer.js';
import type { LayerRecord, MomentKind, SnapshotStore } from './records.js';

export class OpenLayers {
  readonly #layers = new Map<string, { readonly layer: Layer; readonly record: LayerRecord }>();

  constructor(
    private readonly store: SnapshotStore,
    /** Of the volume. */
    private readonly sizeBytes: number,
  ) {}

  /** undefined: it is not open. */
  get({ id }: Pick<LayerRecord, 'id'>): Layer | undefined {
    return this.#layers.get(id)?.layer;
  }

  /** Those of these that are open. */
  of(records: readonly LayerRecord[]): Layer[] {
    return records.flatMap((record) => this.get(record) ?? []);
  }

  /** Those of which this is so. */
  meant(isMeant: (record: LayerRecord) => boolean): Layer[] {
    return [...this.#layers.values()].flatMap(({ layer, record }) => (isMeant(record) ? [layer] : []));
  }

  /** Those that are none of these. */
  butFor(needed: readonly LayerRecord[]): Layer[] {
    const ids = new Set(needed.map(({ id }) => id));
    return [...this.#layers].filter(([id]) => !ids.has(id)).map(([, { layer }]) => layer);
  }

  /** `bytes`: null: as many as there can be. */
  async create(record: LayerRecord, kind: MomentKind, bytes: number | null): Promise<void> {
    const size = bytes ?? layerBytesFor(this.sizeBytes);
    const device =
      kind === 'volatile'
        ? new MemoryDevice(size, { name: 'memory' })
        : await this.store.createLayer(record, size);
    const layer = Layer.empty(device, { keptId: bytesOf(record.id), sizeBytes: this.sizeBytes });
    this.#layers.set(record.id, { layer, record });
  }

  async open(record: LayerRecord): Promise<void> {
    const device: BlockDevice = await this.store.openLayer(record);
    try {
      const options = { keptId: bytesOf(record.id), sizeBytes: this.sizeBytes };
      const layer = await Layer.open(device, { ...options, sureGroups: record.groups });
      this.#layers.set(record.id, { layer, record });
    } catch (error) {
      await device.close();
      throw error;
    }
  }

  /** They are closed, and gone for good. */
  async discard(layers: readonly Layer[]): Promise<void> {
    for (const [id, { layer, record }] of [...this.#layers]) {
      if (!layers.includes(layer)) continue;
      this.#layers.delete(id);
      await layer.close().finally(() => this.store.removeLayer(record));
    }
  }

  async close(): Promise<void> {
    for (const { layer } of this.#layers.values()) await layer.close();
    this.#layers.clear();
  }
}

function bytesOf(id: string): Uint8Array {
  return new Uint8Array(Buffer.from(id, 'hex'));
}
