/**
 * One life of a primary with its secondaries: from an opening over what the devices hold to its end, which may be that the
 * process is killed. As a volume opens its replicas (volume-replicas.ts): what is durable in which order is the same.
 */
import type { BlockDevice } from '../../../src/device/contract.js';
import { UserError } from '../../../src/errors.js';
import { Replication } from '../../../src/replication/replication.js';
import { withCalls } from '../devices/with-calls.js';
import { HandClock } from './hand-clock.js';
import { type PairDevices, VOLUME_UUID } from './pair-devices.js';
import { type LinkOptions, PairLink } from './pair-link.js';
import { ReplicaList } from './replica-list.js';

export class PairLife {
  readonly clock = new HandClock();
  readonly warnings: string[] = [];
  readonly links: PairLink[] = [];
  replication!: Replication;
  readonly #list: ReplicaList;

  private constructor(
    private readonly devices: PairDevices,
    private readonly options: LinkOptions,
  ) {
    this.#list = new ReplicaList(devices.list);
  }

  /** Nothing is sent before `replication.start`. */
  static async open(devices: PairDevices, options: LinkOptions): Promise<PairLife> {
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

  /** From all. */
  disconnect(): void {
    for (const link of this.links) link.disconnect();
  }
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
