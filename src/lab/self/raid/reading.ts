/**
 * What can be said of an array that a power cut has left, by opening, recovering and reading it as the product does.
 * Whether that is what it should be is raid-invariants.ts's to say.
 *
 * A reading knows nothing of what is owed: it is taken once of each state and held against what every cut owes.
 */
import type { ExploredState } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import { HASH_WORDS } from '../../../crash/state-hash.js';
import type { Trace } from '../../../crash/trace.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import type { RaidArray } from '../../../raid/array.js';
import { bytesInDoubt } from '../../../raid/doubt.js';
import { type ArrayState, arrayState } from '../../../raid/md/judge.js';
import type { Judgement } from '../../../raid/md/model.js';
import { openArray } from '../../../raid/open.js';
import { recoverArray } from '../../../volume/recovery.js';
import { restartChance } from '../same-every-time.js';
import { Examiner } from './examined.js';
import { type RaidHistory, REFUSED, SECTOR_BYTES } from './history.js';

const ROW_BYTES = 4096;
/**
 * A start in doubt reads and writes metadata alone. Of states without a member that have the same metadata one is
 * started for certain, and one of so many of the others.
 */
const START_EVERY = 8;
/** Longer than any run: an array that is looked at does not rest by itself. */
const NEVER_MS = 2 ** 31 - 1;

/** Of an array that has all its members. */
export interface CompleteReading {
  readonly kind: 'complete';
  readonly state: ArrayState;
  readonly lookWrites: number;
  /** Rows of 4 KiB whose parity is wrong before recovery; those that nothing names; those that the kernel would trust. */
  readonly wrongRows: readonly number[];
  readonly unnamedRows: readonly number[];
  readonly trustedRows: readonly number[];
  /** The version of each sector, before and after recovery. */
  readonly before: Int16Array;
  readonly after: AfterRecovery;
}

/** A second look, when all has been recovered and closed. */
export interface AfterRecovery {
  readonly state: ArrayState;
  readonly wrongRows: readonly number[];
  readonly content: Int16Array;
  /** After it was recovered once more. */
  readonly again: Int16Array;
  readonly againWrites: number;
  /** Of each slot, what is read without its member. */
  readonly without: readonly Int16Array[];
}

/** Of an array of which one member is gone. */
export interface DegradedReading {
  readonly kind: 'degraded';
  readonly state: ArrayState;
  readonly lookWrites: number;
  readonly isDoubtKnown: boolean;
  readonly verdict: string;
  /** It did not start without --force. */
  readonly wantsForce: boolean;
  /** The versions that a look reads, that the started array reads, and that one reads that was opened anew after that. */
  readonly looked: Int16Array;
  readonly started: Int16Array;
  readonly restarted: Int16Array;
  readonly restartedState: ArrayState;
}

/** It could not be opened, recovered or read. */
export interface FailedReading {
  readonly kind: 'failed';
  readonly message: string;
}

export type RaidReading = (CompleteReading | DegradedReading | FailedReading) & {
  /** A member was taken away after the cut. */
  readonly isMissing: boolean;
};

const examiner = new Examiner();

type Devices = readonly (StateDevice | null)[];

interface Opened {
  readonly array: RaidArray;
  readonly judgement: Judgement;
}

/** Takes readings of arrays with one history. What recovery leaves is often the same: it is read once. */
export class RaidReader {
  private readonly afters = new Map<string, AfterRecovery>();
  private readonly starts = new Map<string, Pick<DegradedReading, 'wantsForce' | 'restartedState'>>();
  private readonly contents = new Map<string, Int16Array>();
  private degradedReadings = 0;

  constructor(
    private readonly history: RaidHistory,
    /** Takes something out of arrays before they are recovered. */
    private readonly mutate?: ((array: RaidArray) => void) | undefined,
  ) {}

  async evaluate(state: ExploredState): Promise<{ reading: RaidReading; recovery: Trace | null }> {
    const devices = state.devices();
    const isMissing = state.missing !== null;
    try {
      const judgement = await examiner.judge(present(devices));
      const isComplete =
        judgement.slots.length > 0 && judgement.slots.every((slot) => slot.state === 'in-sync');
      const look = { judgement, array: await openArray(judgement, openOptions(true)) };
      const { reading, recovery } = await (isComplete
        ? this.complete(devices, look)
        : this.degraded(devices, look));
      return { reading: { ...reading, isMissing }, recovery };
    } catch (error) {
      const message = error instanceof Error ? (error.stack ?? error.message) : String(error);
      return { reading: { kind: 'failed', message, isMissing }, recovery: null };
    }
  }

