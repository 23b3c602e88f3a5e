/**
 * A workload of a volume with moments that are kept, recorded, and what is owed after a cut of it.
 *
 * All that was answered is owed: what was flushed, and each moment that was made and not deleted. A moment that is good shows what
 * the volume held at it, and a mark names every block that differs, whether it is owed or not.
 */
import type { Subject } from '../../../crash/explorer-subject.js';
import { DEFAULT_PROFILE, PROFILES, type ProfileName } from '../../../crash/profiles.js';
import { Recorder } from '../../../crash/recorder.js';
import type { SeededRandom } from '../../../crash/seeded-random.js';
import { StateContent } from '../../../crash/state-content.js';
import { StateDevice } from '../../../crash/state-device.js';
import { SECTOR_BYTES } from '../../../crash/state-hash.js';
import type { BlockDevice } from '../../../device/contract.js';
import { blocksOf } from '../../../replication/blocks.js';
import type { Clock } from '../../../replication/clock.js';
import { BlockMap } from '../../../replication/map/block-map.js';
import { Backup } from '../../../snapshot/backup/backup.js';
import { SlotContainer } from '../../../snapshot/container/slots.js';
import type { ChainPolicy } from '../../../snapshot/layers/chain.js';
import type { MomentKind } from '../../../snapshot/layers/records.js';
import { Moments } from '../../../snapshot/moments.js';
import { cached } from '../../../volume/stack.js';
import { type Delay, turns } from '../delays.js';
import { markedPromises } from '../marked-promises.js';
import { SlowDevice } from '../raid/recording.js';
import { restartChance } from '../same-every-time.js';
import { withCalls } from '../with-calls.js';
import { DeviceTarget } from './device-target.js';
import {
  ExploredStore,
  PARTS,
  type PartName,
  type Parts,
  partsBy,
  sizeOf,
  type Wrap,
} from './explored-store.js';
import { FailingParts, type Fault } from './failing-parts.js';
import { SnapshotHistory, type SnapshotsOwed, stamped } from './history.js';
import { contentOf, type StackedSnapshots, stackSnapshots } from './kept-snapshots.js';
import { checkSnapshots, evaluateSnapshots, type SnapshotReading } from './reading.js';

const MAX_TURNS = 3;
/** As small as can be: it writes back of its own will. */
const CACHE_BYTES = 64 * 1024;
const STRIPE_BYTES = 16 * 1024;

export interface NewSnapshot {
  readonly kind?: MomentKind;
  readonly onOverflow?: ChainPolicy;
  readonly layerBytes?: number | null;
}

export interface SnapshotsBench {
  readonly random: SeededRandom;
  readonly isCached: boolean;
  readonly stack: StackedSnapshots;
  write(kind: 'data' | 'zeroes' | 'trim', sector: number, sectors: number): Promise<void>;
  flush(): Promise<void>;
  create(name: string, how?: NewSnapshot): Promise<void>;
  delete(name: string): Promise<void>;
  /** Of the moment that it chooses, which is called so; one a workload. */
  backUp(moment: string): Promise<void>;
  /** From now on moments may be lost, and writes may fail. */
  expectLosses(): void;
  /** Calls of the part fail, or the process is killed at the next one. */
  fail(fault: Fault): void;
  /** Leaves it, or kills it, and opens it anew. */
  reopen(how: 'closed' | 'killed'): Promise<void>;
}

export interface SnapshotsWorkload {
  readonly name: string;
  /** With a write-back cache above the gate. */
  readonly isCached?: boolean;
  run(bench: SnapshotsBench): Promise<void>;
}

export interface SnapshotsRecordOptions {
  /** Of the cuts to come. */
  readonly profile?: ProfileName | undefined;
  readonly wrap?: Wrap | undefined;
}

