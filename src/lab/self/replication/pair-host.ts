/**
 * A secondary that has replicas of its own, as the server that offers it has it (src/volume/replication/secondary/host.ts and
 * own-replicas.ts): what is durable in which order is the same. It is up as long as its machine is; when its primary leaves, the
 * place is closed, and opened again from what is durable.
 */
import type { BlockDevice } from '../../../device/contract.js';
import { GatheredEpochs } from '../../../replication/gathered-epochs.js';
import { openSecondary, type SecondaryDevice } from '../../../replication/secondary/index.js';
import { withCalls } from '../with-calls.js';
import type { ReplicaDevices } from './pair-devices.js';
import { VOLUME_BYTES } from './pair-devices.js';
import type { EpochHistory } from './pair-history.js';
import { type LifeOptions, PairLife } from './pair-life.js';
import type { Reached, SecondaryHost } from './reached.js';
import { SECTOR_BYTES } from './replica-list.js';
import { contentOf, FIRST, lent } from './secondary-parts.js';

const HELD = 'it is being made like its primary';

const LAST_TURNS = 20;

interface HostOptions extends LifeOptions {
  /** Told of its epochs. */
  readonly epochs?: EpochHistory;
  /** Its replicas are known, and nothing is sent to them yet. */
  readonly onOpened?: (life: PairLife) => Promise<void>;
}

interface Place {
  readonly isDead: { now: boolean };
  readonly secondary: SecondaryDevice;
  readonly life: PairLife;
  readonly device: GatheredEpochs;
}

export class PairHost implements SecondaryHost {
  #place: Place | null = null;
  #turn: Promise<unknown> = Promise.resolve();
  #session: object | null = null;

  constructor(
    /** Of a process of it, which may be gone. */
    private readonly devicesFor: (isDead: () => boolean) => ReplicaDevices,
    private readonly options: HostOptions,
  ) {}

  /** null: the place is being opened. */
  get life(): PairLife | null {
    return this.#place?.life ?? null;
  }

  join(): Promise<Reached> {
    return this.#exclusively(async () => {
      if (this.#session !== null) await this.#close();
      const place = await this.#usable();
      const { secondary, device, life } = place;
      const session = {};
      this.#session = session;
      return {
        ...{ secondary, device, epochBytes: device.epochBytes },
        beginResync: () =>
          this.#exclusively(async () => {
            await life.replication.hold(HELD);
            await secondary.beginResync();
          }),
        endResync: () =>
          this.#exclusively(async () => {
            await device.flush();
            await secondary.endResync({ generation: FIRST });
            this.options.epochs?.ended();
            await life.replication.release();
          }),
        close: () =>
          this.#exclusively(async () => {
            if (this.#session === session) await this.#anew();
          }),
      };
    });
  }

  /** The process is killed, and the next opens what it left. */
  kill(): Promise<void> {
    const place = this.#place;
    this.#place = null;
    if (place !== null) place.isDead.now = true;
    return this.#exclusively(async () => {
      if (place !== null) await closed(place).catch(() => undefined);
      // What it had called ends: no call of a dead process comes behind those of the next.
      for (let turn = 0; turn < LAST_TURNS; turn++) await new Promise((resolve) => setImmediate(resolve));
      await this.#anew();
    });
  }

  /** Its server stops. */
  close(): Promise<void> {
    return this.#exclusively(() => this.#close());
  }

  async #anew(): Promise<void> {
    await this.#close();
    await this.#usable();
  }

  async #close(): Promise<void> {
    const place = this.#place;
    [this.#place, this.#session] = [null, null];
    if (place !== null) await closed(place);
  }

  async #usable(): Promise<Place> {
    this.#place ??= await this.#open();
    return this.#place;
  }

  async #open(): Promise<Place> {
    const { options } = this;
    const isDead = { now: false };
    const devices = this.devicesFor(() => isDead.now);
    const secondary = await openSecondary(lent(devices), { nowMs: () => 1000 });
    const isMoment = secondary.marks.state === 'consistent';
    options.epochs?.found(await contentOf(secondary, VOLUME_BYTES), isMoment);
    const primary = this.#witnessed(secondary);
    const life = await PairLife.open(
      { primary, ...devices.own! },
      { ...options, heldFor: isMoment ? null : HELD },
    );
    await options.onOpened?.(life);
    await life.replication.start();
    // A batch may cost half as much again as what was gathered.
    const epochBytes = Math.floor(secondary.epochBytes / 2 / SECTOR_BYTES) * SECTOR_BYTES;
    return { isDead, secondary, life, device: new GatheredEpochs(life.replication.device, { epochBytes }) };
  }

  /** What is called between two flushes is an epoch. */
  #witnessed(secondary: SecondaryDevice): BlockDevice {
    const { epochs } = this.options;
    if (epochs === undefined) return secondary;
    return withCalls<BlockDevice>(secondary, {
      write: async (offset, from, options) => {
        epochs.changed(offset, from as Uint8Array);
        await secondary.write(offset, from, options);
      },
      writeZeroes: async (offset, length, options) => {
        epochs.changed(offset, new Uint8Array(length));
        await secondary.writeZeroes(offset, length, options);
      },
      flush: async () => {
        if (secondary.marks.state === 'consistent') epochs.ended();
        await secondary.flush();
      },
    });
  }

  #exclusively<T>(body: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(body);
    this.#turn = turn.catch(() => {});
    return turn;
  }
}

async function closed({ secondary, life, device }: Place): Promise<void> {
  await device.close();
  await life.replication.hold('it is closed');
  await life.replication.close();
  await secondary.close();
}