  private async complete(
    devices: Devices,
    opened: Opened,
  ): Promise<{ reading: CompleteReading; recovery: Trace }> {
    const look = await this.lookAtComplete(opened);
    await opened.array.close();
    const lookWrites = writesTo(devices);
    const { left, trace } = await recover(devices, async ({ array, judgement }) => {
      this.mutate?.(array);
      await recoverArray(array, judgement, { warn: () => undefined });
    });
    const key = hashOf(left);
    const after = this.afters.get(key) ?? (await this.afterRecovery(left));
    this.afters.set(key, after);
    return { reading: { kind: 'complete', lookWrites, ...look, after }, recovery: trace };
  }

  private async lookAtComplete({ array, judgement }: Opened) {
    const { mismatchedRows } = await array.scrub({ repair: false });
    const { suspect } = array.core;
    const resyncFrom = judgement.set!.resyncOffset ?? Number.POSITIVE_INFINITY;
    return {
      state: stateOf(array, judgement),
      wrongRows: mismatchedRows,
      unnamedRows: mismatchedRows.filter((row) => !suspect.covers(row * ROW_BYTES, (row + 1) * ROW_BYTES)),
      trustedRows: mismatchedRows.filter((row) => row * ROW_BYTES < resyncFrom),
      before: await this.content(array),
    };
  }

  private async afterRecovery(devices: Devices): Promise<AfterRecovery> {
    const { array, judgement } = await open(present(devices), true);
    const { mismatchedRows: wrongRows } = await array.scrub({ repair: false });
    const content = await this.content(array);
    await array.close();
    const again = await recover(devices, async (opened) => {
      await recoverArray(opened.array, opened.judgement, { warn: () => undefined });
    });
    const without: Int16Array[] = [];
    for (const { device } of judgement.slots) {
      without.push(await this.contentOf(present(devices).filter((other) => other !== device)));
    }
    return {
      state: stateOf(array, judgement),
      wrongRows,
      content,
      again: await this.contentOf(present(again.left)),
      againWrites: again.trace.events.length,
      without,
    };
  }

  private async degraded(
    devices: Devices,
    { array, judgement }: Opened,
  ): Promise<{ reading: DegradedReading; recovery: Trace | null }> {
    const looked = await this.content(array);
    await array.close();
    const lookWrites = writesTo(devices);
    const state = stateOf(array, judgement);
    const look = {
      kind: 'degraded' as const,
      state,
      lookWrites,
      isDoubtKnown: array.core.isDoubtKnown,
      verdict: `${array.record.chosen.verdict} ${array.record.chosen.reason}`,
      looked,
    };
    const key = metadataKey(devices, judgement);
    const known = this.starts.get(key);
    this.degradedReadings += 1;
    if (known !== undefined && this.degradedReadings % START_EVERY > 0) {
      const { wantsForce, restartedState } = known;
      const reading = { ...look, wantsForce, restartedState, started: looked, restarted: looked };
      return { reading, recovery: null };
    }
    const { start, trace } = await this.start(devices);
    // What is in doubt stays so, however often it is started.
    const restart = start.wantsForce
      ? await this.restart(present(start.left))
      : { restarted: start.started, restartedState: state };
    const { wantsForce, started } = start;
    this.starts.set(key, { wantsForce, restartedState: restart.restartedState });
    return { reading: { ...look, wantsForce, started, ...restart }, recovery: trace };
  }

  private async start(devices: Devices) {
    let wantsForce = false;
    let started: Int16Array = new Int16Array(0);
    const { left, trace } = await recover(devices, async (opened) => {
      this.mutate?.(opened.array);
      wantsForce = await startDegraded(opened);
      started = await this.content(opened.array);
    });
    return { start: { left, wantsForce, started }, trace };
  }

  private async restart(
    devices: readonly StateDevice[],
  ): Promise<{ restarted: Int16Array; restartedState: ArrayState }> {
    const { array, judgement } = await open(devices, true);
    const restarted = await this.content(array);
    await array.close();
    return { restarted, restartedState: stateOf(array, judgement) };
  }