export async function recordSnapshots(
  workload: SnapshotsWorkload,
  random: SeededRandom,
  { profile = DEFAULT_PROFILE, wrap = (device) => device }: SnapshotsRecordOptions = {},
): Promise<Subject<SnapshotReading, SnapshotsOwed>> {
  restartChance(random.below(2 ** 32));
  const initial = partsBy((part, index) => blankPart(part, index));
  await initial.volume.write(0, firstContent());
  const recorder = new Recorder();
  const delay = { random: random.fork(), maxTurns: MAX_TURNS };
  const recorded = partsBy((part) => {
    const options = { name: part, size: sizeOf(part) };
    return recorder.record(new SlowDevice(initial[part].content.fork(), options, delay));
  });
  const stand = new Stand(recorder, random, { recorded, wrap, isCached: workload.isCached ?? false });
  await stand.open();
  // So that its calls can be taken out of it.
  await workload.run(withCalls<SnapshotsBench>(stand, {}));
  await stand.close();
  return {
    ...markedPromises<SnapshotsOwed>(recorder.trace),
    initial: PARTS.map((part) => initial[part].content.freeze()),
    losesMembers: false,
    evaluate: (state) => evaluateSnapshots(state, stand.history, wrap),
    check: (reading, owed) => checkSnapshots(reading, owed, stand.history, PROFILES[profile].hasNoise),
  };
}

function blankPart(part: PartName, index: number): StateDevice {
  return new StateDevice(StateContent.blank(index), { name: part, size: sizeOf(part) });
}

/** Some of it zeroes. */
function firstContent(): Uint8Array {
  const sectors = sizeOf('volume') / SECTOR_BYTES;
  const content = stamped(1, 0, sectors);
  content.fill(0, 2 * 4096, 3 * 4096 + 1024);
  return content;
}

function all(sizeBytes: number): BlockMap {
  const map = new BlockMap(blocksOf(sizeBytes));
  map.setAll();
  return map;
}

/** Nobody is given up because of the time. */
const PATIENT: Clock = {
  nowMs: () => 0,
  wait: (_, signal) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve())),
};

interface StandParts {
  readonly recorded: Parts;
  readonly wrap: Wrap;
  readonly isCached: boolean;
}

class Stand implements SnapshotsBench {
  readonly history = new SnapshotHistory(firstContent());
  #stack: StackedSnapshots | null = null;
  #cache: BlockDevice | null = null;
  #opened: Parts | null = null;
  #faults = new FailingParts();
  #owed: SnapshotsOwed;
  readonly #listing: Delay;
  readonly #called = new Set<Promise<unknown>>();
  #writes = 1;

  constructor(
    private readonly recorder: Recorder,
    readonly random: SeededRandom,
    private readonly parts: StandParts,
  ) {
    // As long as some writes take.
    this.#listing = { random: random.fork(), maxTurns: 12 };
    this.#owed = { floors: this.history.floors, there: [], gone: [], backup: null, mayBeLost: 'none' };
  }

  get isCached(): boolean {
    return this.parts.isCached;
  }

  get stack(): StackedSnapshots {
    return this.#stack!;
  }

  async open(): Promise<void> {
    const { recorded, wrap } = this.parts;
    this.#faults = new FailingParts();
    const faults = this.#faults;
    const parts = partsBy((part) => faults.wrap(wrap(recorded[part], part), part));
    this.#opened = parts;
    const store = new ExploredStore(parts, (records) => {
      for (const { name } of records) this.history.hold(name);
    });
    this.#note('opens', {});
    const over = (gate: BlockDevice) => this.#noting(this.#cached(gate));
    this.#stack = await stackSnapshots(parts.volume, store, await store.open(), { over });
    const there = this.#stack.snapshots.list().flatMap(({ name, state }) => (state === 'good' ? [name] : []));
    this.#note('opened, answered', { there });
  }

  async close(): Promise<void> {
    await this.#stack!.device.flush();
    await this.#stack!.snapshots.close();
    await this.#cache?.close();
    this.#cache = null;
  }

