/** What a workload does with a primary and its secondaries, and what is owed for it. */
import type { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import { promote } from '../../../replication/secondary/index.js';
import type { SecondaryTracking } from '../../../replication/tracking/secondary-tracking.js';
import { withCalls } from '../with-calls.js';
import { HandClock } from './hand-clock.js';
import {
  BLOCKS,
  keeperOf,
  maskOf,
  type PairDevices,
  type PairShape,
  pairOf,
  VOLUME_BYTES,
  VOLUME_SECTORS,
} from './pair-devices.js';
import type { EpochHistory, PairHistory } from './pair-history.js';
import { PairHost } from './pair-host.js';
import { mortal, PairLife } from './pair-life.js';
import type { LinkSettings, PairLink } from './pair-link.js';
import type { PairOwed } from './pair-reading.js';
import { SECONDARIES, SECTOR_BYTES, type SecondaryName } from './replica-list.js';
import type { ReplicaOwed } from './replica-reading.js';
import { contentOf, SECOND } from './secondary-parts.js';

export type ChangeKind = 'data' | 'zeroes' | 'trim';

interface BenchOptions {
  readonly shape: PairShape;
  readonly epochs: EpochHistory;
  readonly random: SeededRandom;
  readonly settings: LinkSettings;
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
}

type Earned = Pick<ReplicaOwed, 'promised' | 'hasPoint' | 'isListed'>;

const MOST_TURNS = 20_000;
const TURN_MS = 20;

export class PairBench {
  readonly random: SeededRandom;
  life!: PairLife;
  #owed: Pick<PairOwed, 'flushed' | 'mayLoseLog'>;
  readonly #owedOf: Map<SecondaryName, Earned>;
  #isDead: { now: boolean } = { now: false };
  readonly #clock = new HandClock();
  #host: PairHost | undefined;
  /** Of the process that there is. */
  #mortals!: PairDevices;
  /** It is killed when what it writes to the log is there, and before that is durable. */
  diesAtLog = false;
  /** The next write of data to the primary fails: some of its sectors are written, and which nobody is told. */
  failsNext = false;
  /** Sectors that somebody writes to: writes that overlap are not in flight together below the cache. */
  readonly #busy = new Set<number>();

  constructor(
    /** In their order. */
    private readonly devices: readonly BlockDevice[],
    private readonly history: PairHistory,
    private readonly recorder: Recorder,
    private readonly options: BenchOptions,
  ) {
    this.random = options.random;
    const { secondaries, uncopied, joins } = options.shape;
    this.#owed = { flushed: history.versions(), mayLoseLog: false };
    this.#owedOf = new Map(
      SECONDARIES.slice(0, secondaries).map((name, at) => {
        const isListed = joins === undefined || at < secondaries - 1;
        if (isListed) history.joined(name, uncopied ?? []);
        return [name, { promised: 0, isListed, hasPoint: isListed && uncopied === undefined }];
      }),
    );
  }

  get second(): PairLink {
    return this.life.links[0]!;
  }

  get third(): PairLink {
    return this.#links.find(({ name }) => name === 'third')!;
  }

  /** Those that are kept by a process that lives. */
  get #links(): PairLink[] {
    const theirs = this.#isDead.now ? [] : (this.life?.links ?? []);
    return [...theirs, ...(this.#host?.life?.links ?? [])];
  }

  /** The order that it is a moment of. */
  #orderOf(name: SecondaryName): { readonly moment: number } {
    return keeperOf(name, this.options.shape) === 'primary' ? this.history : this.options.epochs;
  }

  /** Asked amid what it does. */
  isKilledNow(): boolean {
    this.#isDead.now ||= this.diesAtLog;
    return this.#isDead.now;
  }

  /** As of this event. */
  get moment(): PairOwed {
    const replicas = [...this.#owedOf].map(([name, owed]) => {
      const link = this.#links.find((one) => one.name === name);
      const { moment: now } = this.#orderOf(name);
      return { name, ...owed, now, known: link === undefined ? null : knownBy(link) };
    });
    return { ...this.#owed, replicas };
  }

  async open(): Promise<void> {
    const dead = { now: false };
    this.#isDead = dead;
    const mortals = this.#devicesBy((device) => mortal(device, () => dead.now));
    this.#mortals = mortals;
    const primary = this.#witnessed(mortals.primary, () => dead.now);
    this.life = await PairLife.open(
      { ...mortals, primary },
      {
        settings: this.options.settings,
        overConnection: this.options.overConnection,
        host: this.#hosted(),
        clock: this.#clock,
      },
    );
    this.note('opened', { mayLoseLog: false });
    await this.life.replication.start();
  }

  /** The server of a secondary that has replicas of its own: it lives on when the primary is killed. */
  #hosted(): PairHost | undefined {
    const { settings, shape, epochs, overConnection } = this.options;
    if (shape.isChain !== true) return undefined;
    const devicesFor = (isDead: () => boolean) =>
      this.#devicesBy((device) => mortal(device, isDead)).replicas[0]!;
    this.#host ??= new PairHost(devicesFor, { settings, epochs, overConnection, clock: this.#clock });
    return this.#host;
  }

  /** A replica is added; returns when its first copy has begun. `onMade`: see JoinOptions. */
  async join(onMade: () => void = () => {}): Promise<void> {
    const { joins } = this.options.shape;
    const devices = this.#mortals.replicas.at(-1)!;
    const onEntering = ({ uncopied }: SecondaryTracking) =>
      this.history.joined(devices.name, [...uncopied!.map.runs()]);
    const link = await this.life.join(devices, joins!.free, { onMade, onEntering });
    this.#owe(link, { isListed: true });
    this.note('added, answered', {});
  }

  #devicesBy(make: (device: BlockDevice) => BlockDevice): PairDevices {
    return pairOf(this.options.shape, ({ device }) => make(this.devices[device]!));
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
    const { device } = this.life.replication;
    const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
    if (kind === 'trim') return device.trim(offset, length);
    if (kind === 'zeroes') await device.writeZeroes(offset, length, { fua });
    else await device.write(offset, this.random.bytes(length), { fua });
    if (!fua) return;
    const at = this.history.versions();
    const flushed = this.#owed.flushed.slice();
    for (let each = sector; each < sector + sectors; each++) flushed[each] = at[each]!;
    this.#synchronous(Math.max(...flushed.subarray(sector, sector + sectors)));
    this.note('write answered', { flushed });
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
    const [at, flushed] = [this.history.moment, this.history.versions()];
    await this.life.replication.device.flush();
    this.#synchronous(at);
    this.note('flush answered', { flushed });
  }

  /** All that was written by now is durable there; where it is lost meanwhile nothing is owed. */
  async drained(link = this.second): Promise<void> {
    const at = this.#orderOf(link.name).moment;
    if (link.replica.state !== 'in-sync') return;
    try {
      await link.replica.drained();
    } catch {
      return;
    }
    this.#promise(link, at);
    this.note('drained, answered', {});
  }

  async inSync(link = this.second): Promise<void> {
    await this.until('it is in sync', () => link.replica.state === 'in-sync', link);
    this.#owe(link, { hasPoint: true });
    this.note('in sync, answered', {});
  }

  /** Time goes on meanwhile. */
  async until(what: string, isSo: () => boolean, link = this.second): Promise<void> {
    for (let turn = 0; !isSo(); turn++) {
      if (turn > MOST_TURNS) throw new Error(`waited in vain until ${what}: ${link.name} is ${link.trouble}`);
      this.life.clock.advance(TURN_MS);
      await this.turns(1);
    }
  }

  async turns(count: number): Promise<void> {
    for (let turn = 0; turn < count; turn++) await new Promise((resolve) => setImmediate(resolve));
  }

  async lost(link = this.second): Promise<void> {
    await this.until('it is lost', () => link.replica.state === 'unsynchronized', link);
    await link.tracking.losing;
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
    this.history.found(await contentOf(this.#devicesBy((device) => device).primary, VOLUME_BYTES));
    await meanwhile();
    await this.open();
  }

  /** As `kill`, of the server of the secondary. */
  async killHost(): Promise<void> {
    this.second.disconnect();
    await this.#host!.kill();
  }

  /** Bytes of a device are noise from now on. */
  async spoil(name: 'log' | 'map', offset: number): Promise<void> {
    if (name === 'log') this.note('the log is damaged', { mayLoseLog: true });
    const { log, replicas } = this.#devicesBy((device) => device);
    const device = name === 'log' ? log : replicas[0]!.map;
    await device.write(offset, this.random.bytes(SECTOR_BYTES));
    await device.flush();
  }

  /** Somebody makes the secondary a volume of its own. */
  async promote(): Promise<void> {
    await this.until('it is closed', () => !this.second.isLocked);
    const { replicas } = this.#devicesBy((device) => withCalls(device, { close: async () => undefined }));
    await promote(replicas[0]!, { newGeneration: SECOND });
    this.note('promote answered', {});
  }

  async end(): Promise<void> {
    await this.life.replication.close();
    await this.#host?.close();
    this.note('closed', {});
  }

  /** Those that were waited for have what there was then. */
  #synchronous(moment: number): void {
    for (const link of this.life.links) {
      const { settings, state } = link.replica;
      if (settings.mode === 'sync' && state === 'in-sync') this.#promise(link, moment);
    }
  }

  #promise(link: PairLink, moment: number): void {
    const { promised } = this.#owedOf.get(link.name)!;
    this.#owe(link, { promised: Math.max(moment, promised) });
  }

  #owe({ name }: PairLink, owed: Partial<Earned>): void {
    this.#owedOf.set(name, { ...this.#owedOf.get(name)!, ...owed });
  }

  note(name: string, changes: Partial<Pick<PairOwed, 'flushed' | 'mayLoseLog'>>): void {
    this.#owed = { ...this.#owed, ...changes };
    this.recorder.mark(name);
  }
}

function knownBy({ tracking }: PairLink): number {
  return maskOf(tracking.map) | maskOf(tracking.uncopied?.map ?? null);
}
