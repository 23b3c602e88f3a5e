/**
 * What is found of a volume with moments after a cut. It is looked at first, then opened to be changed, twice; then it is written and
 * a moment comes and another goes, so that a cut amid all that is a cut of a life after the first one.
 */
import { createHash } from 'node:crypto';
import type { Breach } from '../../../crash/explorer-failure.js';
import type { Evaluation, ExploredState } from '../../../crash/explorer-subject.js';
import { Recorder } from '../../../crash/recorder.js';
import type { StateDevice } from '../../../crash/state-device.js';
import { SECTOR_BYTES } from '../../../crash/state-hash.js';
import type { BlockDevice } from '../../../device/contract.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import { Snapshots } from '../../../snapshot/snapshots.js';
import { restartChance } from '../same-every-time.js';
import { DeviceTarget } from './device-target.js';
import { BLOCKS, ExploredStore, type Parts, partsBy, type Wrap } from './explored-store.js';
import { AFTERMATH, type SnapshotHistory, type SnapshotsOwed, stamped, stampsOf } from './history.js';
import { contentOf, firstDifference, type StackedSnapshots, stackSnapshots } from './kept-snapshots.js';

export interface SnapshotReading {
  /** By their names; of those that are good the empty string. */
  readonly moments: Readonly<Record<string, string>>;
  /** The moment of the backup that there is. */
  readonly backup: string | null;
  /** Of the volume: the write that each sector has. */
  readonly stamps: readonly number[];
  /** Whatever is owed. */
  readonly breach: Breach | null;
}

const SECTORS_A_BLOCK = BLOCK_BYTES / SECTOR_BYTES;
/** A moment behind a cut that says which other one is deleted then. */
const THEN = /^then-[0-9a-f]+-without-(.*)$/;

export async function evaluateSnapshots(
  state: ExploredState,
  history: SnapshotHistory,
  wrap: Wrap,
): Promise<Evaluation<SnapshotReading>> {
  const devices = state.devices() as StateDevice[];
  const recorder = new Recorder();
  const found = stampsOf(await contentOf(devices[0]!));
  // A life after the first one may have trimmed.
  const stamps = state.isSecondCut ? found.map((stamp) => (stamp === 0 ? AFTERMATH : stamp)) : found;
  const look = new Look(devices, history);
  try {
    const moments = await look.whole(partsBy((part, index) => wrap(recorder.record(devices[index]!), part)));
    const backup = await look.backup();
    return { reading: { moments, backup, stamps, breach: null }, recovery: recorder.trace };
  } catch (error) {
    if (!(error instanceof Broken)) throw error;
    return { reading: { moments: {}, backup: null, stamps, breach: error.breach }, recovery: null };
  }
}

export function checkSnapshots(
  { moments, backup, stamps, breach }: SnapshotReading,
  { floors, there, gone, backup: owed, mayBeLost }: SnapshotsOwed,
  history: SnapshotHistory,
  mayBeNoise: boolean,
): Breach | null {
  if (breach !== null) return breach;
  if (owed !== null && backup !== owed)
    return { invariant: 'backed up', message: `the backup ${owed} was answered, and is not there` };
  const sector = history.wrongSector(stamps, floors, mayBeNoise);
  if (sector >= 0) return { invariant: 'flushed', message: `sector ${sector} is of write ${stamps[sector]}` };
  // Also one that is being made or deleted.
  const bad = Object.keys(moments).find((name) => moments[name] !== '');
  if (bad !== undefined && mayBeLost === 'none')
    return { invariant: 'good', message: `${bad}: ${moments[bad]}` };
  const deleted = Object.keys(moments).map((name) => THEN.exec(name)?.[1]);
  const away = there.find((name) => moments[name] === undefined && !deleted.includes(name));
  if (away !== undefined) return { invariant: 'there', message: `${away} is not on the list` };
  const back = gone.find((name) => moments[name] !== undefined);
  return back === undefined ? null : { invariant: 'gone', message: `${back} is on the list again` };
}

/** Something is wrong, whatever is owed. */
class Broken extends Error {
  constructor(readonly breach: Breach) {
    super(breach.message);
  }
}

function broken(invariant: string, message: string): never {
  throw new Broken({ invariant, message });
}

class Look {
  constructor(
    private readonly devices: readonly StateDevice[],
    private readonly history: SnapshotHistory,
  ) {}

  /** `parts`: the devices, as they are opened to be changed. */
  async whole(parts: Parts): Promise<Record<string, string>> {
    const looked = await this.#looked();
    const store = new ExploredStore(parts);
    await store.read();
    restartChance(store.version);
    const before = this.devices[0]!.fork();
    const stack = await stackSnapshots(parts.volume, store, await store.open());
    const moments = await this.#read(stack.snapshots, parts.volume);
    if (JSON.stringify(looked) !== JSON.stringify(moments))
      broken('look', `a look finds ${JSON.stringify(looked)}, and an opening ${JSON.stringify(moments)}`);
    if (firstDifference(await contentOf(before), await contentOf(parts.volume)) >= 0)
      broken('opening', 'an opening has changed the volume');
    await this.#twice(moments);
    await this.#goOn(stack, store, parts.volume);
    return moments;
  }

