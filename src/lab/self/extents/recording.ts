/**
 * A workload of files on extents, recorded, and what is owed after a cut of it: invariants 4, 5, 6 and 10 of
 * docs/crash-model.md. What a file may hold is extents-history.ts's to say.
 */

import type { Breach } from '../../../crash/explorer-failure.js';
import type { ExploredState, Subject } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import { HASH_WORDS } from '../../../crash/state-hash.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import type { ExtentFile } from '../../../extents/index.js';
import { checkMetadata } from '../../../metadata/server/check.js';
import { markedPromises } from '../marked-promises.js';
import { SlowDevice } from '../raid/recording.js';
import { restartChance } from '../same-every-time.js';
import { FileHistory, type FoundFile, type OwedFiles } from './history.js';
import {
  makeStand,
  type OpenedStore,
  type OpenStandOptions,
  openStand,
  type Plant,
  type Stand,
} from './stand.js';

const MAX_TURNS = 3;
/** Of the states that are recovered, so many are written to afterwards. */
const WRITE_EVERY = 8;

interface Found {
  /** By name. */
  readonly files: Readonly<Record<string, FoundFile>>;
  /** The same with what is kept and not committed. */
  readonly withKept: Readonly<Record<string, FoundFile>>;
  /** It could not be opened or read, and says so. */
  readonly refused: string | null;
}

export interface ExtentsReading extends Found {
  readonly wrong: string | null;
  readonly isMissing: boolean;
}

/** A file that is written, and remembered. */
export interface WitnessedFile {
  readonly history: FileHistory;
  readonly file: ExtentFile;
  /** Into one area; one write after another in each. */
  write(area: number, offset: number, bytes: Uint8Array): Promise<void>;
  clear(area: number, offset: number, length: number): Promise<void>;
  commit(): Promise<void>;
  /** What is not committed outlives the process. */
  keep(): Promise<void>;
}

export interface ExtentsBench {
  readonly random: SeededRandom;
  open(options?: OpenStandOptions): Promise<OpenedStore>;
  create(opened: OpenedStore, name: string, shape: FileShape): Promise<WitnessedFile>;
  /** One that was there before. */
  reopen(opened: OpenedStore, name: string): Promise<WitnessedFile>;
  snapshot(opened: OpenedStore, of: string, as: string): Promise<void>;
  remove(opened: OpenedStore, name: string): Promise<void>;
}

export interface FileShape {
  readonly areas: number;
  readonly areaBytes: number;
  /** The journal may be full. */
  readonly commitsEarly?: boolean;
}

export interface ExtentsWorkload {
  readonly name: string;
  /** It is run on stands that have one. */
  readonly needsLocalFile?: boolean;
  run(bench: ExtentsBench, stand: Stand): Promise<void>;
}

export interface RecordExtentsOptions {
  readonly stand: Stand;
  /** While it is recorded, and while what a cut left is recovered. */
  readonly plant?: Plant | undefined;
}

export async function recordExtents(
  workload: ExtentsWorkload,
  random: SeededRandom,
  { stand, plant }: RecordExtentsOptions,
): Promise<Subject<ExtentsReading, OwedFiles>> {
  restartChance(random.below(2 ** 32));
  const blank = await makeStand(stand);
  const initial = blank.map((device) => device.content.freeze());
  const recorder = new Recorder();
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const recorded = blank.map(({ name, size }, at) =>
    recorder.record(new SlowDevice(initial[at]!.fork(), { name, size }, delay)),
  );
  const scribe = new Scribe(recorder);
  scribe.note('begins');
  await workload.run(
    scribe.bench(random, (options) => openStand(stand, recorded, { plant, ...options })),
    stand,
  );
  const reader = new ExtentsReader(stand, scribe.files, plant);
  return {
    ...markedPromises<OwedFiles>(recorder.trace),
    initial,
    losesMembers: stand.isRedundant,
    evaluate: (state) => reader.evaluate(state),
    check: (reading, promised) => checkReading(reading, promised, scribe.files),
  };
}

/** Writes down what is asked of files and what is answered. */
class Scribe {
  readonly files = new Map<string, FileHistory>();
  private readonly clock = { now: 0 };

  constructor(private readonly recorder: Recorder) {}

