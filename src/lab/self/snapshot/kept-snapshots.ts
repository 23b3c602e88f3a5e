/**
 * A volume with snapshots over devices whose power can be cut, what each moment held, and the same after the cut. The list is what
 * was saved last: a file that is replaced as a whole.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { HoldingDevice } from '../../../device/holding-device.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import { GateDevice } from '../../../snapshot/gate.js';
import type { LayerRecord, MomentRecord, SnapshotStore } from '../../../snapshot/layers/records.js';
import { Moments } from '../../../snapshot/moments.js';
import { Snapshots } from '../../../snapshot/snapshots.js';

/** Makes and keeps the devices of layers; `make` of one that is new. */
export class DeviceStore<D extends BlockDevice> implements SnapshotStore {
  saved: readonly MomentRecord[] = [];

  constructor(
    readonly layers: Map<string, D>,
    private readonly make: (bytes: number, id: string) => D,
    /** Something takes place that a cut may prevent. */
    private readonly event: () => void,
  ) {}

  async save(records: readonly MomentRecord[]): Promise<void> {
    this.event();
    this.saved = records;
    this.event();
  }

  async createLayer({ id }: LayerRecord, bytes: number): Promise<D> {
    this.event();
    const device = this.make(bytes, id);
    this.layers.set(id, device);
    return device;
  }

  async openLayer({ id }: LayerRecord): Promise<D> {
    const device = this.layers.get(id);
    if (device === undefined) throw new UserError('FILE_NOT_FOUND', `layer ${id} is gone`);
    return device;
  }

  async removeLayer({ id }: LayerRecord): Promise<void> {
    this.event();
    this.layers.delete(id);
  }
}

export interface StackedSnapshots {
  readonly device: HoldingDevice;
  readonly gate: GateDevice;
  readonly snapshots: Snapshots;
}

/** As a volume has them; `over`: what is between the gate and who writes. */
export async function stackSnapshots(
  base: BlockDevice,
  store: SnapshotStore,
  records: readonly MomentRecord[],
  {
    over = (gate) => gate,
    warn = () => {},
  }: { over?: (gate: GateDevice) => BlockDevice; warn?: (message: string) => void } = {},
): Promise<StackedSnapshots> {
  const gate = new GateDevice(base);
  const device = new HoldingDevice(over(gate));
  const moments = new Moments(device, gate);
  const snapshots = await Snapshots.open({ label: 'volume', device: base, moments, store, warn }, records);
  return { device, gate, snapshots };
}

/** All of a device. */
export async function contentOf(device: BlockDevice): Promise<Uint8Array> {
  const content = new Uint8Array(device.size);
  await device.read(0, content);
  return content;
}

/** The first block in which they differ; -1: none. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  for (let at = 0; at < a.length; at += BLOCK_BYTES)
    if (Buffer.compare(a.subarray(at, at + BLOCK_BYTES), b.subarray(at, at + BLOCK_BYTES)) !== 0)
      return at / BLOCK_BYTES;
  return -1;
}
