/**
 * A workload of the metadata engine, recorded, and what is owed after a cut of it.
 *
 * Transactions are durable in the order of their calls. So what a cut leaves is what some number of the first of them
 * make together: those that were acknowledged at least, those that were called at most; the same with either half of
 * the range gone.
 */
import { createHash } from 'node:crypto';
import type { Breach } from '../../../crash/explorer-failure.js';
import type { ExploredState, Subject } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import { StateContent } from '../../../crash/state-content.js';
import type { StateDevice } from '../../../crash/state-device.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { checkEngine } from '../../../metadata/engine/check-engine.js';
import type { Change, MetadataEngine } from '../../../metadata/engine/contract.js';
import type { EmbeddedEngine } from '../../../metadata/engine/embedded-engine.js';
import { halfBytesOf } from '../../../metadata/engine/layout.js';
import { makeEngine } from '../../../metadata/engine/make-engine.js';
import { openEngine } from '../../../metadata/engine/open-engine.js';
import { markedPromises } from '../marked-promises.js';
import { SlowDevice } from '../raid/recording.js';
import { restartChance } from '../same-every-time.js';
import { bytesOf, EngineModel, list, put } from './model.js';

const LOG_BYTES = 64 * 1024;
export const RANGE_OFFSET = 16 * 1024;
const MAX_TURNS = 3;

/** How many transactions were acknowledged, of those that were called. */
export interface OwedPrefix {
  readonly isMade: boolean;
  readonly acknowledged: number;
  readonly called: number;
}

/** What an opening gave: how many transactions it has; 'torn': no number of whole ones makes that. */
type Found = number | 'torn' | 'absent' | { readonly failed: string };

export interface EngineReading {
  readonly found: Found;
  /** With half A of what the cut left gone, and with half B. */
  readonly withoutHalf: readonly Found[];
  /** What else is wrong, in words. */
  readonly wrong: string | null;
}

export interface EngineBench {
  readonly random: SeededRandom;
  readonly slow: SlowDevice;
  /** Of half B. */
  readonly secondHalf: number;
  open(): Promise<EmbeddedEngine>;
  /** Commits, and notes what is owed then. With the changes comes one of a counter, so that no two states are alike. */
  commit(engine: MetadataEngine, changes: readonly Change[]): Promise<void>;
  /** Makes an empty engine over the one that is there, which is closed. */
  remake(): Promise<void>;
}

export interface EngineWorkload {
  readonly name: string;
  readonly rangeBytes: number;
  /** It takes long, and one profile is enough. */
  readonly isLong?: boolean;
  run(bench: EngineBench): Promise<void>;
}

export interface EngineRecordOptions {
  /** Between the engine and the recorder. */
  readonly wrap?: ((device: BlockDevice) => BlockDevice) | undefined;
}

export async function openQuietly(
  device: BlockDevice,
  length: number,
  readOnly = false,
): Promise<EmbeddedEngine> {
  return openEngine(
    { device, offset: RANGE_OFFSET, length },
    { warn: () => undefined, overlayBytes: 32 * 1024, readOnly },
  );
}

export async function recordEngine(
  workload: EngineWorkload,
  random: SeededRandom,
  { wrap = (device) => device }: EngineRecordOptions = {},
): Promise<Subject<EngineReading, OwedPrefix>> {
  restartChance(random.below(2 ** 32));
  const history = new History();
  const length = workload.rangeBytes;
  const name = 'metadata';
  const initial = StateContent.blank(0);
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const slow = new SlowDevice(initial.fork(), { name, size: RANGE_OFFSET + length }, delay);
  const recorder = new Recorder();
  const device = wrap(recorder.record(slow));
  const note = (what: string) => recorder.mark(what, history.owed);
  note('begins');
  const range = { device, offset: RANGE_OFFSET, length };
  const remake = async () => {
    history.begin();
    note('making');
    await makeEngine(range, { logBytes: LOG_BYTES });
    history.end();
    note('made: answered');
  };
  await remake();
  await workload.run({
    random,
    slow,
    secondHalf: RANGE_OFFSET + halfBytesOf(range),
    open: () => openQuietly(device, length),
    remake,
    async commit(engine, changes) {
      const all = [...changes, put('counter', String(history.called + 1))];
      const number = history.call(all);
      note('called');
      await engine.commit(all);
      history.acknowledge(number);
      note('answered');
    },
  });
  return {
    ...markedPromises<OwedPrefix>(recorder.trace),
    initial: [initial],
    losesMembers: false,
    evaluate: (state) => evaluate(state, length, history),
    check: (reading, promised) => checkReading(reading, promised),
  };
}

class History {
  private model = new EngineModel();
  private readonly numbers = new Map<string, number>([[digest([]), 0]]);
  private acknowledged = 0;
  private isMade = false;
  called = 0;

  get owed(): OwedPrefix {
    return { isMade: this.isMade, acknowledged: this.acknowledged, called: this.called };
  }

