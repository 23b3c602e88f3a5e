/**
 * A recorded volume as what the explorer explores: each state is opened by the product's own code, which recovers it, and is held to what
 * docs/crash-model.md says must hold, by what its clients had asked for and were told.
 *
 * 1. A look writes nothing, and with all members finds a wrong parity only where the records say that it may be.
 * 2. It can be opened for writing. Without a member a dirty array may ask to be forced first.
 * 3. Each sector that a client wrote reads as something that it may be (owed.ts); what nobody wrote is as it was. What the missing member
 *    held of stripes that were being written may be refused, never wrong; where the power goes again while it is mended without a member,
 *    that may be where a volume of files keeps what it needs to be opened at all.
 *    A file is what it was at some commit: no request in part, none without those that were answered before it was asked for.
 * 4. A snapshot that was there before reads as it did, one that was made meanwhile as a moment of the volume. A replica, promoted as the cut
 *    left it, is a moment of the volume, and a synchronous one has all that was answered; with all members it reads as the volume once what is
 *    dirty is copied.
 * 5. Closed after that, fsck finds nothing: parity is right everywhere, no extent is used twice, none is lost.
 *
 * Recoveries are cut too, by the explorer, and what they leave is owed the same: so recovering twice leaves what recovering once does. That
 * any one member may be taken away after a recovery follows: all data is right, and so is all parity.
 *
 * `assumesClean` shows what the record is for: the states are those of an array that has none and is started all the same. That its parity may
 * be wrong is how that is begun, and is not looked at; what clients read is held to 3, and without a member it is the write hole that breaks it.
 */
import { hash } from 'node:crypto';
import type { Breach } from '../../crash/explorer-failure.js';
import type { Evaluation, ExploredState, Subject } from '../../crash/explorer-subject.js';
import { Recorder } from '../../crash/recorder.js';
import type { StateContent } from '../../crash/state-content.js';
import { hashOf, type StateDevice } from '../../crash/state-device.js';
import type { Trace } from '../../crash/trace.js';
import { type Range, RangeSet } from '../../device/range-set.js';
import type { Geometry } from '../../raid/geometry.js';
import type { ScrubOptions } from '../../raid/scrub.js';
import { assumeClean } from './assumed-clean.js';
import { type DiskReading, UNKNOWN, UNREADABLE } from './disk-reading.js';
import type { OwedDisk } from './owed.js';
import { SECTOR_BYTES } from './owed.js';
import { type OutOfOrder, outOfOrder } from './owed-order.js';
import type { RecordedDisks } from './recorded-disks.js';
import type { ReplicaMoments, ReplicasReading } from './replica-moments.js';
import type { ShownSnapshots, SnapshotsReading } from './shown-snapshots.js';
import type { StagedVolume } from './staged-volume.js';
import { dataOfRows, type TouchedRows } from './touched-rows.js';
import { fsckOf, openOnce, parityAsListed } from './volume-looks.js';

export interface VolumeReading {
  /** What no cut excuses. */
  readonly breach: Breach | null;
  /** By disk; null where it could not be opened. */
  readonly disks: readonly DiskReading[] | null;
  /** Of those that are good; null where it could not be opened. */
  readonly snapshots: SnapshotsReading | null;
  /** Of each replica, had it been promoted. */
  readonly replicas: ReplicasReading['moments'];
}

export interface VolumeSubjectOptions {
  readonly trace: Trace;
  readonly initial: readonly StateContent[];
  readonly staged: StagedVolume;
  readonly disks: RecordedDisks;
  /** Devices that may be missing: members of an array. */
  readonly members: readonly number[];
  /** Of an array that is one disk; null: it has files, and where they lie is not asked. */
  readonly geometry: Geometry | null;
  /** Its disks are files, which keep the order of what is written to them. */
  readonly keepsOrder: boolean;
  readonly snapshots: ShownSnapshots;
  readonly replicas: ReplicaMoments;
  /** Whose parity is looked at in each state; null: that of all rows. */
  readonly touched: TouchedRows | null;
  readonly assumesClean: boolean;
}

