/**
 * What is found after a cut of a primary, of its secondary, or of both: both are opened as after a crash, looked at before
 * anything is sent, and brought in sync; all of that is cut once more.
 */
import type { Evaluation, ExploredState } from '../../../src/crash/explorer.js';
import type { Breach } from '../../../src/crash/explorer-failure.js';
import { Recorder } from '../../../src/crash/recorder.js';
import type { StateDevice } from '../../../src/crash/state-device.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { UserError } from '../../../src/errors.js';
import { BLOCK_BYTES } from '../../../src/replication/blocks.js';
import {
  promote,
  type SecondaryDevice,
  type SecondaryState,
} from '../../../src/replication/secondary/index.js';
import type { ReplicaSettings } from '../../../src/replication/settings.js';
import { maskOf } from './pair-bench.js';
import { BLOCKS, type DeviceName, type PairDevices, pairOf, VOLUME_BYTES } from './pair-devices.js';
import type { PairHistory } from './pair-history.js';
import { PairLife } from './pair-life.js';
import type { PairOwed } from './pair-recording.js';
import { contentOf, SECOND } from './secondary-parts.js';

/** Moments of the primary; as it is now it may be of a later one, of which the cut has kept something; or why there is none. */
type Point =
  | { readonly moments: readonly number[]; readonly isAsPrimary: boolean }
  | { readonly none: string };

export interface PairReading {
  /** Why one of the two could not be opened, or what must not be said. */
  readonly wrong: string | null;
  /** What is said of the log where it is damaged. */
  readonly lostLog: string | null;
  readonly state: SecondaryState | null;
  /** Blocks, a bit each, that are not alike. */
  readonly differs: number;
  /** Those of them that nothing names. */
  readonly missed: number;
  /** What promote would give. */
  readonly point: Point;
  /** Of each sector of the primary the last moment of which it may be. */
  readonly versions: Uint32Array;
  /** Blocks that are not alike when it is in sync again. */
  readonly unlike: number;
}

interface ReadOptions {
  readonly wrap: (device: BlockDevice, name: DeviceName) => BlockDevice;
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
  readonly settings?: Partial<ReplicaSettings> | undefined;
}

export async function evaluatePair(
  state: ExploredState,
  history: PairHistory,
  options: ReadOptions,
): Promise<Evaluation<PairReading>> {
  const devices = state.devices() as StateDevice[];
  const recorder = new Recorder();
  const recorded = pairOf((name, device) => options.wrap(recorder.record(devices[device]!), name));
  const before = pairOf((_, device) => devices[device]!.fork());
  const reading = await new PairReader(recorded, before, history, options).read();
  return { reading, recovery: recorder.trace };
}

class PairReader {
  #found: Pick<PairReading, 'state' | 'differs' | 'missed' | 'point'> | null = null;
  #primary: Uint8Array = new Uint8Array(0);
  #life!: PairLife;
  #lostLog: string | null = null;
  #named = 0;
  #uncopied = 0;

  constructor(
    private readonly devices: PairDevices,
    private readonly before: PairDevices<StateDevice>,
    private readonly history: PairHistory,
    private readonly options: ReadOptions,
  ) {}

