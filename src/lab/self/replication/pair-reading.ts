/**
 * What is found after a cut of a primary, of its secondaries, or of all: they are opened as after a crash, looked at before
 * anything is sent, and brought in sync; all of that is cut once more.
 */

import type { Breach } from '../../../crash/explorer-failure.js';
import type { Evaluation, ExploredState } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { StateDevice } from '../../../crash/state-device.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import {
  allReplicas,
  type DeviceName,
  keeperOf,
  type PairDevices,
  type PairShape,
  pairOf,
  VOLUME_BYTES,
} from './pair-devices.js';
import type { EpochHistory, PairHistory } from './pair-history.js';
import { PairHost } from './pair-host.js';
import { PairLife } from './pair-life.js';
import type { LinkOptions, LinkSettings, PairLink } from './pair-link.js';
import type { SecondaryName } from './replica-list.js';
import {
  checkNamed,
  checkReplica,
  type ReplicaOwed,
  ReplicaReader,
  type ReplicaReading,
  type Upper,
} from './replica-reading.js';
import { contentOf } from './secondary-parts.js';

export interface PairReading {
  /** Why one of them could not be opened, or what must not be said. */
  readonly wrong: string | null;
  /** What is said of the log where it is damaged. */
  readonly lostLog: string | null;
  /** Of each sector of the primary the last moment of which it may be. */
  readonly versions: Uint32Array;
  /** Of those that were come to. */
  readonly replicas: Readonly<Partial<Record<SecondaryName, ReplicaReading>>>;
}

export interface PairOwed {
  /** Of each sector of the primary the moment since which it was as it is at least. */
  readonly flushed: Uint32Array;
  /** Somebody has damaged the log: all of it is dirty, and that is said. */
  readonly mayLoseLog: boolean;
  readonly replicas: readonly ReplicaOwed[];
}

interface ReadOptions {
  readonly isSecondCut: boolean;
  readonly shape: PairShape;
  readonly wrap: (device: BlockDevice, name: DeviceName) => BlockDevice;
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
  readonly settings: LinkSettings;
}

interface Histories {
  readonly history: PairHistory;
  readonly epochs: EpochHistory;
}

export async function evaluatePair(
  state: ExploredState,
  histories: Histories,
  given: Omit<ReadOptions, 'isSecondCut'>,
): Promise<Evaluation<PairReading>> {
  const options = { ...given, isSecondCut: state.isSecondCut };
  const devices = state.devices() as StateDevice[];
  const recorder = new Recorder();
  const recorded = pairOf(options.shape, ({ name, device }) =>
    options.wrap(recorder.record(devices[device]!), name),
  );
  const before = pairOf(options.shape, ({ device }) => devices[device]!.fork());
  const reading = await new PairReader(recorded, before, histories, options).read();
  return { reading, recovery: recorder.trace };
}

class PairReader {
  #lostLog: string | null = null;
  readonly #readers = new Map<SecondaryName, ReplicaReader>();

  constructor(
    private readonly devices: PairDevices,
    private readonly before: PairDevices<StateDevice>,
    private readonly histories: Histories,
    private readonly options: ReadOptions,
  ) {}

  async read(): Promise<PairReading> {
    const primary = await contentOf(this.before.primary, VOLUME_BYTES);
    const versions = this.histories.history.versionsOf(primary);
    const wrong = await this.#recover(primary).then(
      () => null,
      (error: unknown) => {
        if (!(error instanceof UserError)) throw error;
        return error.message;
      },
    );
    const replicas = Object.fromEntries([...this.#readers].map(([name, { reading }]) => [name, reading]));
    return { wrong, lostLog: this.#lostLog, versions, replicas };
  }

  async #recover(primary: Uint8Array): Promise<void> {
    const upper = { content: primary, isMoment: true };
    const { overConnection } = this.options;
    const settings: LinkSettings = (name) => ({ ...this.options.settings(name), mode: 'async' });
    const host = this.#hostOf({ settings, overConnection });
    const life = await PairLife.open(this.devices, { settings, overConnection, host });
    await this.#look(life, upper);
    await life.replication.start();
    await this.#attempted(life, primary);
    for (const devices of this.devices.replicas) {
      if (this.#readers.has(devices.name)) continue;
      const link = await life.join(devices, this.options.shape.joins!.free);
      this.#readerOf(link, upper).wasAdded();
      await this.#attempted(life, primary);
    }
    if (host !== undefined) await this.#attempted(host.life!, primary);
    await life.replication.close();
    await host?.close();
  }

  /** Of the secondary that has replicas of its own. */
  #hostOf(options: LinkOptions): PairHost | undefined {
    const [second] = this.devices.replicas;
    if (second!.own === null) return undefined;
    const onOpened = (life: PairLife) => this.#look(life, this.#readers.get(second!.name)!.asUpper);
    return new PairHost(() => second!, { ...options, onOpened });
  }

  /** Opened, and nothing is sent yet. */
  async #look({ links, warnings }: PairLife, upper: Upper): Promise<void> {
    this.#lostLog ??= warnings.find((warning) => warning.includes('all blocks of all replicas')) ?? null;
    for (const link of links) if (!this.#readers.has(link.name)) await this.#readerOf(link, upper).look();
  }

  async #attempted({ links, replication }: PairLife, primary: Uint8Array): Promise<void> {
    for (const { name, replica } of links) {
      await replica.attempted();
      await replication.device.flush();
      await this.#readers.get(name)!.attempted(primary);
    }
  }

  #readerOf(link: PairLink, upper: Upper): ReplicaReader {
    const { history, epochs } = this.histories;
    const before = allReplicas(this.before).find(({ name }) => name === link.name)!;
    const isOwn = keeperOf(link.name, this.options.shape) !== 'primary';
    const momentsOf = (content: Uint8Array) =>
      isOwn ? epochs.momentsOf(content) : history.momentsOf(link.name, content);
    // The recovery that was cut has gone on with what the primary knows, and not with what the process of the middle knew.
    const isLater = isOwn && this.options.isSecondCut;
    const reader = new ReplicaReader({ link, upper, before, isLater, momentsOf });
    this.#readers.set(link.name, reader);
    return reader;
  }
}

export function checkPair(reading: PairReading, owed: PairOwed): Breach | null {
  const { wrong, lostLog, replicas } = reading;
  const known = owed.replicas.flatMap((one) => {
    const its = replicas[one.name];
    return its === undefined ? [] : [{ its, one }];
  });
  if (wrong === null && known.length < owed.replicas.length)
    return { invariant: 'listed', message: 'one of the secondaries is not known any more' };
  for (const { its, one } of known) {
    const breach = checkNamed(its, one);
    if (breach !== null) return breach;
  }
  if (lostLog !== null && !owed.mayLoseLog) return { invariant: 'log', message: lostLog };
  if (wrong !== null) return { invariant: 'opens', message: wrong };
  for (const { its, one } of known) {
    const breach = checkReplica(its, one);
    if (breach !== null) return breach;
  }
  const old = reading.versions.findIndex((moment, sector) => moment < owed.flushed[sector]!);
  if (old === -1) return null;
  return { invariant: 'flushed', message: `sector ${old} of the primary is older than what was flushed` };
}