  note(what: string): void {
    const owed = [...this.files].map(([name, history]) => [name, history.owed] as const);
    this.recorder.mark(what, Object.fromEntries(owed) satisfies OwedFiles);
  }

  bench(random: SeededRandom, open: ExtentsBench['open']): ExtentsBench {
    return {
      random,
      open,
      create: async ({ store }, name, { areas, areaBytes, commitsEarly = false }) => {
        const history = new FileHistory(name, areas, areaBytes, this.clock, commitsEarly);
        this.files.set(name, history);
        await this.exists(history, 'yes', () => store.files.create(name, { sizeBytes: areas * areaBytes }));
        return this.witness(await store.openFile(name, { access: 'write' }), history);
      },
      reopen: async ({ store }, name) =>
        this.witness(await store.openFile(name, { access: 'write' }), this.files.get(name)!),
      snapshot: async ({ store }, of, as) => {
        const history = this.files.get(of)!.snapshot(as);
        this.files.set(as, history);
        await this.exists(history, 'yes', () => store.files.snapshot(of, as));
      },
      remove: ({ store }, name) => this.exists(this.files.get(name)!, 'no', () => store.files.remove(name)),
    };
  }

  private async exists(history: FileHistory, becomes: 'yes' | 'no', change: () => Promise<unknown>) {
    history.exists = 'maybe';
    this.note('changes');
    await change();
    history.exists = becomes;
    this.note('changed: answered');
  }

  private witness(file: ExtentFile, history: FileHistory): WitnessedFile {
    const write = async (area: number, offset: number, bytes: Uint8Array, call: () => Promise<void>) => {
      const answered = history.submit(area, offset, bytes);
      this.note('write');
      await call();
      answered();
      this.note('written');
    };
    const at = (area: number, offset: number) => area * history.areaBytes + offset;
    return {
      history,
      file,
      write: (area, offset, bytes) => write(area, offset, bytes, () => file.write(at(area, offset), bytes)),
      clear: (area, offset, length) =>
        write(area, offset, new Uint8Array(length), () => file.clear(at(area, offset), length)),
      commit: async () => {
        const answered = history.commit();
        this.note('commit');
        await file.commit();
        answered();
        this.note('committed: answered');
      },
      keep: async () => {
        const answered = history.keep();
        this.note('keep');
        await file.keep();
        answered();
        this.note('kept: answered');
      },
    };
  }
}

/** Opens, recovers and reads what a cut has left. */
class ExtentsReader {
  private evaluations = 0;
  /** What recovery leaves is often the same: it is looked at once. */
  private readonly afters = new Map<string, string | null>();

  constructor(
    private readonly stand: Stand,
    private readonly files: ReadonlyMap<string, FileHistory>,
    private readonly plant: Plant | undefined,
  ) {}

  async evaluate(state: ExploredState) {
    const devices = state.devices();
    const isMissing = state.missing !== null;
    const before = present(devices).map((device) => device.fork());
    const recorder = new Recorder();
    const recorded = devices.flatMap((device, at) => {
      const wrapped = recorder.record(device ?? absent(at));
      return device === null ? [] : [wrapped];
    });
    restartChance(1);
    const found = await this.read(recorded, { plant: this.plant });
    const wrong = found.refused === null ? await this.wrongAfter(before, present(devices), found) : null;
    const reading: ExtentsReading = { ...found, wrong, isMissing };
    return { reading, recovery: recorder.trace };
  }

  /** Of all files what they hold, and nothing is wrong with what says so. */
  private async read(devices: readonly BlockDevice[], options: OpenStandOptions): Promise<Found> {
    let opened: OpenedStore | null = null;
    try {
      opened = await openStand(this.stand, devices, options);
      const found: Record<string, FoundFile> = {};
      const withKept: Record<string, FoundFile> = {};
      for (const { name, sizeBytes } of await opened.store.files.list()) {
        const history = this.files.get(name);
        if (history === undefined) throw new UserError('REFUSED', `nobody made ${name}`);
        for (const [into, uncommitted] of [
          [found, false],
          [withKept, true],
        ] as const) {
          const content = new Uint8Array(sizeBytes);
          const file = await opened.store.openFile(name, { access: 'read', uncommitted });
          await file.read(0, content);
          await file.close();
          into[name] = history.find(content);
        }
      }
      await opened.store.settled();
      const [finding] = await checkMetadata(opened.engine);
      if (finding !== undefined) throw new UserError('METADATA_DAMAGED', finding.message);
      await opened.close();
      return { files: found, withKept, refused: null };
    } catch (error) {
      opened?.abandon();
      if (!(error instanceof UserError)) throw error;
      return { files: {}, withKept: {}, refused: `${error.code}: ${error.message}` };
    }
  }