  async read(): Promise<PairReading> {
    this.#primary = await contentOf(this.before.primary, VOLUME_BYTES);
    const versions = this.history.versionsOf(this.#primary);
    try {
      const unlike = await this.#recovered();
      return { wrong: null, lostLog: this.#lostLog, ...this.#found!, versions, unlike };
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      const nothing = {
        lostLog: this.#lostLog,
        state: null,
        differs: 0,
        missed: 0,
        point: { none: 'it was not reached' },
      };
      return { ...nothing, ...this.#found, wrong: error.message, versions, unlike: 0 };
    }
  }

  /** Blocks that are not alike when it is in sync again. */
  async #recovered(): Promise<number> {
    const { options } = this;
    const life = await PairLife.open(this.devices, {
      ...{ settings: { ...options.settings, mode: 'async' }, overConnection: options.overConnection },
      onReached: (device) => this.#look(device),
    });
    this.#life = life;
    const { replication, replica, tracking, warnings } = life;
    this.#lostLog = warnings.find((warning) => warning.includes('all blocks of all replicas')) ?? null;
    this.#uncopied = maskOf(tracking.uncopied?.map ?? null);
    this.#named = maskOf(tracking.map) | this.#uncopied;
    await replication.start();
    await replica.attempted();
    if (replica.state === 'diverged') return this.#diverged();
    if (replica.state !== 'in-sync')
      throw new UserError('IO_ERROR', `it is ${replica.state}: ${life.refusal?.message ?? replica.reason}`);
    await replication.device.flush();
    const held = await contentOf(life.secondary!, VOLUME_BYTES);
    const unlike = this.#differing(held) & ~this.#uncopied;
    await replication.close();
    return unlike;
  }

  /** Recovered, and nothing is sent to it yet. */
  async #look(device: SecondaryDevice): Promise<void> {
    const held = await contentOf(device, VOLUME_BYTES);
    const { state } = device.marks;
    const differs = this.#differing(held);
    const point = state === 'consistent' ? this.#pointOf(held) : await this.#promoted();
    this.#found = { state, differs, missed: differs & ~this.#named, point };
  }

  /** It is a volume of its own: what of it differs is nobody's concern any more. */
  async #diverged(): Promise<number> {
    await this.#life.replication.close();
    this.#found = { state: 'promoted', differs: 0, missed: 0, point: await this.#promoted() };
    return 0;
  }

  async #promoted(): Promise<Point> {
    try {
      await promote(this.before, { newGeneration: SECOND });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return { none: error.message };
    }
    return this.#pointOf(await contentOf(this.before.image, VOLUME_BYTES));
  }

  #pointOf(held: Uint8Array): Point {
    const moments = this.history.momentsOf(held);
    const isAsPrimary = (this.#differing(held) & ~this.#uncopied) === 0;
    return moments.length > 0 || isAsPrimary ? { moments, isAsPrimary } : { none: 'it is torn' };
  }

  #differing(held: Uint8Array): number {
    let mask = 0;
    for (let block = 0; block < BLOCKS; block++) {
      const at = block * BLOCK_BYTES;
      const [a, b] = [this.#primary, held].map((bytes) => bytes.subarray(at, at + BLOCK_BYTES));
      if (Buffer.compare(a!, b!) !== 0) mask |= 1 << block;
    }
    return mask;
  }
}

export function checkPair(reading: PairReading, owed: PairOwed): Breach | null {
  const { wrong, differs, missed, unlike } = reading;
  if (missed !== 0)
    return { invariant: 'named', message: `${blocks(missed)} differ, and nothing names them` };
  if (reading.lostLog !== null && !owed.mayLoseLog) return { invariant: 'log', message: reading.lostLog };
  if (wrong !== null) return { invariant: 'opens', message: wrong };
  if (owed.known !== null && (differs & ~owed.known) !== 0)
    return {
      invariant: 'known',
      message: `${blocks(differs & ~owed.known)} differ, and the process does not know`,
    };
  if (unlike !== 0) return { invariant: 'alike', message: `${blocks(unlike)} differ after a resync` };
  const old = reading.versions.findIndex((moment, sector) => moment < owed.flushed[sector]!);
  if (old !== -1)
    return { invariant: 'flushed', message: `sector ${old} of the primary is older than what was flushed` };
  return checkPoint(reading, owed);
}

function checkPoint({ point, state }: PairReading, { promised, now, hasPoint }: PairOwed): Breach | null {
  if ('none' in point) {
    if (!hasPoint && state === 'initial') return null;
    const message = `the secondary (${state}) is no moment of the primary: ${point.none}`;
    return { invariant: 'moment', message };
  }
  const { moments, isAsPrimary } = point;
  if (isAsPrimary || moments.some((moment) => moment >= promised && moment <= now)) return null;
  const message = `moment ${promised} was promised, now is ${now}, and ${moments.join()} is there`;
  return { invariant: 'promised', message };
}

function blocks(mask: number): string {
  const numbers = Array.from({ length: BLOCKS }, (_, block) => block).filter(
    (block) => (mask & (1 << block)) !== 0,
  );
  return `blocks ${numbers.join(', ')}`;
}
