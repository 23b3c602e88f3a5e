/**
 * What is owed of files on extents after a cut (docs/crash-model.md, invariant 4): a file holds what it held at a commit
 * point, never a mixture, and never older than the last commit that was acknowledged.
 *
 * A file is cut into areas, each with a writer of its own that writes one thing after another. So what a file holds is
 * told by how many of its writes each area has. They belong together when no write is there that was submitted after
 * another, which is not there, was acknowledged.
 */
import { createHash } from 'node:crypto';
import type { Breach } from '../../../crash/explorer-failure.js';

interface TimedWrite {
  readonly submitted: number;
  acknowledged: number;
}

/** What an area may be, by the digest of its content: after which of its writes it was so. */
class Area {
  readonly content: Uint8Array;
  readonly writes: TimedWrite[] = [];
  readonly #counts = new Map<string, number[]>();

  constructor(bytes: number) {
    this.content = new Uint8Array(bytes);
    this.#note();
  }

  submit(offset: number, bytes: Uint8Array, now: number): TimedWrite {
    this.content.set(bytes, offset);
    const write = { submitted: now, acknowledged: Number.POSITIVE_INFINITY };
    this.writes.push(write);
    this.#note();
    return write;
  }

  /** After how many writes it is so; none: it never was. */
  countsOf(content: Uint8Array): readonly number[] {
    return this.#counts.get(digest(content)) ?? [];
  }

  acknowledged(): number {
    return this.writes.filter(({ acknowledged }) => acknowledged < Number.POSITIVE_INFINITY).length;
  }

  #note(): void {
    const key = digest(this.content);
    this.#counts.set(key, [...(this.#counts.get(key) ?? []), this.writes.length]);
  }
}

/** Of each area the least that is owed, and the most that a commit can have had. */
export interface OwedFile {
  readonly exists: 'yes' | 'no' | 'maybe';
  readonly least: readonly number[];
  readonly most: readonly number[];
  /** Writes of each area that are kept and not committed. `isOwed`: that was answered, and nothing came after it. */
  readonly kept: { readonly counts: readonly number[]; readonly isOwed: boolean } | null;
}

export type OwedFiles = Readonly<Record<string, OwedFile>>;

/** Of each area: after how many of its writes it is as it was found. */
export type FoundFile = readonly (readonly number[])[];

export class FileHistory {
  readonly areas: readonly Area[];
  exists: OwedFile['exists'] = 'no';
  #least: number[];
  #most: number[];
  #commitsRunning = 0;
  #kept: OwedFile['kept'] = null;

  constructor(
    readonly name: string,
    areas: number,
    readonly areaBytes: number,
    private readonly clock: { now: number },
    /** The journal may be full: then it is committed at any time. */
    private readonly commitsEarly: boolean,
  ) {
    this.areas = Array.from({ length: areas }, () => new Area(areaBytes));
    this.#least = this.areas.map(() => 0);
    this.#most = this.areas.map(() => 0);
  }

  get owed(): OwedFile {
    const isOpenEnded = this.#commitsRunning > 0 || this.commitsEarly;
    const most = isOpenEnded ? this.areas.map(({ writes }) => writes.length) : [...this.#most];
    return { exists: this.exists, least: [...this.#least], most, kept: this.#kept };
  }

  /** The returned function says that it was acknowledged. */
  submit(area: number, offset: number, bytes: Uint8Array): () => void {
    const write = this.areas[area]!.submit(offset, bytes, this.clock.now++);
    if (this.#kept !== null) this.#kept = { ...this.#kept, isOwed: false };
    return () => {
      write.acknowledged = this.clock.now++;
    };
  }

  /** A commit begins. The returned function says that it was acknowledged. */
  commit(): () => void {
    this.#commitsRunning += 1;
    const covered = this.areas.map((area) => area.acknowledged());
    return () => {
      this.#commitsRunning -= 1;
      this.#kept = null;
      this.#least = this.#least.map((least, at) => Math.max(least, covered[at]!));
      this.#most = this.areas.map(({ writes }) => writes.length);
    };
  }

  /** All that was written is kept, with nothing else under way. The returned function says that it was answered. */
  keep(): () => void {
    const counts = this.areas.map(({ writes }) => writes.length);
    this.#kept = { counts, isOwed: false };
    return () => {
      this.#kept = { counts, isOwed: true };
    };
  }

  /** The same content for ever, under another name. */
  snapshot(name: string): FileHistory {
    const copy = new FileHistory(name, this.areas.length, this.areaBytes, this.clock, false);
    for (const [at, area] of this.areas.entries()) {
      copy.submit(at, 0, area.content.slice())();
      copy.#least[at] = 1;
      copy.#most[at] = 1;
    }
    return copy;
  }

  find(content: Uint8Array): FoundFile {
    return this.areas.map((area, at) =>
      area.countsOf(content.subarray(at * this.areaBytes, (at + 1) * this.areaBytes)),
    );
  }

  /** null: what was found is a commit point that may be there. */
  check(found: FoundFile | null, owed: OwedFile): Breach | null {
    if (found === null) {
      return owed.exists === 'yes' ? breach(this.name, 'acknowledged', 'it is not there') : null;
    }
    if (owed.exists === 'no') return breach(this.name, 'not there', 'it is there');
    const torn = found.findIndex((counts) => counts.length === 0);
    if (torn >= 0) return breach(this.name, 'all-or-nothing', `area ${torn} holds what no whole writes make`);
    const points = product(found);
    const within = points.filter((point) => point.every((count, at) => count <= owed.most[at]!));
    if (within.length === 0) return this.#refuse('unseen', points[0]!, owed, 'more than was committed');
    const fresh = within.filter((point) => point.every((count, at) => count >= owed.least[at]!));
    if (fresh.length === 0)
      return this.#refuse('acknowledged', within[0]!, owed, 'less than was acknowledged');
    if (fresh.some((point) => this.#belongTogether(point))) return null;
    return this.#refuse('mixture', fresh[0]!, owed, 'a later write without an earlier one');
  }

  /** null: with what is not committed the file is as it is without, or all of it is there that was kept. */
  checkKept(found: FoundFile, withKept: FoundFile, { kept }: OwedFile): Breach | null {
    const isWhole = kept?.counts.every((count, at) => withKept[at]!.includes(count)) === true;
    if (isWhole) return null;
    if (JSON.stringify(found) !== JSON.stringify(withKept))
      return breach(this.name, 'kept', 'what is not committed is not what was kept');
    return kept?.isOwed === true ? breach(this.name, 'kept', 'what was kept is not there') : null;
  }

  #belongTogether(point: readonly number[]): boolean {
    return point.every((count, at) => {
      if (count === 0) return true;
      const { submitted } = this.areas[at]!.writes[count - 1]!;
      return point.every((other, beside) =>
        this.areas[beside]!.writes.slice(other).every(({ acknowledged }) => acknowledged > submitted),
      );
    });
  }

  #refuse(invariant: string, point: readonly number[], { least, most }: OwedFile, why: string): Breach {
    const counts = `${point.join(', ')} writes; owed at least ${least.join(', ')}, at most ${most.join(', ')}`;
    return breach(this.name, invariant, `${why}: its areas have ${counts}`);
  }
}

function breach(name: string, invariant: string, message: string): Breach {
  return { invariant, message: `${name}: ${message}` };
}

function product(found: FoundFile): number[][] {
  return found.reduce<number[][]>(
    (points, counts) => points.flatMap((point) => counts.map((count) => [...point, count])),
    [[]],
  );
}

function digest(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}
