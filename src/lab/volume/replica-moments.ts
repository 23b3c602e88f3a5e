/**
 * Replicas of a recorded volume as a cut leaves them, before anybody goes on: each is promoted, in memory, and is to be a state that a power cut of
 * the volume could have left (docs/crash-model.md, 8); its files keep their order, as the volume's do.
 *
 * Held to it are those beside the volume that began like it, and are still its replicas at the end. One that was being copied when the trace began
 * may have no such state, and of one that was taken off nothing is promised. One that was waited for all the time has all that was answered.
 */
import type { Breach } from '../../crash/explorer-failure.js';
import { PAGE_BYTES, type StateContent } from '../../crash/state-content.js';
import { hashOf, type StateDevice } from '../../crash/state-device.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import type { Range } from '../../device/range-set.js';
import { UserError } from '../../errors.js';
import { newId, promote, type SecondaryParts } from '../../replication/secondary/index.js';
import { openVolume } from '../../volume/volume.js';
import { contentsAtCut } from '../explore/replay.js';
import { type DiskReading, UNREADABLE } from './disk-reading.js';
import { SECTOR_BYTES } from './owed.js';
import { noMoment } from './owed-moment.js';
import { outOfOrder } from './owed-order.js';
import { devicesOf, type RecordedDisks, readingOf } from './recorded-disks.js';
import { PARTS, type RecordedReplica, type ReplicaParts, recordedReplicas } from './recorded-replicas.js';
import type { StagedVolume } from './staged-volume.js';

interface Kept extends RecordedReplica {
  readonly parts: ReplicaParts;
}

/** By the volume's disks. */
type Moment = readonly DiskReading[];

export interface ReplicasReading {
  readonly breach: Breach | null;
  /** By replica. */
  readonly moments: readonly Moment[];
}

export class ReplicaMoments {
  /** Many states have the same. */
  readonly #known = new Map<string, Moment>();
  /** Replicas that are not held to it. */
  readonly left: string[] = [];
  readonly #held: Kept[] = [];

  private constructor(
    private readonly staged: StagedVolume,
    private readonly disks: RecordedDisks,
    private readonly keepsOrder: boolean,
  ) {}

  static async of(
    trace: StoredTrace,
    staged: StagedVolume,
    { disks, keepsOrder }: { readonly disks: RecordedDisks; readonly keepsOrder: boolean },
  ): Promise<ReplicaMoments> {
    const made = new ReplicaMoments(staged, disks, keepsOrder);
    const contents = contentsAtCut(trace, { event: 0, keep: 'none', profile: 'sector-512' });
    for (const { parts, ...replica } of await recordedReplicas(trace, staged)) {
      const isHeld = parts !== null && (await made.#isLikeVolume(parts, devicesOf(trace, contents)));
      if (isHeld) made.#held.push({ ...replica, parts });
      else made.left.push(replica.name);
    }
    return made;
  }

  /** Nothing of `devices` is changed. */
  async read(devices: readonly (StateDevice | null)[]): Promise<ReplicasReading> {
    const moments: Moment[] = [];
    for (const one of this.#held) {
      try {
        moments.push(await this.#momentOf(one, devices));
      } catch (error) {
        // The power is cut in the trace, and nothing here is at fault but what it is to find.
        const { message } = error instanceof Error ? error : new Error(String(error));
        return {
          breach: { invariant: 'a replica has no moment', message: `${one.name}: ${message}` },
          moments,
        };
      }
    }
    return { breach: null, moments };
  }

  /** After the first `told` of the requests. */
  check(moments: readonly Moment[], told: number): Breach | null {
    for (const [at, moment] of moments.entries()) {
      const { name, waitedForAfter } = this.#held[at]!;
      const whyNone = this.#whyNone(moment, told);
      if (whyNone !== null)
        return {
          invariant: 'a replica is no moment of the volume',
          message: `replica ${name}, promoted: ${whyNone}`,
        };
      const isWaitedFor = waitedForAfter !== null && told > waitedForAfter;
      const lacking = isWaitedFor ? this.#whatIsLacking(moment, told) : null;
      if (lacking !== null)
        return {
          invariant: 'a synchronous replica lacks what was answered',
          message: `replica ${name}, promoted: ${lacking}`,
        };
    }
    return null;
  }

  #whyNone(moment: Moment, told: number): string | null {
    const spoilt = moment.findIndex((reading) => reading.spoilt !== null);
    if (spoilt >= 0)
      return `the byte at offset ${moment[spoilt]!.spoilt} of ${this.disks[spoilt]!.name}, which no client wrote, is not what it was`;
    const held = this.disks.map(({ name, owed }, at) => ({ name, owed, contents: moment[at]!.contents }));
    const none = noMoment(held, told);
    if (none !== null || !this.keepsOrder) return none;
    const mixed = held.find(({ owed, contents }) => outOfOrder(owed.sectors, contents, told) !== null);
    return mixed === undefined ? null : `${mixed.name} is a mixture of two commits`;
  }

  #whatIsLacking(moment: Moment, told: number): string | null {
    for (const [at, { name, owed }] of this.disks.entries())
      for (const [index, content] of moment[at]!.contents.entries()) {
        if (content === UNREADABLE || owed.allowsAnswered(index, content, told)) continue;
        const { sector } = owed.sectors[index]!;
        return `sector ${sector} of ${name} (offset ${sector * SECTOR_BYTES}) is older than what its client was answered`;
      }
    return null;
  }

  async #isLikeVolume(parts: ReplicaParts, devices: readonly StateDevice[]): Promise<boolean> {
    try {
      const own = await promoted(parts, devices);
      const moment = await this.#readAlone(own.image, devices, { isAll: true });
      return this.#whyNone(moment, 0) === null;
    } catch (error) {
      if (error instanceof UserError) return false;
      throw error;
    }
  }

  async #momentOf({ parts }: Kept, devices: readonly (StateDevice | null)[]): Promise<Moment> {
    const key = hashOf(PARTS.map((part) => devices[parts[part]]!));
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const own = await promoted(parts, devices);
    const moment = await this.#readAlone(own.image, devices, { isAll: false });
    this.#known.set(key, moment);
    return moment;
  }

  /** As the volume that it is now. `isAll`: not only where it is other than it was. */
  #readAlone(
    image: StateDevice,
    devices: readonly (StateDevice | null)[],
    { isAll }: { readonly isAll: boolean },
  ): Promise<Moment> {
    return this.staged.withLone(image, devices, async (path) => {
      const volume = await openVolume([path], { access: 'write', warn: () => undefined });
      try {
        // Where a file lies is told by what was written: it may be anywhere.
        const changed = isAll || volume.files !== null ? null : changedBytes(image.content);
        const readings: DiskReading[] = [];
        for (const disk of this.disks) readings.push(await readingOf(volume, disk, changed));
        return readings;
      } finally {
        await volume.close();
      }
    });
  }
}

async function promoted(
  parts: ReplicaParts,
  devices: readonly (StateDevice | null)[],
): Promise<Record<keyof SecondaryParts, StateDevice>> {
  const of = (part: keyof SecondaryParts): StateDevice => devices[parts[part]]!.fork();
  const own = { image: of('image'), epochs: of('epochs'), kept: of('kept'), marks: of('marks') };
  await promote(own, { newGeneration: { number: 1, id: newId() } });
  return own;
}

function changedBytes(content: StateContent): Range[] {
  return [...content.changedPages()].map((page) => ({
    start: page * PAGE_BYTES,
    end: (page + 1) * PAGE_BYTES,
  }));
}
