/**
 * A workload of a secondary, recorded, and what is owed after a cut of it.
 *
 * What a cut leaves is the content at the end of some epoch: of the last that was acknowledged, or of a later one that had
 * been called to end. Amid a resync `promote` gives the content of the point at which it began, whatever was applied.
 */
import { createHash } from 'node:crypto';
import type { Breach } from '../../../crash/explorer-failure.js';
import type { ExploredState, Subject } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import {
  openSecondary,
  promote,
  type SecondaryDevice,
  type SecondaryParts,
  type SecondaryState,
} from '../../../replication/secondary/index.js';
import { markedPromises } from '../marked-promises.js';
import { SlowDevice } from '../raid/recording.js';
import { restartChance } from '../same-every-time.js';
import { withCalls } from '../with-calls.js';
import {
  contentOf,
  create,
  lent,
  PARTS,
  type PartName,
  partsBy,
  SECOND,
  type Sizes,
  sizeOf,
} from './secondary-parts.js';

export const SIZES: Sizes = { imageBytes: 32 * 1024 + 512, logBytes: 8192 + 32 * 1024 };
const SECTOR_BYTES = 512;
const MAX_TURNS = 3;

export interface Owed {
  /** Numbers of epochs: acknowledged at least, called to end at most. */
  readonly acknowledged: number;
  readonly ended: number;
  readonly states: readonly SecondaryState[];
  /** The epoch at which the resync began. */
  readonly point: number;
  /** The container is too small: there may be no way back. */
  readonly mayLosePoint: boolean;
}

/** The epoch of which it is the content; or what else there is. */
type Found = number | 'torn' | { readonly failed: string };

export interface SecondaryReading {
  readonly state: SecondaryState | null;
  readonly found: Found;
  readonly promoted: Found;
  readonly wrong: string | null;
}

export interface SecondaryBench {
  readonly random: SeededRandom;
  readonly device: SecondaryDevice;
  /** One call of some sectors, noted in the moment of the call. Ends when it has. */
  write(kind: 'data' | 'zeroes' | 'trim', sector: number, sectors: number): Promise<void>;
  /** Ends the epoch, and notes what is owed. A mark of the epoch is written before. */
  flush(): Promise<void>;
  /** Leaves it, and opens it anew: what had no end is gone. */
  reopen(): Promise<void>;
  /** The process is killed before the next flush of the part. */
  failFlush(part: PartName): void;
  beginResync(): Promise<void>;
  endResync(): Promise<void>;
}

export interface SecondaryWorkload {
  readonly name: string;
  readonly sizes?: Partial<Sizes>;
  run(bench: SecondaryBench): Promise<void>;
}

export interface SecondaryRecordOptions {
  /** What is looked at and cut again. */
  readonly looksAt: 'opening' | 'promote';
  /** Between the secondary and the recorder. */
  readonly wrap?: ((device: BlockDevice, part: PartName) => BlockDevice) | undefined;
}

export async function recordSecondary(
  workload: SecondaryWorkload,
  random: SeededRandom,
  { looksAt, wrap = (device) => device }: SecondaryRecordOptions,
): Promise<Subject<SecondaryReading, Owed>> {
  restartChance(random.below(2 ** 32));
  const sizes = { ...SIZES, ...workload.sizes };
  const made = partsBy(
    (part, index) => new StateDevice(StateContent.blank(index), { name: part, size: sizeOf(part, sizes) }),
  );
  await create(made, sizes.imageBytes);
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const recorder = new Recorder();
  const stand = new Stand(recorder, random, sizes.imageBytes, sizes.keptBytes !== undefined);
  const parts = partsBy((part) => {
    const slow = new SlowDevice(made[part].content.fork(), { name: part, size: sizeOf(part, sizes) }, delay);
    return wrap(stand.failing(recorder.record(slow), part), part);
  });
  await stand.open(parts);
  await workload.run(stand);
  await stand.device.close();
  const evaluateWith = (state: ExploredState) => evaluate(state, stand.history, { looksAt, wrap });
  return {
    ...markedPromises<Owed>(recorder.trace),
    initial: PARTS.map((part) => made[part].content.fork()),
    losesMembers: false,
    evaluate: evaluateWith,
    check: (reading, owed) =>
      looksAt === 'opening' ? checkOpening(reading, owed) : checkPromoted(reading.promoted, owed),
  };
}

