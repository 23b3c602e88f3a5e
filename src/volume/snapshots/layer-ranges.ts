/**
 * Ranges of a volume that are containers of its snapshots. Each is claimed (device/claiming-device.ts): to all who look at the volume
 * it is zeroes, and a client who writes there after all has it given up first.
 *
 * Invariants
 * - What is on the list (`ranges`) is claimed as long as the volume is open, so nothing that was answered lies there: it can be zeroed
 *   again whenever a cut comes between.
 * - A range is claimed before it is on the list, and zeroes, durably, before it leaves it; the claim ends last.
 * - One that a layer of the list needs is not touched.
 */
import type { ClaimedRange, ClaimingDevice, RangeClaim } from '../../device/claiming-device.js';
import type { BlockDevice } from '../../device/contract.js';
import { PartDevice } from '../../device/part-device.js';
import { UserError } from '../../errors.js';
import type { LayerRecord } from '../../snapshot/layers/records.js';
import type { Moments } from '../../snapshot/moments.js';
import { placeOfRange, rangeOfPlace, type VolumeRange } from './places.js';
import type { RangeWatch } from './range-watch.js';

/** The list, as far as it is about ranges. */
export interface RangesList {
  readonly ranges: () => readonly VolumeRange[];
  /** Whether it names a layer there. */
  readonly needs: (place: string) => boolean;
  /** Durable when it returns. */
  readonly add: (range: VolumeRange) => Promise<void>;
  readonly remove: (range: VolumeRange) => Promise<void>;
}

/** Whoever needs a layer of which this is so has lost it, durably, when it returns. */
export type Lose = (isMeant: (layer: LayerRecord) => boolean, cause: unknown) => Promise<void>;

interface Taken {
  readonly claim: RangeClaim;
  readonly part: PartDevice;
  givingBack: Promise<void> | null;
}

export class LayerRanges {
  #claims: ClaimingDevice | null = null;
  #moments: Moments | null = null;
  #lose: Lose = async () => {};
  /** By their places. */
  readonly #taken = new Map<string, Taken>();
  /** They are looked at, for who is to have them. */
  readonly #watches = new Set<RangeWatch>();

  constructor(private readonly list: RangesList) {}

  /** Claims all of the list, before anything is read or written by way of the device. `moments`: null: it is open for reading. */
  over(claims: ClaimingDevice, moments: Moments | null): void {
    this.#claims = claims;
    this.#moments = moments;
    for (const range of this.list.ranges()) this.#claim(range);
  }

  /** From now on: who needs what is overwritten. */
  onOverwritten(lose: Lose): void {
    this.#lose = lose;
  }

  /** Some of it is a container, or is about to be one. */
  isTaken({ offset, length }: ClaimedRange): boolean {
    const overlaps = (other: ClaimedRange) =>
      offset < other.offset + other.length && other.offset < offset + length;
    return [...this.#watches].some(({ range }) => overlaps(range)) || this.#claims!.isClaimed(offset, length);
  }

  /** Until `leave`: nobody else takes any of it. */
  enter(watch: RangeWatch): void {
    this.#watches.add(watch);
  }

  leave(watch: RangeWatch): void {
    this.#watches.delete(watch);
  }

  /** The layer there, which the list has. */
  open(place: string): BlockDevice {
    const taken = this.#taken.get(place);
    if (taken !== undefined) return taken.part;
    throw new UserError('METADATA_DAMAGED', `${this.#name}: ${place} is no container any more`, {
      details: { image: this.#name },
    });
  }

  /**
   * It is a container from now on, and zeroes: of a range that is watched, and was looked at. Throws IN_USE where somebody has written
   * there meanwhile.
   */
  take(place: string): Promise<BlockDevice> {
    const range = rangeOfPlace(place)!;
    const moments = this.#moments;
    const watch = [...this.#watches].find((each) => placeOfRange(each.range) === place);
    if (watch === undefined || moments === null) throw new Error(`${place} was not looked at`);
    return moments.at(async () => {
      if (watch.wasHit) throw isWritten(this.#name, range);
      await this.#zeroed(moments, range);
      const { part } = this.#claim(range);
      await this.list.add(range).catch(async (cause: unknown) => {
        // Nobody knows whether it is on the list: it is claimed until it is known that it is not.
        await this.giveBack(place).catch(() => {});
        throw cause;
      });
      return part;
    });
  }

  /** It is as before, zeroes, and whoever waits to write there goes on. Throws where it cannot be: then it is claimed still. */
  async giveBack(place: string): Promise<void> {
    const taken = this.#taken.get(place);
    if (taken === undefined) return;
    if (this.list.needs(place)) throw new Error(`${this.#name}: the list of snapshots names ${place} still`);
    taken.givingBack ??= this.#giveBack(place, taken).finally(() => {
      taken.givingBack = null;
    });
    await taken.givingBack;
  }

  /** Of what no layer of the list needs: a cut came between. Returns why some could not be. */
  async finish(): Promise<unknown[]> {
    const causes: unknown[] = [];
    for (const place of [...this.#taken.keys()])
      if (!this.list.needs(place)) await this.giveBack(place).catch((cause: unknown) => causes.push(cause));
    return causes;
  }

  get #name(): string {
    return this.#claims!.name;
  }

  #claim(range: VolumeRange): Taken {
    const device = this.#claims!;
    const place = placeOfRange(range);
    const claim = device.claim(range, (offset) => this.#giveUp(place, offset));
    const part = new PartDevice(device.lower, { name: `${device.name} at offset ${range.offset}`, ...range });
    const taken: Taken = { claim, part, givingBack: null };
    this.#taken.set(place, taken);
    return taken;
  }

  async #giveUp(place: string, offset: number): Promise<void> {
    const cause = new UserError('METADATA_DAMAGED', `overwritten at offset ${offset}`);
    await this.#lose((layer) => layer.place === place, cause);
    await this.giveBack(place);
  }

  /** Through the gate: who has to know of a change, or to keep what was there, does. Nobody else changes anything meanwhile. */
  async #zeroed({ top }: Moments, { offset, length }: VolumeRange): Promise<void> {
    const extents = await top.lower.extents(offset, length);
    if (extents.every(({ kind }) => kind === 'hole')) return;
    await top.lower.writeZeroes(offset, length);
    await top.lower.flush();
  }

  async #giveBack(place: string, { claim, part }: Taken): Promise<void> {
    // A layer that was thrown away closes it too, and may be waiting for a copy to end: landing later it would overwrite what is answered
    // from here on.
    await part.close();
    const { offset, length } = claim;
    const { lower } = this.#claims!;
    await lower.writeZeroes(offset, length);
    await lower.trim(offset, length);
    await lower.flush();
    await this.list.remove({ offset, length });
    this.#taken.delete(place);
    claim.end();
  }
}

export function isWritten(label: string, { offset, length }: VolumeRange): UserError {
  return new UserError('IN_USE', `${label}: somebody writes to the ${length} bytes at offset ${offset}`, {
    hint: 'Name a range that nobody uses, or a file: --container FILE.',
    details: { image: label, offsetBytes: offset },
  });
}
