/** What a workload does with a primary and its secondary, and what is owed for it. */
import type { Recorder } from '../../../src/crash/recorder.js';
import type { SeededRandom } from '../../../src/crash/seeded-random.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { UserError } from '../../../src/errors.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import type { BlockMap } from '../../../src/replication/map/block-map.js';
import { promote } from '../../../src/replication/secondary/index.js';
import type { ReplicaSettings } from '../../../src/replication/settings.js';
import { withCalls } from '../devices/with-calls.js';
import {
  BLOCKS,
  type PairDevices,
  pairOf,
  SECTOR_BYTES,
  VOLUME_BYTES,
  VOLUME_SECTORS,
} from './pair-devices.js';
import type { PairHistory } from './pair-history.js';
import { mortal, PairLife } from './pair-life.js';
import type { PairOwed } from './pair-recording.js';
import { contentOf, SECOND } from './secondary-parts.js';

export type ChangeKind = 'data' | 'zeroes' | 'trim';

interface BenchOptions {
  readonly random: SeededRandom;
  readonly settings?: Partial<ReplicaSettings> | undefined;
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
  readonly hasPoint: boolean;
}

const MOST_TURNS = 20_000;
const TURN_MS = 20;

export class PairBench {
  readonly random: SeededRandom;
  life!: PairLife;
  #owed: Omit<PairOwed, 'known' | 'now'>;
  #isDead: { now: boolean } = { now: false };
  /** It is killed when what it writes to the log is there, and before that is durable. */
  diesAtLog = false;
  /** The next write of data to the primary fails: some of its sectors are written, and which nobody is told. */
  failsNext = false;
  /** Sectors that somebody writes to: writes that overlap are not in flight together below the cache. */
  readonly #busy = new Set<number>();

  constructor(
    private readonly devices: PairDevices,
    private readonly history: PairHistory,
    private readonly recorder: Recorder,
    private readonly options: BenchOptions,
  ) {
    this.random = options.random;
    const { hasPoint } = options;
    this.#owed = { flushed: history.versions(), promised: 0, mayLoseLog: false, hasPoint };
  }

  /** Asked amid what it does. */
  isKilledNow(): boolean {
    this.#isDead.now ||= this.diesAtLog;
    return this.#isDead.now;
  }

  /** As of this event. */
  get moment(): PairOwed {
    const tracking = this.#isDead.now ? undefined : this.life?.tracking;
    const known =
      tracking === undefined ? null : maskOf(tracking.map) | maskOf(tracking.uncopied?.map ?? null);
    return { ...this.#owed, now: this.history.moment, known };
  }

  async open(): Promise<void> {
    const dead = { now: false };
    this.#isDead = dead;
    const mortals = pairOf((name) => mortal(this.devices[name], () => dead.now));
    const primary = this.#witnessed(mortals.primary, () => dead.now);
    this.life = await PairLife.open(
      { ...mortals, primary },
      {
        settings: this.options.settings,
        overConnection: this.options.overConnection,
      },
    );
    this.note('opened', { mayLoseLog: false });
    await this.life.replication.start();
  }

  /** The end of a change on the primary is its place in the order. */
  #witnessed(device: BlockDevice, isDead: () => boolean): BlockDevice {
    const changed = (offset: number, bytes: Uint8Array) => {
      if (!isDead()) this.history.changed(offset, bytes);
    };
    return withCalls(device, {
      write: async (offset, from, options) => {
        const bytes = from as Uint8Array;
        const written = this.failsNext ? this.#partOf(bytes) : bytes;
        const isFailing = this.failsNext;
        this.failsNext = false;
        if (written.byteLength > 0) {
          await device.write(offset, written, options);
          changed(offset, written);
        }
        if (isFailing) throw new UserError('IO_ERROR', `${device.name}: the disk has a bad sector`);
      },
      async writeZeroes(offset, length, options) {
        await device.writeZeroes(offset, length, options);
        changed(offset, new Uint8Array(length));
      },
      async trim(offset, length) {
        await device.trim(offset, length);
        changed(offset, new Uint8Array(length));
      },
    });
  }