/** What the content was at the end of each epoch. */
class History {
  private readonly epochs = new Map<string, number>();
  readonly contents: Uint8Array[] = [];

  end(content: Uint8Array): number {
    this.contents.push(content.slice());
    this.epochs.set(digest(content), this.contents.length - 1);
    return this.contents.length - 1;
  }

  /** Those after it never were. */
  forgetAfter(epoch: number): void {
    for (const content of this.contents.splice(epoch + 1)) this.epochs.delete(digest(content));
  }

  epochOf(content: Uint8Array): Found {
    return this.epochs.get(digest(content)) ?? 'torn';
  }
}

function digest(content: Uint8Array): string {
  return createHash('sha256').update(content).digest('hex');
}

class Stand implements SecondaryBench {
  readonly history = new History();
  private opened: SecondaryDevice | null = null;
  private parts: SecondaryParts | null = null;
  private content: Uint8Array;
  private owed: Owed;
  private fails: PartName | null = null;
  private isKilled = false;

  constructor(
    private readonly recorder: Recorder,
    readonly random: SeededRandom,
    sizeBytes: number,
    mayLosePoint: boolean,
  ) {
    this.content = new Uint8Array(sizeBytes);
    const epoch = this.history.end(this.content);
    this.owed = { acknowledged: epoch, ended: epoch, states: ['consistent'], point: epoch, mayLosePoint };
  }

  get device(): SecondaryDevice {
    return this.opened!;
  }

  failing(device: BlockDevice, part: PartName): BlockDevice {
    const alive = () => {
      if (this.isKilled) throw new UserError('IO_ERROR', `${part}: the process is gone`);
    };
    return withCalls(device, {
      async write(offset, from) {
        alive();
        await device.write(offset, from);
      },
      async writeZeroes(offset, length) {
        alive();
        await device.writeZeroes(offset, length);
      },
      flush: async () => {
        this.isKilled ||= this.fails === part;
        alive();
        await device.flush();
      },
    });
  }

  failFlush(part: PartName): void {
    this.fails = part;
  }

  async open(parts: SecondaryParts): Promise<void> {
    this.parts = parts;
    this.note('opens', {});
    this.opened = await openSecondary(lent(parts), { nowMs: () => 1000 });
  }

  async write(kind: 'data' | 'zeroes' | 'trim', sector: number, sectors: number): Promise<void> {
    const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
    const bytes = kind === 'data' ? this.random.bytes(length) : new Uint8Array(length);
    this.content.set(bytes, offset);
    if (kind === 'data') return this.device.write(offset, bytes);
    return kind === 'trim' ? this.device.trim(offset, length) : this.device.writeZeroes(offset, length);
  }

  async flush(): Promise<void> {
    const mark = this.write('data', 0, 1);
    const epoch = this.history.end(this.content);
    this.note('epoch ends', { ended: epoch });
    const flushed = this.device.flush();
    await Promise.all([mark, flushed]);
    this.note('epoch answered', { acknowledged: Math.max(epoch, this.owed.acknowledged) });
  }

  async reopen(): Promise<void> {
    await this.device.close();
    this.fails = null;
    this.isKilled = false;
    await this.open(this.parts!);
    this.content = await contentOf(this.device);
    const found = this.history.epochOf(this.content);
    if (typeof found !== 'number') throw new Error('what is there after an opening is the end of no epoch');
    this.history.forgetAfter(found);
    this.note('opened', { acknowledged: found, ended: found });
  }

  async beginResync(): Promise<void> {
    // One that goes on after an opening has the point that it had.
    if (this.owed.states.includes('resyncing')) return this.device.beginResync();
    this.note('resync begins', { states: ['consistent', 'resyncing'], point: this.owed.acknowledged });
    await this.device.beginResync();
    this.note('resync answered', { states: ['resyncing'] });
  }

  async endResync(): Promise<void> {
    await this.flush();
    this.note('resync ends', { states: ['resyncing', 'consistent'] });
    await this.device.endResync({ generation: SECOND });
    this.note('end of resync answered', { states: ['consistent'] });
  }

  private note(name: string, changes: Partial<Owed>): void {
    this.owed = { ...this.owed, ...changes };
    this.recorder.mark(name, this.owed);
  }
}

interface EvaluateOptions extends SecondaryRecordOptions {
  readonly wrap: NonNullable<SecondaryRecordOptions['wrap']>;
}