export class VolumeSubject implements Subject<VolumeReading, number> {
  readonly losesMembers: boolean;
  readonly members: readonly number[];
  readonly #toldBefore: (cut: number) => number;
  /** Many states read the same. */
  readonly #same = new Map<string, VolumeReading>();
  /** By what the devices hold. */
  readonly #checked = new Map<string, Breach | null>();

  constructor(private readonly options: VolumeSubjectOptions) {
    this.members = options.members;
    this.losesMembers = options.members.length > 0;
    this.#toldBefore = countsBefore(options.trace);
  }

  get trace(): Trace {
    return this.options.trace;
  }

  get initial(): readonly StateContent[] {
    return this.options.initial;
  }

  isPromise(): boolean {
    return false;
  }

  /** How many of the requests its clients had made, or were answered. */
  obligations(cut: number): number {
    return this.#toldBefore(cut);
  }

  async evaluate(state: ExploredState): Promise<Evaluation<VolumeReading>> {
    const recorder = new Recorder();
    const reading = await this.#read(state, recorder);
    const key = keyOf(reading);
    const same = this.#same.get(key) ?? reading;
    this.#same.set(key, same);
    return { reading: same, recovery: recorder.trace };
  }

  check({ breach, disks, snapshots, replicas }: VolumeReading, told: number): Breach | null {
    // What the cut has left comes before what was made of it.
    const noMoment = this.options.replicas.check(replicas, told);
    if (noMoment !== null || breach !== null) return noMoment ?? breach;
    for (const [at, { name, owed }] of this.options.disks.entries()) {
      const reading = disks![at]!;
      const wrong = wrongSector(reading, owed, told);
      if (wrong !== null)
        return {
          invariant: 'a sector is none of what it may be',
          message: `sector ${owed.sectors[wrong]!.sector} of ${name} (offset ${owed.sectors[wrong]!.sector * SECTOR_BYTES}) ${whatItIs(reading.contents[wrong]!)}`,
        };
      const mixed = this.options.keepsOrder ? outOfOrder(owed.sectors, reading.contents, told) : null;
      if (mixed !== null)
        return { invariant: 'a mixture of two commits', message: `${name} holds ${whatIsMixed(mixed)}` };
    }
    return this.options.snapshots.check(snapshots!, told);
  }