  #partOf(bytes: Uint8Array): Uint8Array {
    return bytes.subarray(0, this.random.below(bytes.byteLength / SECTOR_BYTES) * SECTOR_BYTES);
  }

  /** Where nobody writes to. */
  async write(kind: ChangeKind, sector: number, sectors: number, fua = false): Promise<void> {
    const { device, replicas } = this.life.replication;
    const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
    if (kind === 'trim') return device.trim(offset, length);
    if (kind === 'zeroes') await device.writeZeroes(offset, length, { fua });
    else await device.write(offset, this.random.bytes(length), { fua });
    if (!fua) return;
    const at = this.history.versions();
    const [replica] = replicas;
    const flushed = this.#owed.flushed.slice();
    for (let each = sector; each < sector + sectors; each++) flushed[each] = at[each]!;
    const isPromised = replica?.settings.mode === 'sync' && replica.state === 'in-sync';
    this.note('write answered', {
      flushed,
      ...(isPromised ? this.#atLeast(Math.max(...flushed.subarray(sector, sector + sectors))) : {}),
    });
  }

  /** Of a length that is drawn, at a place that is: within these blocks, if any are given. */
  async change({ most = 6, from = 0, blocks = BLOCKS, fua = false } = {}): Promise<void> {
    const first = (from * BLOCK_BYTES) / SECTOR_BYTES;
    const end = Math.min(VOLUME_SECTORS, first + (blocks * BLOCK_BYTES) / SECTOR_BYTES);
    const kind = this.random.pick(['data', 'data', 'data', 'data', 'zeroes', 'trim'] as const);
    for (let tries = 0; tries < 50; tries++) {
      const length = this.random.between(1, Math.min(most, end - first));
      const sector = this.random.between(first, end - length);
      const sectors = Array.from({ length }, (_, at) => sector + at);
      if (sectors.some((each) => this.#busy.has(each))) continue;
      for (const each of sectors) this.#busy.add(each);
      try {
        await this.write(kind, sector, length, fua && kind !== 'trim');
      } finally {
        for (const each of sectors) this.#busy.delete(each);
      }
      return;
    }
  }

  /** Side by side. */
  async changes(count: number, options: Parameters<PairBench['change']>[0] = {}): Promise<void> {
    await Promise.all(Array.from({ length: count }, () => this.change(options)));
  }

  /** They are written soon. */
  tell(block: number, count: number): void {
    this.life.replication.device.willWrite(block * BLOCK_BYTES, count * BLOCK_BYTES);
  }

  async flush(): Promise<void> {
    const { device, replicas } = this.life.replication;
    const [at, flushed] = [this.history.moment, this.history.versions()];
    await device.flush();
    const [replica] = replicas;
    const isPromised = replica?.settings.mode === 'sync' && replica.state === 'in-sync';
    this.note('flush answered', { flushed, ...(isPromised ? this.#atLeast(at) : {}) });
  }

  /** All that was written by now is durable there; where it is lost meanwhile nothing is owed. */
  async drained(): Promise<void> {
    const { replica } = this.life;
    const at = this.history.moment;
    if (replica.state !== 'in-sync') return;
    try {
      await replica.drained();
    } catch {
      return;
    }
    this.note('drained, answered', this.#atLeast(at));
  }

  async inSync(): Promise<void> {
    const { replica } = this.life;
    await this.until('it is in sync', () => replica.state === 'in-sync');
    this.note('in sync, answered', { hasPoint: true });
  }

  /** Time goes on meanwhile. */
  async until(what: string, isSo: () => boolean): Promise<void> {
    for (let turn = 0; !isSo(); turn++) {
      if (turn > MOST_TURNS)
        throw new Error(
          `waited in vain until ${what}: ${this.life.replica.state}, ${this.life.replica.reason}`,
        );
      this.life.clock.advance(TURN_MS);
      await this.turns(1);
    }
  }

  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  async lost(): Promise<void> {
    const { replica, tracking } = this.life;
    await this.until('it is lost', () => replica.state === 'unsynchronized');
    await tracking.losing;
  }

  /** The process is killed; the next finds what it left, and what was on its way then. `meanwhile` is done between the two. */
  async kill(meanwhile: () => Promise<void> = async () => undefined): Promise<void> {
    const { life } = this;
    this.#isDead.now = true;
    this.diesAtLog = false;
    life.disconnect();
    await life.replication.close().catch(() => undefined);
    await this.turns(20);
    this.#busy.clear();
    this.history.found(await contentOf(this.devices.primary, VOLUME_BYTES));
    await meanwhile();
    await this.open();
  }

  /** Bytes of a device are noise from now on. */
  async spoil(name: 'log' | 'map', offset: number): Promise<void> {
    if (name === 'log') this.note('the log is damaged', { mayLoseLog: true });
    await this.devices[name].write(offset, this.random.bytes(SECTOR_BYTES));
    await this.devices[name].flush();
  }

  /** Somebody makes the secondary a volume of its own. */
  async promote(): Promise<void> {
    await this.until('it is closed', () => !this.life.isLocked);
    await promote(
      pairOf((name) => withCalls(this.devices[name], { close: async () => undefined })),
      { newGeneration: SECOND },
    );
    this.note('promote answered', {});
  }

  async end(): Promise<void> {
    await this.life.replication.close();
    this.note('closed', {});
  }

  #atLeast(moment: number): Pick<PairOwed, 'promised'> {
    return { promised: Math.max(moment, this.#owed.promised) };
  }

  note(name: string, changes: Partial<PairOwed>): void {
    this.#owed = { ...this.#owed, ...changes };
    this.recorder.mark(name);
  }
}

export function maskOf(map: BlockMap | null): number {
  let mask = 0;
  for (const { from, count } of map?.runs() ?? [])
    for (let block = from; block < from + count; block++) mask |= 1 << block;
  return mask;
}
