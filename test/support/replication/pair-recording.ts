/**
 * A workload of a primary with its secondary, recorded on the devices of both, and what is owed after a cut: of the
 * primary, of the secondary, or of both.
 */
import type { Subject } from '../../../src/crash/explorer.js';
import { Recorder } from '../../../src/crash/recorder.js';
import type { SeededRandom } from '../../../src/crash/seeded-random.js';
import type { BlockDevice } from '../../../src/device/contract.js';
import { UserError } from '../../../src/errors.js';
import type { ReplicaSettings } from '../../../src/replication/settings.js';
import { SlowDevice } from '../crash/raid-recording.js';
import { restartChance } from '../crash/same-every-time.js';
import { withCalls } from '../devices/with-calls.js';
import { PairBench } from './pair-bench.js';
import {
  DEVICES,
  type DeviceName,
  makePair,
  type PairShape,
  pairOf,
  type Side,
  VOLUME_BYTES,
} from './pair-devices.js';
import { PairHistory } from './pair-history.js';
import { checkPair, evaluatePair, type PairReading } from './pair-reading.js';

const MAX_TURNS = 2;

export interface PairOwed {
  /** Of each sector of the primary the moment since which it was as it is at least. */
  readonly flushed: Uint32Array;
  /** The secondary is at this moment at least, as what was answered says. */
  readonly promised: number;
  /** The last moment that there was. */
  readonly now: number;
  /** Somebody has damaged the log: all of it is dirty, and that is said. */
  readonly mayLoseLog: boolean;
  /** It has a moment to go back to. */
  readonly hasPoint: boolean;
  /** Blocks, a bit each, that the process knew to be dirty or never copied. null: there is none, or it is gone with the cut. */
  readonly known: number | null;
}

export interface PairWorkload {
  readonly name: string;
  readonly shape?: Partial<PairShape>;
  readonly settings?: Partial<ReplicaSettings>;
  run(bench: PairBench): Promise<void>;
}

export interface PairRecordOptions {
  readonly side: Side;
  /** Between the replication and the recorder. */
  readonly wrap?: ((device: BlockDevice, name: DeviceName) => BlockDevice) | undefined;
  /** Between the primary and its secondary. */
  readonly overConnection?: ((device: BlockDevice) => BlockDevice) | undefined;
}

/** At an event: what is owed, and what the process knows. */
type Moment = Omit<PairOwed, 'known'> & { readonly known: number | null };

export async function recordPair(
  workload: PairWorkload,
  random: SeededRandom,
  options: PairRecordOptions,
): Promise<Subject<PairReading, PairOwed>> {
  restartChance(random.below(2 ** 32));
  const { wrap = (device: BlockDevice) => device } = options;
  const shape: PairShape = { logSectors: 16, ...workload.shape };
  const content = shape.uncopied === undefined ? null : random.bytes(VOLUME_BYTES);
  const made = await makePair(shape, content);
  const history = new PairHistory(content ?? new Uint8Array(VOLUME_BYTES), shape.uncopied ?? []);
  const moments: Moment[] = [];
  const recorder = new Recorder({ onEvent: () => moments.push(bench.moment) });
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const devices = pairOf((name) => {
    const { content: held, size } = made[name];
    const recorded = recorder.record(new SlowDevice(held.fork(), { name, size }, delay));
    return wrap(name === 'log' ? flushedAfter(recorded, () => bench.isKilledNow()) : recorded, name);
  });
  const bench: PairBench = new PairBench(devices, history, recorder, {
    ...{ random, settings: workload.settings, overConnection: options.overConnection },
    hasPoint: shape.uncopied === undefined,
  });
  await bench.open();
  await workload.run(bench);
  await bench.end();
  return {
    trace: recorder.trace,
    initial: DEVICES.map((name) => made[name].content.fork()),
    losesMembers: false,
    isPromise: ({ name }) => name.endsWith('answered'),
    obligations: obligationsOf(moments, options.side),
    evaluate: (state) => evaluatePair(state, history, { ...options, wrap, settings: workload.settings }),
    check: checkPair,
  };
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
function obligationsOf(moments: readonly Moment[], side: Side): (cut: number) => PairOwed {
  const known = new Map<string, PairOwed>();
  return (cut) => {
    const before = moments[Math.max(0, cut - 1)]!;
    const after = moments[Math.min(cut, moments.length - 1)]!;
    const isKnown = side === 'secondary' && before.known !== null && after.known !== null;
    const owed = { ...before, now: after.now, known: isKnown ? before.known & after.known : null };
    const key = JSON.stringify(owed);
    const same = known.get(key) ?? owed;
    known.set(key, same);
    return same;
  };
}
