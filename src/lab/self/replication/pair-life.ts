/**
 * One life of a primary with its secondaries: from an opening over what the devices hold to its end, which may be that the
 * process is killed. As a volume opens its replicas (volume-replicas.ts): what is durable in which order is the same.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { RangeSet } from '../../../device/range-set.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES, type BlockRange } from '../../../replication/blocks.js';
import { Replication } from '../../../replication/replication.js';
import type { SecondaryTracking } from '../../../replication/tracking/secondary-tracking.js';
import { markFirst } from '../../../volume/replication/used-blocks.js';
import { withCalls } from '../with-calls.js';
import { HandClock } from './hand-clock.js';
import {
  makeMaps,
  makeSecondary,
  type PairDevices,
  type ReplicaDevices,
  VOLUME_BYTES,
  VOLUME_UUID,
} from './pair-devices.js';
import { type LinkOptions, PairLink } from './pair-link.js';
import { ReplicaList } from './replica-list.js';

export interface JoinOptions {
  /** All files are there, and what is written is not dirty for it yet. */
  readonly onMade?: () => void;
  /** What it gets is marked, and it is put into the list next. */
  readonly onEntering?: (tracking: SecondaryTracking) => void;
}

export interface LifeOptions extends LinkOptions {
  readonly clock?: HandClock;
  /** See Replication.hold. */
  readonly heldFor?: string | null;
}

export class PairLife {
  readonly clock: HandClock;
  readonly warnings: string[] = [];
  readonly links: PairLink[] = [];
  replication!: Replication;
  readonly #list: ReplicaList;

  private constructor(
    private readonly devices: PairDevices,
    private readonly options: LifeOptions,
  ) {
    this.clock = options.clock ?? new HandClock();
    this.#list = new ReplicaList(devices.list);
  }

  /** Nothing is sent before `replication.start`. */
  static async open(devices: PairDevices, options: LifeOptions): Promise<PairLife> {
    const life = new PairLife(devices, options);
    await life.#open();
    return life;
  }

  async #open(): Promise<void> {
    const { devices, options, clock, warnings, links } = this;
    const list = this.#list;
    const entries = await list.read();
    for (const replica of devices.replicas)
      if (entries[replica.name] !== undefined) links.push(new PairLink(replica, list, clock, options));
    this.replication = await Replication.open({
      ...{ volumeUuid: VOLUME_UUID, primary: devices.primary, log: devices.log },
      replicas: links.map((link) => link.describe(entries[link.name]!)),
      heldFor: options.heldFor ?? null,
      warn: (message) => warnings.push(message),
      onMapFailed: (name) => {
        const failed = links.find((link) => link.name === name)!;
        return list.put(failed.name, { isWhole: false, isMapLost: true });
      },
    });
    const [replicas, trackings] = [[...this.replication.replicas], [...this.replication.tracker.secondaries]];
    for (const [at, link] of links.entries())
      Object.assign(link, { replica: replicas[at], tracking: trackings[at] });
  }

  /** A replica is added while the volume is in use, as VolumeReplicas.add does it. */
  async join(
    devices: ReplicaDevices,
    free: readonly BlockRange[],
    { onMade, onEntering }: JoinOptions = {},
  ): Promise<PairLink> {
    await makeSecondary(devices, 'initial');
    await makeMaps(await blankMaps(devices));
    onMade?.();
    const link = new PairLink(devices, this.#list, this.clock, this.options);
    const entry = { isWhole: false, isMapLost: false };
    Object.assign(link, await this.replication.track(link.describe(entry)));
    this.links.push(link);
    await markFirst(link.tracking, await this.#usedWithout(free));
    onEntering?.(link.tracking);
    await this.#list.put(link.name, entry);
    await this.replication.resume(link.replica);
    return link;
  }

  async #usedWithout(free: readonly BlockRange[]): Promise<Parameters<typeof markFirst>[1]> {
    const [data, used] = [new RangeSet(), new RangeSet()];
    for (const { kind, offset, length } of await this.devices.primary.extents(0, VOLUME_BYTES))
      if (kind === 'data') for (const set of [data, used]) set.add(offset, offset + length);
    for (const { from, count } of free) used.remove(from * BLOCK_BYTES, (from + count) * BLOCK_BYTES);
    return { data, used };
  }

  /** From all. */
  disconnect(): void {
    for (const link of this.links) link.disconnect();
  }
}

/** Files that are made anew, whatever was there. */
async function blankMaps(devices: ReplicaDevices): Promise<ReplicaDevices> {
  for (const device of [devices.map, devices.uncopied]) {
    await device.writeZeroes(0, device.size);
    await device.flush();
  }
  return devices;
}

/** Calls fail from the moment in which the process is gone. */
export function mortal(device: BlockDevice, isDead: () => boolean): BlockDevice {
  const orGone = () => {
    if (isDead()) throw new UserError('IO_ERROR', `${device.name}: the process is gone`);
  };
  return withCalls(device, {
    async write(offset, from, options) {
      orGone();
      await device.write(offset, from, options);
    },
    async writeZeroes(offset, length, options) {
      orGone();
      await device.writeZeroes(offset, length, options);
    },
    async trim(offset, length) {
      orGone();
      await device.trim(offset, length);
    },
    async flush() {
      orGone();
      await device.flush();
    },
    close: async () => undefined,
  });
}
