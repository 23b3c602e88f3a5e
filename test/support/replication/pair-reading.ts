/**
 * What is found after a cut of a primary, of its secondaries, or of all: they are opened as after a crash, looked at before
 * anything is sent, and brought in sync; all of that is cut once more.
 */
import type { Evaluation, ExploredState } from '../../../src/crash/explorer.js';
import type { Breach } from '../../../src/crash/explorer-failure.js';
import { Recorder } from '../../../src/crash/recorder.js';
import type { StateDevice } from '../../../src/crash/state-device.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { UserError } from '../../../src/errors.js';
import { type DeviceName, type PairDevices, type PairShape, pairOf, VOLUME_BYTES } from './pair-devices.js';
import type { PairHistory } from './pair-history.js';
import { PairLife } from './pair-life.js';
import type { LinkSettings, PairLink } from './pair-link.js';
import type { SecondaryName } from './replica-list.js';
import {
  checkNamed,
  checkReplica,
  type ReplicaOwed,
  ReplicaReader,
  type ReplicaReading,
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
  readonly shape: PairShape;
  readonly wrap: (device: BlockDevice, name: DeviceName) => BlockDevice;
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
  readonly settings: LinkSettings;
}

export async function evaluatePair(
  state: ExploredState,
  history: PairHistory,
  options: ReadOptions,
): Promise<Evaluation<PairReading>> {
  const devices = state.devices() as StateDevice[];
  const recorder = new Recorder();
  const recorded = pairOf(options.shape, ({ name, device }) =>
    options.wrap(recorder.record(devices[device]!), name),
  );
  const before = pairOf(options.shape, ({ device }) => devices[device]!.fork());
  const reading = await new PairReader(recorded, before, history, options).read();
  return { reading, recovery: recorder.trace };
}

class PairReader {
  #lostLog: string | null = null;
  readonly #readers = new Map<SecondaryName, ReplicaReader>();

  constructor(
    private readonly devices: PairDevices,
    private readonly before: PairDevices<StateDevice>,
    private readonly history: PairHistory,
    private readonly options: ReadOptions,
  ) {}

  async read(): Promise<PairReading> {
    const primary = await contentOf(this.before.primary, VOLUME_BYTES);
    const versions = this.history.versionsOf(primary);
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
    const { settings, overConnection } = this.options;
    const life = await PairLife.open(this.devices, {
      ...{ settings: (name) => ({ ...settings(name), mode: 'async' }), overConnection },
      onReached: async (link, device) => this.#readers.get(link.name)?.look(device),
    });
    const { replication, links, warnings } = life;
    this.#lostLog = warnings.find((warning) => warning.includes('all blocks of all replicas')) ?? null;
    for (const link of links) this.#readerOf(link, primary);
    await replication.start();
    const flush = () => replication.device.flush();
    for (const link of links) {
      await link.replica.attempted();
      await this.#readers.get(link.name)!.attempted(flush);
    }
    for (const devices of this.devices.replicas) {
      if (this.#readers.has(devices.name)) continue;
      const link = await life.join(devices, this.options.shape.joins!.free);
      await link.replica.attempted();
      const reader = this.#readerOf(link, primary);
      reader.wasAdded();
      await reader.attempted(flush);
    }
    await replication.close();
  }

  #readerOf(link: PairLink, primary: Uint8Array): ReplicaReader {
    const before = this.before.replicas.find(({ name }) => name === link.name)!;
    const reader = new ReplicaReader(link, primary, before, this.history);
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