  /** An engine is made: the old one may be there still, none, or the new one. */
  begin(): void {
    this.isMade = false;
    this.acknowledged = 0;
  }

  end(): void {
    this.isMade = true;
    this.called = 0;
    this.model = new EngineModel();
  }

  call(changes: readonly Change[]): number {
    this.called += 1;
    this.model.apply(changes);
    this.numbers.set(digest(this.model.list()), this.called);
    return this.called;
  }

  acknowledge(number: number): void {
    this.acknowledged = Math.max(this.acknowledged, number);
  }

  numberOf(entries: readonly string[]): number | 'torn' {
    return this.numbers.get(digest(entries)) ?? 'torn';
  }
}

function digest(entries: readonly string[]): string {
  return createHash('sha256').update(entries.join('\n')).digest('hex');
}

/** Opens, reads and closes. */
async function look(device: BlockDevice, length: number, history: History, readOnly = false): Promise<Found> {
  try {
    const engine = await openQuietly(device, length, readOnly);
    const found = history.numberOf(await list(engine));
    await engine.close();
    return found;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return error.code === 'VOLUME_NOT_FOUND' ? 'absent' : { failed: error.message };
  }
}

async function evaluate(state: ExploredState, length: number, history: History) {
  const device = state.devices()[0]!;
  const [before, withoutA, withoutB] = [device.fork(), device.fork(), device.fork()];
  const half = halfBytesOf({ device, offset: RANGE_OFFSET, length });
  await withoutA.writeZeroes(RANGE_OFFSET, half);
  await withoutB.writeZeroes(RANGE_OFFSET + half, half);
  const recorder = new Recorder();
  const found = await look(recorder.record(device), length, history);
  const withoutHalf = [await look(withoutA, length, history), await look(withoutB, length, history)];
  const wrong = await wrongAfter(before, device, found, length, history);
  const reading: EngineReading = { found, withoutHalf, wrong };
  return { reading, recovery: recorder.trace };
}

/** Looking writes nothing; recovering again does not either; all is whole then, and can be written. */
async function wrongAfter(
  before: StateDevice,
  device: StateDevice,
  found: Found,
  length: number,
  history: History,
): Promise<string | null> {
  const looked = await look(before, length, history, true);
  if (before.writes > 0) return 'a look has written';
  if (JSON.stringify(looked) !== JSON.stringify(found)) return 'a look finds something else than a recovery';
  if (typeof found !== 'number') return null;
  const writes = device.writes;
  const again = await look(device, length, history);
  if (again !== found)
    return `recovered twice there are ${JSON.stringify(again)} transactions, and once ${found}`;
  if (device.writes !== writes) return 'a second recovery has written';
  const range = { device, offset: RANGE_OFFSET, length };
  const findings = await checkEngine(range);
  if (findings.length > 0) return findings[0]!.message;
  const engine = await openQuietly(device, length);
  const entries = await list(engine);
  await engine.commit([put('zzz', 'after')]);
  await engine.checkpoint();
  await engine.close();
  const reopened = await openQuietly(device, length);
  const after = await list(reopened);
  await reopened.close();
  if (after.length !== entries.length + 1 || (await checkEngine(range)).length > 0)
    return 'it cannot be written after that';
  return (await reopenedValue(device, length)) === 'after' ? null : 'what is written after that is gone';
}

async function reopenedValue(device: StateDevice, length: number): Promise<string | null> {
  const engine = await openQuietly(device, length, true);
  const value = await engine.get(bytesOf('zzz'));
  await engine.close();
  return value === null ? null : Buffer.from(value).toString('latin1');
}

function checkReading({ found, withoutHalf, wrong }: EngineReading, owed: OwedPrefix): Breach | null {
  // Where one engine is made over another, half of the one and half of the other is nothing that anybody was promised.
  const looked = owed.isMade ? [found, ...withoutHalf] : [found];
  for (const [index, each] of looked.entries()) {
    const breach = checkFound(each, owed);
    if (breach === null) continue;
    const where = ['', ' with half A gone', ' with half B gone'][index];
    return { invariant: breach.invariant, message: `${breach.message}${where}` };
  }
  return wrong === null ? null : { invariant: 'whole', message: wrong };
}

function checkFound(found: Found, { isMade, acknowledged, called }: OwedPrefix): Breach | null {
  if (found === 'absent') {
    return isMade ? { invariant: 'there', message: 'there is no engine' } : null;
  }
  if (found === 'torn')
    return { invariant: 'all-or-nothing', message: 'it holds what no whole transactions make' };
  if (typeof found !== 'number') return { invariant: 'opens', message: found.failed };
  if (found < acknowledged)
    return { invariant: 'acknowledged', message: `${acknowledged} were acknowledged, ${found} are there` };
  if (found > called)
    return { invariant: 'called', message: `${found} are there, and ${called} were called` };
  return null;
}