  write(kind: 'data' | 'zeroes' | 'trim', sector: number, sectors: number): Promise<void> {
    this.#writes += 1;
    const [offset, length] = [sector * SECTOR_BYTES, sectors * SECTOR_BYTES];
    const { device } = this.stack;
    if (kind === 'data') return this.#begun(device.write(offset, stamped(this.#writes, sector, sectors)));
    return this.#begun(kind === 'trim' ? device.trim(offset, length) : device.writeZeroes(offset, length));
  }

  flush(): Promise<void> {
    return this.#begun(this.stack.device.flush());
  }

  create(name: string, how: NewSnapshot = {}): Promise<void> {
    const { kind = 'snapshot', onOverflow = 'grow', layerBytes = null } = how;
    const made = this.stack.snapshots.create({ name, kind, onOverflow, place: '', layerBytes });
    return this.#begun(
      made.then(() => {
        // One that is not written down is owed to nobody.
        if (kind !== 'volatile') this.#note('moment answered', { there: [...this.#owed.there, name] });
      }),
    );
  }

  delete(name: string): Promise<void> {
    this.#note('deletes', { there: this.#owed.there.filter((each) => each !== name) });
    const gone = this.stack.snapshots.delete(name);
    return this.#begun(gone.then(() => this.#note('delete answered', { gone: [...this.#owed.gone, name] })));
  }

  backUp(moment: string): Promise<void> {
    const { gate, device } = this.stack;
    const { container, target, named } = this.#opened!;
    const backup = new Backup({
      ...{ label: 'volume', gate, onOverflow: 'drain', skipsUnreadable: false, bytesPerSecond: null },
      choose: (keeper) =>
        new Moments(device, gate).at(async () => {
          gate.add(keeper);
          this.history.hold(moment);
        }),
      list: async () => {
        await turns(this.#listing);
        return { used: all(gate.size), wanted: all(gate.size) };
      },
      container: new SlotContainer({ device: container, offset: 0, length: container.size }),
      target: new DeviceTarget(moment, target, named),
      ...{ signal: new AbortController().signal, onProgress: () => {}, warn: () => {} },
      clock: PATIENT,
    });
    return this.#begun(backup.run().then(() => this.#note('backup answered', { backup: moment })));
  }

  expectLosses(): void {
    this.#note('losses', { mayBeLost: 'all' });
  }

  fail(fault: Fault): void {
    this.#faults.fail(fault);
  }

  async reopen(how: 'closed' | 'killed'): Promise<void> {
    if (how === 'killed') this.#faults.kill();
    while (this.#called.size > 0) await Promise.allSettled(this.#called);
    if (how === 'closed') await this.close();
    else await this.#cache?.close().catch(() => {});
    this.#cache = null;
    this.history.found(await contentOf(this.parts.recorded.volume));
    await this.open();
  }

  #cached(gate: BlockDevice): BlockDevice {
    if (!this.parts.isCached) return gate;
    this.#cache = cached(gate, STRIPE_BYTES, { capacityBytes: CACHE_BYTES });
    return this.#cache;
  }

  /** What is called below the hold is noted where nobody can come between. */
  #noting(device: BlockDevice): BlockDevice {
    const { history } = this;
    const zeroes = (length: number) => new Uint8Array(length);
    return withCalls(device, {
      write: (offset, from, options) =>
        history.write(offset, from as Uint8Array, () => device.write(offset, from, options)),
      writeZeroes: (offset, length, options) =>
        history.write(offset, zeroes(length), () => device.writeZeroes(offset, length, options)),
      trim: (offset, length) => history.write(offset, zeroes(length), () => device.trim(offset, length)),
      flush: async () => {
        await history.flush(() => device.flush());
        this.#note('flush answered', { floors: history.floors });
      },
    });
  }

  #begun(call: Promise<unknown>): Promise<void> {
    const done = call.then(() => {});
    this.#called.add(done);
    const ended = () => void this.#called.delete(done);
    done.then(ended, ended);
    return done;
  }

  #note(name: string, changes: Partial<SnapshotsOwed>): void {
    this.#owed = { ...this.#owed, ...changes };
    this.recorder.mark(name, this.#owed);
  }
}