  /** Bytes of the disk that the missing member's loss may have taken: those of rows that the records list. */
  #mayBeLost(suspect: readonly Range[]): MayBeLost {
    const { geometry } = this.options;
    return geometry === null ? null : new RangeSet(dataOfRows(geometry, suspect));
  }

  get #scrub(): ScrubOptions {
    const { touched } = this.options;
    return touched === null ? {} : { rows: touched.rows };
  }

  /** A look at what the cut has left, before anybody has mended it. */
  async #look(devices: readonly (StateDevice | null)[], isWhole: boolean) {
    const { staged } = this.options;
    const recorder = new Recorder();
    const { breach, suspect } = await staged.with(devices, recorder, () =>
      parityAsListed(staged.path, isWhole ? this.#scrub : null),
    );
    const { length } = recorder.trace.events;
    if (breach !== null || length === 0) return { breach, suspect };
    const message = `fsck without --repair has asked for ${length} changes of the images`;
    return { breach: { invariant: 'a look has written', message }, suspect };
  }

  async #read(state: ExploredState, recorder: Recorder): Promise<VolumeReading> {
    const devices = state.devices();
    const { breach, moments } = await this.options.replicas.read(devices);
    if (breach !== null) return { breach, ...UNREAD, replicas: moments };
    return { ...(await this.#readVolume(state, devices, recorder)), replicas: moments };
  }

  async #readVolume(
    state: ExploredState,
    devices: readonly (StateDevice | null)[],
    recorder: Recorder,
  ): Promise<Omit<VolumeReading, 'replicas'>> {
    const { staged, disks, snapshots, touched, assumesClean } = this.options;
    const isWhole = state.missing === null;
    for (const device of assumesClean ? devices : []) if (device !== null) await assumeClean(device);
    const looked = assumesClean ? null : await this.#look(devices, isWhole);
    if (looked?.breach != null) return { breach: looked.breach, ...UNREAD };
    const mayRefuse = !isWhole && state.isSecondCut;
    const changed = () => {
      touched?.add(recorder.trace);
      return touched?.data ?? null;
    };
    const opened = await staged.with(devices, recorder, () =>
      openOnce(staged.path, { disks, snapshots }, { isWhole, mayRefuse, changed }),
    );
    if ('breach' in opened) return { breach: opened.breach, ...UNREAD };
    touched?.add(recorder.trace);
    const lost = isWhole ? new RangeSet() : this.#mayBeLost(looked?.suspect ?? []);
    const spoilt =
      spoiltBreach(opened.disks, disks, lost) ?? snapshots.judge(opened.snapshots, lost?.isEmpty !== true);
    if (spoilt !== null || !isWhole || assumesClean) return { breach: spoilt, ...opened };
    return { breach: await this.#fsck(devices), ...opened };
  }

  /** Once of the same: many states are the same when they are mended. */
  async #fsck(devices: readonly (StateDevice | null)[]): Promise<Breach | null> {
    const { staged } = this.options;
    const key = hashOf(devices);
    const known = this.#checked.get(key);
    if (known !== undefined) return known;
    const breach = await staged.with(devices, null, () => fsckOf(staged.path, this.#scrub));
    this.#checked.set(key, breach);
    return breach;
  }
}

/** Could not be opened. */
const UNREAD = { disks: null, snapshots: null };

function keyOf({ breach, disks, snapshots, replicas }: VolumeReading): string {
  const shown = snapshots?.shown.map(({ name, wasMade, reading }) => [name, wasMade, partsOf(reading)]);
  const moments = replicas.map((each) => each.map(partsOf));
  return JSON.stringify([breach, disks?.map(partsOf), snapshots?.lost, shown, moments]);
}

function partsOf({ contents, spoilt, unreadable }: DiskReading): unknown {
  return [hash('sha256', contents), spoilt, unreadable];
}

/** null: all of it. */
type MayBeLost = RangeSet | null;

function whatItIs(content: number): string {
  return content === UNKNOWN
    ? 'is nothing that was ever written there'
    : 'is older than what its client was told is durable, or younger than what it had asked for';
}

function whatIsMixed({ there, missing }: OutOfOrder): string {
  const { kind, offset, length } = missing.request;
  if (there === missing)
    return `a part of a ${kind} of ${length} bytes at offset ${offset}, and a part from before it`;
  return `a ${there.request.kind} at offset ${there.request.offset}, and not the ${kind} of ${length} bytes at offset ${offset} that was answered before that was asked for`;
}

/** What nobody wrote is never anything else, and what is not lost can be read. */
function spoiltBreach(
  readings: readonly DiskReading[],
  disks: RecordedDisks,
  mayBeLost: MayBeLost,
): Breach | null {
  for (const [at, { spoilt, unreadable }] of readings.entries()) {
    const { name } = disks[at]!;
    if (spoilt !== null)
      return {
        invariant: 'what nobody wrote has changed',
        message: `the byte at offset ${spoilt} of ${name}, which no client wrote, is not what it was`,
      };
    if (mayBeLost === null) continue;
    const wrong = unreadable?.filter((offset) => !mayBeLost.covers(offset, offset + SECTOR_BYTES)) ?? null;
    if (wrong?.length === 0) continue;
    const which =
      wrong === null ? `all of ${name}` : `${wrong.length} sectors of ${name}, at offset ${wrong[0]} and on,`;
    return {
      invariant: 'a sector cannot be read',
      message: `${which} cannot be read, and is not among what may be lost`,
    };
  }
  return null;
}

/** By cut: how many requests come before it. */
function countsBefore({ requests = [], events }: Trace): (cut: number) => number {
  const counts = new Uint32Array(events.length + 1);
  let told = 0;
  for (let cut = 0; cut <= events.length; cut++) {
    while (told < requests.length && requests[told]!.at <= cut) told += 1;
    counts[cut] = told;
  }
  return (cut) => counts[cut]!;
}

function wrongSector(reading: DiskReading, owed: OwedDisk, told: number): number | null {
  for (let at = 0; at < reading.contents.length; at++) {
    const content = reading.contents[at]!;
    if (content !== UNREADABLE && !owed.allows(at, content, told)) return at;
  }
  return null;
}