async function evaluate(state: ExploredState, history: History, { looksAt, wrap }: EvaluateOptions) {
  const devices = state.devices() as StateDevice[];
  const recorder = new Recorder();
  const before = devices.map((device) => device.fork());
  const recorded = partsBy((part, index) => wrap(recorder.record(devices[index]!), part));
  if (looksAt === 'promote') {
    const promoted = await promoteTwice(recorded, devices[0]!, history);
    return { reading: { state: null, found: promoted, promoted, wrong: null }, recovery: recorder.trace };
  }
  const opened = await look(recorded, history);
  const wrong = await wrongAfter(before, devices, opened, history);
  const promoted = await promoteTwice(
    partsBy((_, index) => before[index]!.fork()),
    null,
    history,
  );
  return { reading: { ...opened, promoted, wrong }, recovery: recorder.trace };
}

interface Opened {
  readonly state: SecondaryState | null;
  readonly found: Found;
}

async function look(parts: SecondaryParts, history: History, readOnly = false): Promise<Opened> {
  try {
    const device = await openSecondary(lent(parts), { readOnly, nowMs: () => 1000 });
    const found = history.epochOf(await contentOf(device));
    const { state } = device.marks;
    await device.close();
    return { state, found };
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { state: null, found: { failed: error.message } };
  }
}

/** Looking writes nothing, and finds the same; recovered it is in the image, and recovering again finds the same. */
async function wrongAfter(
  before: readonly StateDevice[],
  devices: readonly StateDevice[],
  opened: Opened,
  history: History,
): Promise<string | null> {
  const looked = await look(
    partsBy((_, index) => before[index]!),
    history,
    true,
  );
  if (before.some(({ writes }) => writes > 0)) return 'a look has written';
  if (JSON.stringify(looked) !== JSON.stringify(opened)) return 'a look finds something else than a recovery';
  if (opened.state === null) return null;
  if (history.epochOf(await contentOf(devices[0]!)) !== opened.found)
    return 'the image does not hold what is read';
  const again = await look(
    partsBy((_, index) => devices[index]!),
    history,
  );
  return JSON.stringify(again) === JSON.stringify(opened) ? null : 'recovered twice it is something else';
}

/** Twice, with the same outcome. The image holds it. */
async function promoteTwice(
  parts: SecondaryParts,
  image: BlockDevice | null,
  history: History,
): Promise<Found> {
  try {
    const { point } = await promote(parts, { newGeneration: SECOND });
    const found = history.epochOf(await contentOf(image ?? parts.image));
    const again = await promote(parts, { newGeneration: { number: 9, id: new Uint8Array(16) } });
    if (!again.wasPromoted || again.generation.number !== SECOND.number)
      return { failed: 'it was promoted twice' };
    if (found !== point?.epoch)
      return { failed: `it holds ${JSON.stringify(found)} and says ${point?.epoch}` };
    return found;
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    return { failed: error.code === 'DATA_UNAVAILABLE' ? 'no point' : error.message };
  }
}

function checkOpening({ state, found, promoted, wrong }: SecondaryReading, owed: Owed): Breach | null {
  if (wrong !== null) return { invariant: 'whole', message: wrong };
  if (state === null) return { invariant: 'opens', message: JSON.stringify(found) };
  if (!owed.states.includes(state)) return { invariant: 'state', message: `it is ${state}` };
  return checkEpoch(found, owed) ?? checkPromoted(promoted, { ...owed, states: [state] });
}

function checkEpoch(found: Found, { acknowledged, ended }: Owed): Breach | null {
  if (typeof found !== 'number') return { invariant: 'epoch', message: `it holds ${JSON.stringify(found)}` };
  if (found < acknowledged)
    return { invariant: 'acknowledged', message: `${acknowledged} was acknowledged, and ${found} is there` };
  return found <= ended ? null : { invariant: 'ended', message: `${found} is there, and ${ended} had ended` };
}

function checkPromoted(promoted: Found, owed: Owed): Breach | null {
  const { states, point, mayLosePoint } = owed;
  if (states.includes('resyncing') && promoted === point) return null;
  if (mayLosePoint && states.includes('resyncing') && JSON.stringify(promoted).includes('no point'))
    return null;
  if (states.includes('consistent')) {
    const breach = checkEpoch(promoted, owed);
    return breach === null ? null : { invariant: `promoted-${breach.invariant}`, message: breach.message };
  }
  return {
    invariant: 'promoted-point',
    message: `the point was ${point}, and promote gives ${JSON.stringify(promoted)}`,
  };
}
