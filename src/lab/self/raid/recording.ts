/**
 * A workload of an array, recorded: what was asked of its members, what was acknowledged when, and what each member
 * held at the beginning. The same seed makes the same recording.
 */

import type { Subject } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import { byteLength } from '../../../device/buffers.js';
import { type BlockDevice, type Buffers, DeviceError } from '../../../device/contract.js';
import type { RaidArray } from '../../../raid/array.js';
import { openArray } from '../../../raid/open.js';
import { type Delay, turns } from '../delays.js';
import { markedPromises } from '../marked-promises.js';
import { restartChance } from '../same-every-time.js';
import { judgeDevices, makeMembers, type TestShape } from './arrays.js';
import { type Owed, RaidHistory, WitnessedDevice } from './history.js';
import { checkRaid } from './invariants.js';
import { RaidReader, type RaidReading } from './reading.js';

const NEVER_MS = 2 ** 31 - 1;
/** Turns of the event loop that a call to a member takes at most: enough for others to overtake it. */
const MAX_TURNS = 3;

/** What a workload has to work with. */
export interface Bench {
  readonly random: SeededRandom;
  readonly history: RaidHistory;
  /** One a slot, below what records. */
  readonly members: readonly SlowDevice[];
  /** What lies in the slot of the member that is away: recorded, and not in the array. */
  readonly absent: BlockDevice | undefined;
  /** Opens the array over the members that are there. */
  open(): Promise<{ array: RaidArray; witnessed: WitnessedDevice }>;
}

export interface Workload {
  readonly name: string;
  readonly shape: TestShape;
  /** Every member is there and well all the time: what is left is looked at without each of them too. */
  readonly isHealthy: boolean;
  /** The slot whose member is not there while it runs. After the cut it is back. */
  readonly away?: number;
  /** What the members are given before the recording begins: a bitmap, or content. */
  readonly prepare?: (members: readonly BlockDevice[]) => Promise<void>;
  run(bench: Bench): Promise<void>;
}

/** Ends its calls late and out of order, and can begin to fail writes. */
export class SlowDevice extends StateDevice {
  private failsFrom = Number.POSITIVE_INFINITY;

  constructor(
    content: StateContent,
    options: { name: string; size: number },
    private readonly delay: Delay,
  ) {
    super(content, options);
  }

  /** From now on writes at or behind `offset` fail. */
  failWrites(offset: number): void {
    this.failsFrom = offset;
  }

  override async read(offset: number, into: Buffers): Promise<void> {
    await turns(this.delay);
    await super.read(offset, into);
  }

  override async write(offset: number, from: Buffers): Promise<void> {
    await turns(this.delay);
    if (offset >= this.failsFrom) {
      const fault = { device: this.name, operation: 'write' as const, offset, length: byteLength(from) };
      throw new DeviceError('IO_ERROR', `${this.name}: it fails`, fault);
    }
    await super.write(offset, from);
  }

  override async flush(): Promise<void> {
    await turns(this.delay);
    await super.flush();
  }
}

export interface RecordOptions {
  /** Takes something out of the array before it is used. */
  readonly mutate?: ((array: RaidArray) => void) | undefined;
  /** The same for arrays that are recovered. */
  readonly mutateRecovery?: ((array: RaidArray) => void) | undefined;
}

/** Records the workload, and makes of it what is to be explored. */
export async function recordWorkload(
  workload: Workload,
  random: SeededRandom,
  { mutate, mutateRecovery }: RecordOptions = {},
): Promise<Subject<RaidReading, Owed>> {
  restartChance(random.below(2 ** 32));
  const { shape } = workload;
  const blank = await makeMembers(
    shape,
    (size, slot) => new StateDevice(StateContent.blank(slot), { name: `member-${slot}`, size }),
  );
  await workload.prepare?.(blank);
  const initial = blank.map((device) => device.content.freeze());
  const history = new RaidHistory(await contentOf(blank));
  const recorder = new Recorder();
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const slow = blank.map(
    ({ name, size }, slot) => new SlowDevice(initial[slot]!.fork(), { name, size }, delay),
  );
  const recorded = slow.map((device) => recorder.record(device));
  recorder.mark('begins', history.owed);
  await workload.run({
    random,
    history,
    members: slow,
    absent: workload.away === undefined ? undefined : recorded[workload.away],
    async open() {
      const devices = recorded.filter((_, slot) => slot !== workload.away);
      const array = await openArray(await judgeDevices(devices), {
        name: 'array',
        readOnly: false,
        warn: () => undefined,
        idleMs: NEVER_MS,
      });
      mutate?.(array);
      return { array, witnessed: new WitnessedDevice(array, history, recorder) };
    },
  });
  const reader = new RaidReader(history, mutateRecovery);
  return {
    ...markedPromises<Owed>(recorder.trace),
    initial,
    losesMembers: workload.isHealthy,
    evaluate: (state) => reader.evaluate(state),
    check: (reading, promised) => checkRaid(reading, promised, history, workload.isHealthy),
  };
}

async function contentOf(devices: readonly BlockDevice[]): Promise<Uint8Array> {
  const array = await openArray(await judgeDevices(devices), {
    name: 'array',
    readOnly: true,
    warn: () => undefined,
  });
  const content = new Uint8Array(array.size);
  await array.read(0, content);
  await array.close();
  return content;
}
