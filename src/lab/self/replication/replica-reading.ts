/** What is found of one secondary after a cut: before anything is sent to it, and when it is in sync again. */
import type { Breach } from '../../../crash/explorer-failure.js';
import type { StateDevice } from '../../../crash/state-device.js';
import { UserError } from '../../../errors.js';
import { BLOCK_BYTES } from '../../../replication/blocks.js';
import { openSecondary, promote, type SecondaryState } from '../../../replication/secondary/index.js';
import { BLOCKS, maskOf, type ReplicaDevices, VOLUME_BYTES } from './pair-devices.js';
import type { PairLink } from './pair-link.js';
import type { SecondaryName } from './replica-list.js';
import { contentOf, type PartName, partsBy, SECOND } from './secondary-parts.js';

/** Moments of the primary; as it is now it may be of a later one, of which the cut has kept something; or why there is none. */
type Point =
  | { readonly moments: readonly number[]; readonly isAsPrimary: boolean }
  | { readonly none: string };

export interface ReplicaReading {
  /** False: it had not been added, and was added anew. */
  readonly isListed: boolean;
  /** Whoever keeps it may have been written since what was known was known. */
  readonly isLater: boolean;
  readonly state: SecondaryState | null;
  /** Blocks, a bit each, that are not alike. */
  readonly differs: number;
  /** Those of them that nothing names. */
  readonly missed: number;
  /** What promote would give. */
  readonly point: Point;
  /** Blocks that are not alike when it is in sync again. */
  readonly unlike: number;
}

export interface ReplicaOwed {
  readonly name: SecondaryName;
  /** That it was added was answered. */
  readonly isListed: boolean;
  /** It is at this moment at least, as what was answered says. */
  readonly promised: number;
  /** The last moment that there was. */
  readonly now: number;
  /** It has a moment to go back to. */
  readonly hasPoint: boolean;
  /** Blocks, a bit each, that the process knew to be dirty or never copied. null: there is none, or it is gone with the cut. */
  readonly known: number | null;
}

const NOT_REACHED: ReplicaReading = {
  ...{ isListed: true, isLater: false, state: null, differs: 0, missed: 0, unlike: 0 },
  point: { none: 'it was not reached' },
};

/** What a secondary is to be like. */
export interface Upper {
  readonly content: Uint8Array;
  /** It is a moment of the primary itself. */
  readonly isMoment: boolean;
}

export interface ReaderParts {
  readonly link: PairLink;
  readonly upper: Upper;
  /** As the cut has left it. */
  readonly before: ReplicaDevices<StateDevice>;
  /** See ReplicaReading. */
  readonly isLater: boolean;
  /** The moments at which whoever keeps it was this. */
  readonly momentsOf: (content: Uint8Array) => readonly number[];
}

export class ReplicaReader {
  #reading = NOT_REACHED;
  readonly #named: number;
  readonly #uncopied: number;
  #held: Uint8Array | null = null;

  /** What names blocks that differ is as it was opened. */
  constructor(private readonly parts: ReaderParts) {
    const { map, uncopied } = parts.link.tracking;
    this.#uncopied = maskOf(uncopied?.map ?? null);
    this.#named = maskOf(map) | this.#uncopied;
  }