  /** The moment of the one that is there, which restores to it. */
  async backup(): Promise<string | null> {
    const { target, named } = partsBy((_, index) => this.devices[index]!);
    const moment = await DeviceTarget.momentOf(named);
    if (moment === null) return null;
    const block = firstDifference(await contentOf(target), this.history.held.get(moment)!);
    if (block >= 0) broken('backup', `${moment} has something else in block ${block}`);
    return moment;
  }

  /** Without a write. */
  async #looked(): Promise<Record<string, string>> {
    const forks = this.devices.map((device) => device.fork());
    const moments = await this.#opened(
      partsBy((_, index) => forks[index]!),
      false,
    );
    if (forks.some(({ writes }) => writes > 0)) broken('look', 'a look has written');
    return moments;
  }

  async #twice(once: Record<string, string>): Promise<void> {
    const forks = this.devices.map((device) => device.fork());
    const again = await this.#opened(
      partsBy((_, index) => forks[index]!),
      true,
    );
    if (JSON.stringify(again) !== JSON.stringify(once))
      broken('twice', `opened again it is ${JSON.stringify(again)}, and was ${JSON.stringify(once)}`);
    const written = forks.find(({ writes }) => writes > 0);
    if (written !== undefined) broken('twice', `opened again it writes to ${written.name}`);
  }

  async #opened(parts: Parts, isToBeChanged: boolean): Promise<Record<string, string>> {
    const store = new ExploredStore(parts);
    const device = parts.volume;
    if (isToBeChanged) {
      const { snapshots } = await stackSnapshots(device, store, await store.open());
      return this.#read(snapshots, device);
    }
    const about = { label: 'volume', device, moments: null, store, warn: () => {} };
    return this.#read(await Snapshots.open(about, await store.read()), device);
  }

  /** Each that is good is what it should be. */
  async #read(snapshots: Snapshots, volume: BlockDevice): Promise<Record<string, string>> {
    const moments: Record<string, string> = {};
    const live = await contentOf(volume);
    for (const { name, kind, state, why } of snapshots.list()) {
      moments[name] = state === 'good' ? '' : `unusable: ${why}`;
      if (state !== 'good') continue;
      const held = this.history.held.get(name);
      if (held === undefined) broken('named', `nobody made ${name}`);
      if (kind === 'mark') expectNamed(snapshots, name, held, live);
      else await expectShown(snapshots, name, held);
    }
    return moments;
  }

  /** Some writes, a moment, more of them, and one moment less. */
  async #goOn(stack: StackedSnapshots, store: ExploredStore, volume: BlockDevice): Promise<void> {
    const { device, snapshots } = stack;
    const first = AFTERMATH + store.version * 16;
    const block = store.version % BLOCKS;
    const write = async (at: number, stamp: number) => {
      const sector = ((block + at) % BLOCKS) * SECTORS_A_BLOCK;
      await unlessFull(device.write(sector * SECTOR_BYTES, stamped(stamp, sector, 2)));
    };
    await write(0, first);
    await write(1, first + 1);
    await this.#read(snapshots, volume);
    const oldest = snapshots.list().filter(({ name }) => !name.startsWith('then'));
    const goes = oldest[Math.floor(oldest.length / 2)]?.name ?? '';
    const name = await this.#createThen(stack, goes);
    await write(1, first + 2);
    await unlessFull(device.trim(((block + 2) % BLOCKS) * BLOCK_BYTES, 1024));
    if (goes !== '') await snapshots.delete(goes);
    await write(3, first + 3);
    await device.flush();
    const moments = await this.#read(snapshots, volume);
    if (name !== null && moments[name] === undefined) broken('there', `${name} was made and is gone`);
    await snapshots.close();
  }

  /** Its name says what it holds; null: it is there already. */
  async #createThen({ gate, snapshots }: StackedSnapshots, goes: string): Promise<string | null> {
    const content = await contentOf(gate);
    const digest = createHash('sha256').update(content).digest('hex').slice(0, 16);
    const name = `then-${digest}-without-${goes}`;
    if (snapshots.list().some((each) => each.name === name)) return null;
    this.history.held.set(name, content);
    const kind = digest < '4' ? 'mark' : 'snapshot';
    await snapshots.create({ name, kind, onOverflow: 'grow', place: '', layerBytes: null });
    return name;
  }
}

/** Where that is what its newest moment wants. */
async function unlessFull(call: Promise<void>): Promise<void> {
  try {
    await call;
  } catch (error) {
    if (!(error instanceof UserError && error.code === 'NO_SPACE')) throw error;
  }
}

async function expectShown(snapshots: Snapshots, name: string, held: Uint8Array): Promise<void> {
  const view = snapshots.view(name);
  try {
    const block = firstDifference(await contentOf(view), held);
    if (block >= 0) broken('shows', `${name} shows something else in block ${block}`);
  } catch (error) {
    if (error instanceof UserError) broken('shows', `${name} cannot be read: ${error.message}`);
    throw error;
  } finally {
    await view.close();
  }
}

function expectNamed(snapshots: Snapshots, name: string, held: Uint8Array, live: Uint8Array): void {
  const changed = snapshots.changedSince(name);
  for (let block = 0; block < BLOCKS; block++) {
    const [start, end] = [block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES];
    if (Buffer.compare(held.subarray(start, end), live.subarray(start, end)) === 0) continue;
    if (!changed.has(block)) broken('marks', `${name} does not name block ${block}`);
  }
}