  /** Looking writes nothing and sees the same; so does a second recovery; each member is one too many. */
  private async wrongAfter(
    before: readonly StateDevice[],
    after: readonly StateDevice[],
    found: Found,
  ): Promise<string | null> {
    const expected = JSON.stringify(found);
    const looked = await this.read(before, { readOnly: true });
    if (before.some(({ writes }) => writes > 0)) return 'a look has written';
    if (JSON.stringify(looked) !== expected)
      return `a look finds ${JSON.stringify(looked)}, a recovery ${expected}`;
    const key = hashOf(after);
    if (!this.afters.has(key)) this.afters.set(key, await this.wrongAgain(after, expected));
    return this.afters.get(key)!;
  }

  private async wrongAgain(after: readonly StateDevice[], expected: string): Promise<string | null> {
    const again = await this.read(
      after.map((device) => device.fork()),
      {},
    );
    if (JSON.stringify(again) !== expected)
      return `recovered twice it is ${JSON.stringify(again)}, not ${expected}`;
    this.evaluations += 1;
    if (this.evaluations % WRITE_EVERY > 0) return null;
    for (const gone of this.stand.isRedundant && after.length > 2 ? after.keys() : []) {
      const rest = after.filter((_, at) => at !== gone).map((device) => device.fork());
      const without = await this.read(rest, { readOnly: true });
      if (JSON.stringify(without) !== expected)
        return `without member ${gone} it is ${JSON.stringify(without)}, not ${expected}`;
    }
    return this.wrongWhenWritten(after.map((device) => device.fork()));
  }

  private async wrongWhenWritten(devices: readonly StateDevice[]): Promise<string | null> {
    const bytes = new Uint8Array(10_000).fill(0xe5);
    const opened = await openStand(this.stand, devices);
    await opened.store.files.create('after', { sizeBytes: bytes.length });
    const file = await opened.store.openFile('after', { access: 'write' });
    await file.write(0, bytes);
    await file.commit();
    await file.close();
    await opened.close();
    const reopened = await openStand(this.stand, devices);
    const again = await reopened.store.openFile('after', { access: 'read' });
    const content = new Uint8Array(bytes.length);
    await again.read(0, content);
    await again.close();
    await reopened.close();
    return Buffer.compare(content, bytes) === 0 ? null : 'what is written after it is not there';
  }
}

function hashOf(devices: readonly StateDevice[]): string {
  const words = new Int32Array(devices.length * HASH_WORDS);
  for (const [at, device] of devices.entries()) device.content.hash(words, at * HASH_WORDS);
  return words.join();
}

function present(devices: readonly (StateDevice | null)[]): StateDevice[] {
  return devices.filter((device) => device !== null);
}

function absent(index: number): StateDevice {
  return new StateDevice(StateContent.blank(index), { name: `absent-${index}`, size: 512 });
}

function checkReading(
  { files, withKept, refused, wrong, isMissing }: ExtentsReading,
  owed: OwedFiles,
  histories: ReadonlyMap<string, FileHistory>,
): Breach | null {
  // A member was taken away before recovery: what is in doubt then is refused (invariant 3), and never wrong.
  const mayRefuse = isMissing && /^(DATA_UNAVAILABLE|METADATA_DAMAGED)/.test(refused ?? '');
  if (refused !== null) return mayRefuse ? null : { invariant: 'opens', message: refused };
  for (const [name, promised] of Object.entries(owed)) {
    const history = histories.get(name)!;
    const found = files[name] ?? null;
    const breach =
      history.check(found, promised) ??
      (found === null ? null : history.checkKept(found, withKept[name]!, promised));
    if (breach !== null) return breach;
  }
  const unknown = Object.keys(files).find((name) => owed[name] === undefined);
  if (unknown !== undefined)
    return { invariant: 'not there', message: `${unknown} is there, and nobody asked for it` };
  return wrong === null ? null : { invariant: 'whole', message: wrong };
}
