/**
 * A workload of a primary with its secondaries, recorded on the devices of all, and what is owed after a cut: of the
 * primary, of one of the others, or of all.
 */
import type { Subject } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import type { ReplicaSettings } from '../../../replication/settings.js';
import { SlowDevice } from '../raid/recording.js';
import { restartChance } from '../same-every-time.js';
import { withCalls } from '../with-calls.js';
import { PairBench } from './pair-bench.js';
import {
  type DeviceName,
  keeperOf,
  makePair,
  type PairShape,
  placesOf,
  type Side,
  sparedBy,
  VOLUME_BYTES,
} from './pair-devices.js';
import { EpochHistory, PairHistory } from './pair-history.js';
import type { LinkSettings } from './pair-link.js';
import { checkPair, evaluatePair, type PairOwed, type PairReading } from './pair-reading.js';

const MAX_TURNS = 2;
/** The first block that is a hole of a volume to which a secondary is added. */
export const BLANK_FROM = 9;

export interface PairWorkload {
  readonly name: string;
  readonly shape?: Partial<PairShape>;
  readonly settings?: Partial<ReplicaSettings> | LinkSettings;
  run(bench: PairBench): Promise<void>;
}

export interface PairRecordOptions {
  readonly side: Side;
  /** Between the replication and the recorder. */
  readonly wrap?: ((device: BlockDevice, name: DeviceName) => BlockDevice) | undefined;
  /** Between the primary and its secondary. */
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
}

/** To be explored so that these devices keep their power. */
export interface RecordedPair {
  readonly subject: Subject<PairReading, PairOwed>;
  readonly spared: readonly number[];
}

export async function recordPair(
  workload: PairWorkload,
  random: SeededRandom,
  options: PairRecordOptions,
): Promise<RecordedPair> {
  restartChance(random.below(2 ** 32));
  const { wrap = (device: BlockDevice) => device } = options;
  const settings = settingsOf(workload);
  const shape: PairShape = { logSectors: 16, secondaries: 1, ...workload.shape };
  const content = contentFor(shape, random);
  const made = await makePair(shape, content);
  const history = new PairHistory(content);
  const epochs = new EpochHistory(content);
  const moments: PairOwed[] = [];
  const recorder = new Recorder({ onEvent: () => moments.push(bench.moment) });
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const devices = placesOf(shape).map(({ name, label, device }) => {
    const { content: held, size } = made[device]!;
    const recorded = recorder.record(new SlowDevice(held.fork(), { name: label, size }, delay));
    return wrap(name === 'log' ? flushedAfter(recorded, () => bench.isKilledNow()) : recorded, name);
  });
  const bench: PairBench = new PairBench(devices, history, recorder, {
    ...{ random, settings, shape, epochs, overConnection: options.overConnection },
  });
  await bench.open();
  await workload.run(bench);
  await bench.end();
  const subject: Subject<PairReading, PairOwed> = {
    trace: recorder.trace,
    initial: made.map((device) => device.content.fork()),
    losesMembers: false,
    isPromise: ({ name }) => name.endsWith('answered'),
    obligations: obligationsOf(moments, options.side, shape),
    evaluate: (state) => evaluatePair(state, { history, epochs }, { ...options, wrap, shape, settings }),
    check: checkPair,
  };
  return { subject, spared: sparedBy(options.side, shape) };
}

/** Blank where a copy is none; and its end is, where a secondary joins. */
function contentFor({ uncopied, joins }: PairShape, random: SeededRandom): Uint8Array {
  if (uncopied === undefined && joins === undefined) return new Uint8Array(VOLUME_BYTES);
  const content = random.bytes(VOLUME_BYTES);
  if (joins !== undefined) content.fill(0, BLANK_FROM * BLOCK_BYTES);
  return content;
}

function settingsOf({ settings = {} }: PairWorkload): LinkSettings {
  return typeof settings === 'function' ? settings : () => settings;
}

/** As a file has fua: a write, and then a flush, between which the process may be killed. */
function flushedAfter(device: BlockDevice, isKilled: () => boolean): BlockDevice {
  return withCalls(device, {
    async write(offset, from, { fua = false } = {}) {
      await device.write(offset, from);
      if (!fua) return;
      if (isKilled()) throw new UserError('IO_ERROR', `${device.name}: the process is gone`);
      await device.flush();
    },
  });
}

/** A cut comes between two events, and what the process knew at either of them is owed. */
function obligationsOf(
  moments: readonly PairOwed[],
  side: Side,
  shape: PairShape,
): (cut: number) => PairOwed {
  const known = new Map<string, PairOwed>();
  return (cut) => {
    const before = moments[Math.max(0, cut - 1)]!;
    const after = moments[Math.min(cut, moments.length - 1)]!;
    const replicas = before.replicas.map((owed, at) => {
      const later = after.replicas[at]!;
      const goesOn = side !== 'all' && side !== keeperOf(owed.name, shape);
      const isKnown = goesOn && owed.known !== null && later.known !== null;
      return { ...owed, now: later.now, known: isKnown ? owed.known & later.known : null };
    });
    const owed = { ...before, replicas };
    const key = JSON.stringify(owed);
    const same = known.get(key) ?? owed;
    known.set(key, same);
    return same;
  };
}
