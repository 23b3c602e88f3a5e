/**
 * Whether what is written to a volume is tracked, and its replicas: one object for as long as the volume is open, since
 * tracking may begin meanwhile, also while the volume is served.
 *
 * It begins with a switch (device/switching-device.ts) to the replicated device over what holds the data, when log and list
 * are durable. What had gone down before is not tracked, and need not be: there is no replica yet. One that is added later is first
 * tracked, and gets then all that is no hole; and what was under way at the switch has ended before that can begin.
 */
import type { BatchDevice, BlockDevice } from '../../device/contract.js';
import { SwitchingDevice } from '../../device/switching-device.js';
import { closeFailed } from '../closing.js';
import type { Located } from '../locate.js';
import { findPrimaryPlaces, type PrimaryPlaces } from './places.js';
import { VolumeReplicas } from './volume-replicas.js';

/** What stands over the replicated device of a volume: that itself, or a cache. */
type Over = (replicas: VolumeReplicas) => BlockDevice | BatchDevice;

export class VolumeTracking {
  #replicas: VolumeReplicas | null = null;

  private constructor(
    private readonly lower: BlockDevice,
    /** What is to be above, tracked or not. */
    readonly device: BlockDevice | BatchDevice,
    private readonly over: Over,
    private readonly warn: (message: string) => void,
  ) {}

  /** Of a volume that is opened for writing; `lower` holds its data. */
  static async open(
    located: Located,
    lower: BlockDevice,
    { warn, over = ({ device }) => device }: { warn: (message: string) => void; over?: Over },
  ): Promise<VolumeTracking> {
    const places = await findPrimaryPlaces(located);
    if (places === null) return new VolumeTracking(lower, new SwitchingDevice(lower), over, warn);
    const { replicas, device } = await openOver(places, lower, over, warn);
    const tracking = new VolumeTracking(lower, device, over, warn);
    tracking.#replicas = replicas;
    return tracking;
  }

  /** Of one that is not opened as a volume of its own, or for reading: nothing of it is tracked, now or later. */
  static none(lower: BlockDevice): VolumeTracking {
    const over = () => {
      throw new Error(`${lower.name} is not opened to be tracked`);
    };
    return new VolumeTracking(lower, lower, over, () => {});
  }

  /** null: what is written is not tracked. */
  get replicas(): VolumeReplicas | null {
    return this.#replicas;
  }

  /** As VolumeReplicas: every write is to be durable on both sides before it is answered. */
  get isSynchronous(): boolean {
    return this.#replicas?.isSynchronous ?? false;
  }

  /** Once, of a volume that is not tracked, with what was made for it. When it fails the volume is as before. */
  async begin(places: PrimaryPlaces): Promise<void> {
    const { lower, device, over, warn } = this;
    if (!(device instanceof SwitchingDevice)) throw new Error(`${lower.name} has no place for replicas`);
    const opened = await openOver(places, lower, over, warn);
    await device.switchTo(opened.device);
    this.#replicas = opened.replicas;
  }

  /** The device must be flushed, and closed. */
  async close(): Promise<void> {
    await this.#replicas?.close();
  }
}

async function openOver(
  places: PrimaryPlaces,
  lower: BlockDevice,
  over: Over,
  warn: (message: string) => void,
): Promise<{ replicas: VolumeReplicas; device: BlockDevice }> {
  const replicas = await VolumeReplicas.open(places, lower, warn);
  try {
    return { replicas, device: over(replicas) };
  } catch (error) {
    // Why there is no room for what is to stand over them is what the user must hear.
    await closeFailed(`the replicas of ${lower.name}`, () => replicas.close(), warn);
    throw error;
  }
}