  /** For those that it has itself. */
  get asUpper(): Upper {
    const { content } = this.parts.upper;
    return { content: this.#held ?? content, isMoment: this.#reading.state === 'consistent' };
  }

  /** It had not come in, and has been added anew. */
  wasAdded(): void {
    this.#reading = { ...NOT_REACHED, isListed: false };
  }

  get reading(): ReplicaReading {
    return this.#reading;
  }

  /** As an opening recovers it; what cannot be opened is told when it is tried to bring it in sync. */
  async look(): Promise<void> {
    const recovered = forked(this.parts.before);
    const device = await openSecondary(recovered, { nowMs: () => 1000 }).catch((error: unknown) => {
      if (!(error instanceof UserError)) throw error;
      return null;
    });
    if (device === null) return;
    const held = await contentOf(device, VOLUME_BYTES);
    this.#held = held;
    const { state } = device.marks;
    const differs = this.#differing(held);
    const point = state === 'consistent' ? this.#pointOf(held) : await this.#promoted();
    this.#reading = {
      ...{ isListed: true, isLater: this.parts.isLater, state },
      ...{ differs, missed: differs & ~this.#named, point, unlike: 0 },
    };
  }

  /** It was tried to bring it in sync with what is like `primary`. */
  async attempted(primary: Uint8Array): Promise<void> {
    const { link } = this.parts;
    if (link.replica.state === 'diverged') {
      // It is a volume of its own: what of it differs is nobody's concern any more.
      this.#reading = { ...NOT_REACHED, state: 'promoted', point: await this.#promoted() };
      return;
    }
    if (link.replica.state !== 'in-sync') throw new UserError('IO_ERROR', `${link.name} is ${link.trouble}`);
    const unlike = differing(primary, await contentOf(link.secondary!, VOLUME_BYTES)) & ~this.#uncopied;
    this.#reading = { ...this.#reading, unlike };
  }

  async #promoted(): Promise<Point> {
    const promoted = forked(this.parts.before);
    try {
      await promote(promoted, { newGeneration: SECOND });
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      return { none: error.message };
    }
    return this.#pointOf(await contentOf(promoted.image, VOLUME_BYTES));
  }

  #pointOf(held: Uint8Array): Point {
    const moments = this.parts.momentsOf(held);
    const isAsPrimary = this.parts.upper.isMoment && (this.#differing(held) & ~this.#uncopied) === 0;
    return moments.length > 0 || isAsPrimary ? { moments, isAsPrimary } : { none: 'it is torn' };
  }

  #differing(held: Uint8Array): number {
    return differing(this.parts.upper.content, held);
  }
}

function forked(devices: ReplicaDevices<StateDevice>): Record<PartName, StateDevice> {
  return partsBy((part) => devices[part].fork());
}

function differing(primary: Uint8Array, held: Uint8Array): number {
  let mask = 0;
  for (let block = 0; block < BLOCKS; block++) {
    const at = block * BLOCK_BYTES;
    const [a, b] = [primary, held].map((bytes) => bytes.subarray(at, at + BLOCK_BYTES));
    if (Buffer.compare(a!, b!) !== 0) mask |= 1 << block;
  }
  return mask;
}

/** Whatever else is wrong. */
export function checkNamed({ missed }: ReplicaReading, { name }: ReplicaOwed): Breach | null {
  if (missed === 0) return null;
  return { invariant: 'named', message: `${blocks(missed)} of ${name} differ, and nothing names them` };
}

export function checkReplica(reading: ReplicaReading, owed: ReplicaOwed): Breach | null {
  const { differs, unlike } = reading;
  if (owed.isListed && !reading.isListed)
    return { invariant: 'listed', message: `${owed.name} was added, and is not in the list` };
  if (owed.known !== null && !reading.isLater && (differs & ~owed.known) !== 0) {
    const message = `${blocks(differs & ~owed.known)} of ${owed.name} differ, and the process does not know`;
    return { invariant: 'known', message };
  }
  if (unlike !== 0)
    return { invariant: 'alike', message: `${blocks(unlike)} of ${owed.name} differ after a resync` };
  return reading.isListed ? checkPoint(reading, owed) : null;
}

function checkPoint(
  { point, state }: ReplicaReading,
  { name, promised, now, hasPoint }: ReplicaOwed,
): Breach | null {
  if ('none' in point) {
    if (!hasPoint && state === 'initial') return null;
    const message = `${name} (${state}) is no moment of the primary: ${point.none}`;
    return { invariant: 'moment', message };
  }
  const { moments, isAsPrimary } = point;
  if (isAsPrimary || moments.some((moment) => moment >= promised && moment <= now)) return null;
  const message = `moment ${promised} was promised to ${name}, now is ${now}, and ${moments.join()} is there`;
  return { invariant: 'promised', message };
}

function blocks(mask: number): string {
  const numbers = Array.from({ length: BLOCKS }, (_, block) => block).filter(
    (block) => (mask & (1 << block)) !== 0,
  );
  return `blocks ${numbers.join(', ')}`;
}