  private async contentOf(devices: readonly StateDevice[]): Promise<Int16Array> {
    const { array } = await open(devices, true);
    const content = await this.content(array);
    await array.close();
    return content;
  }

  /** Of each sector its version; what is in doubt has to be refused. */
  private async content(array: RaidArray): Promise<Int16Array> {
    const found = new Int16Array(this.history.sectors);
    const isRefusing = !array.readOnly || array.core.isDoubtKnown;
    let at = 0;
    for (const { start, end } of isRefusing ? bytesInDoubt(array.core) : []) {
      await this.read(array, at, start, found);
      await mustRefuse(array, start, end);
      found.fill(REFUSED, start / SECTOR_BYTES, end / SECTOR_BYTES);
      at = end;
    }
    await this.read(array, at, array.size, found);
    // Kept by the hundred thousand, and most are alike.
    const key = Buffer.from(found.buffer).toString('latin1');
    const alike = this.contents.get(key) ?? found;
    this.contents.set(key, alike);
    return alike;
  }

  private async read(array: RaidArray, start: number, end: number, into: Int16Array): Promise<void> {
    if (start === end) return;
    const bytes = new Uint8Array(end - start);
    await array.read(start, bytes);
    this.history.classify(start, bytes, into);
  }
}

/** Of what is only looked at the first sector, of what is written the last: a state is read both ways. */
async function mustRefuse(array: RaidArray, start: number, end: number): Promise<void> {
  const from = array.readOnly ? start : end - SECTOR_BYTES;
  const isRefused = await array.read(from, new Uint8Array(SECTOR_BYTES)).then(
    () => false,
    (error: unknown) => error instanceof UserError && error.code === 'DATA_UNAVAILABLE',
  );
  if (!isRefused) throw new Error(`array byte ${from} is in doubt, and a read of it is not refused`);
}

/** Starts it without --force, and where that is refused with it. True if it was needed. */
async function startDegraded({ array, judgement }: Opened): Promise<boolean> {
  const warn = () => undefined;
  try {
    await recoverArray(array, judgement, { warn });
    return false;
  } catch (error) {
    if (!(error instanceof UserError) || error.code !== 'REFUSED') throw error;
  }
  await recoverArray(array, judgement, { warn, force: true });
  return true;
}

/** Opens copies for writing, does `body` and closes; what that asked of all devices, those that are missing too. */
async function recover(
  devices: Devices,
  body: (opened: Opened) => Promise<void>,
): Promise<{ left: Devices; trace: Trace }> {
  const left = devices.map((device) => device?.fork() ?? null);
  const recorder = new Recorder();
  const recorded = left.flatMap((device, index) => {
    const wrapped = recorder.record(device ?? absent(index));
    return device === null ? [] : [wrapped];
  });
  restartChance(1);
  const opened = await open(recorded, false);
  await body(opened);
  await opened.array.close();
  return { left, trace: recorder.trace };
}

function absent(index: number): StateDevice {
  return new StateDevice(StateContent.blank(index), { name: `absent-${index}`, size: SECTOR_BYTES });
}

async function open(devices: readonly BlockDevice[], readOnly: boolean): Promise<Opened> {
  const judgement = await examiner.judge(devices);
  return { judgement, array: await openArray(judgement, openOptions(readOnly)) };
}

function openOptions(readOnly: boolean) {
  return { name: 'array', readOnly, warn: () => undefined, idleMs: NEVER_MS };
}

/** As `status` tells it. */
function stateOf({ core, record }: RaidArray, judgement: Judgement): ArrayState {
  const isKnown = record.chosen.record !== null;
  return arrayState(judgement, isKnown ? !core.isRecovered : judgement.set?.resyncOffset !== null);
}

function present(devices: Devices): StateDevice[] {
  return devices.filter((device) => device !== null);
}

function writesTo(devices: Devices): number {
  return present(devices).reduce((sum, device) => sum + device.writes, 0);
}

/** The same for devices that hold the same before their data. */
function metadataKey(devices: Devices, { freshest }: Judgement): string {
  const { dataOffset } = freshest!;
  const parts = devices.map((device) => device?.content.keyOf(dataOffset) ?? 'gone');
  return parts.join('/');
}

function hashOf(devices: Devices): string {
  const words = new Int32Array(devices.length * HASH_WORDS);
  for (const [index, device] of devices.entries()) device?.content.hash(words, index * HASH_WORDS);
  return words.join();
}
