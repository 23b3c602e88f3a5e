/**
 * What the clients of recorded disks are owed after a cut: of each sector that they have written, which contents it may have.
 *
 * A content may be there unless something that was asked for after it was answered is durable for sure: answered with fua, or answered
 * before a flush was asked for that is answered. What was asked for and not answered may be there too. Requests that were under way together
 * have no order.
 */
import type { DiskRequest, Operation } from '../../crash/trace.js';
import { UserError } from '../../errors.js';
import { SectorContents } from './sector-contents.js';

export const SECTOR_BYTES = 512;
/** Of each all that it may hold is known: that is as much memory again as they hold, some times over. */
const MAX_SECTORS = 512 * 1024;
const NEVER = Number.POSITIVE_INFINITY;

/** Something that was asked for: when, as places among the requests. */
export interface Asked {
  readonly request: Operation;
  readonly askedAt: number;
  answeredAt: number;
  durableAt: number;
}

export interface Version {
  /** One; of what lies around a part that was written, or of what was trimmed, perhaps several. */
  readonly contents: readonly number[];
  /** Then it may be any that it had before too. */
  readonly isTrim: boolean;
  readonly asked: Asked | null;
}

export interface OwedSector {
  readonly sector: number;
  readonly contents: SectorContents;
  readonly versions: readonly Version[];
}

/** Of one disk: its sectors that were asked to change, in order. */
export class OwedDisk {
  readonly sectors: readonly OwedSector[];
  /** By sector and content, as far as it was asked for. */
  readonly #when: (readonly Times[])[][];
  /** As `#when`, were all that is answered durable. */
  readonly #answered: (readonly Times[])[][];

  /** `base`: what the sector held before. */
  constructor(requests: readonly DiskRequest[], disk: number, base: (sector: number) => Uint8Array) {
    this.sectors = sectorsOf(timesOf(requests, disk), base);
    this.#when = this.sectors.map(() => []);
    this.#answered = this.sectors.map(() => []);
  }

  /** Of sector `index` of `sectors`: whether it may hold that after the first `told` of the requests. */
  allows(index: number, content: number, told: number): boolean {
    return this.when(index, content).some(({ first, last }) => first <= told && told <= last);
  }

  /** As `allows`, were all that is answered durable: of what is waited for on a second side. */
  allowsAnswered(index: number, content: number, told: number): boolean {
    const times = this.#timesOf(this.#answered, index, content, (asked) => asked.answeredAt);
    return times.some(({ first, last }) => first <= told && told <= last);
  }

  /** After how many of the requests it may hold that: apart, ascending. */
  when(index: number, content: number): readonly Times[] {
    return this.#timesOf(this.#when, index, content, (asked) => asked.durableAt);
  }

  #timesOf(of: (readonly Times[])[][], index: number, content: number, countsAt: CountsAt): readonly Times[] {
    if (content < 0) return [];
    const known = of[index]!;
    known[content] ??= timesThat(this.sectors[index]!.versions, content, countsAt);
    return known[content];
  }
}

/** From when on what it overwrites cannot be there any more. */
type CountsAt = (asked: Asked) => number;

/** Numbers of requests, both inclusive. */
export interface Times {
  readonly first: number;
  readonly last: number;
}

function timesThat(versions: readonly Version[], content: number, countsAt: CountsAt): readonly Times[] {
  const all: Times[] = [];
  let wasThere = false;
  for (const { asked, contents, isTrim } of versions) {
    const isOfIt = contents.includes(content);
    wasThere ||= isOfIt;
    if (!(isTrim ? wasThere : isOfIt)) continue;
    const first = asked === null ? 0 : asked.askedAt + 1;
    all.push({ first, last: overwrittenAt(versions, asked === null ? -1 : asked.answeredAt, countsAt) });
  }
  return joined(all);
}

/** So many requests later something counts that was asked for after that was answered. */
function overwrittenAt(versions: readonly Version[], answeredAt: number, countsAt: CountsAt): number {
  let last = NEVER;
  for (const { asked } of versions)
    if (asked !== null && asked.askedAt > answeredAt) last = Math.min(last, countsAt(asked));
  return last;
}

/** `all` ascends by `first`. */
function joined(all: readonly Times[]): Times[] {
  const apart: Times[] = [];
  for (const { first, last } of all) {
    const before = apart.at(-1);
    if (first > last) continue;
    if (before === undefined || before.last + 1 < first) apart.push({ first, last });
    else apart[apart.length - 1] = { first: before.first, last: Math.max(before.last, last) };
  }
  return apart;
}

/** Of one disk. Throws UNSUPPORTED where there are more than are held to what is owed. */
export function sectorsAsked(requests: readonly DiskRequest[], disk: number): Set<number> {
  const sectors = new Set<number>();
  for (const { is, request } of requests) {
    if (is !== 'asked' || request.device !== disk || request.kind === 'flush') continue;
    const { offset, length } = request;
    for (let at = Math.floor(offset / SECTOR_BYTES); at * SECTOR_BYTES < offset + length; at++) {
      sectors.add(at);
      if (sectors.size > MAX_SECTORS) throw isTooMuch();
    }
  }
  return sectors;
}

function isTooMuch(): UserError {
  const most = (MAX_SECTORS * SECTOR_BYTES) / (1024 * 1024);
  return new UserError(
    'UNSUPPORTED',
    `clients have changed more than ${most} MiB of a disk: more than is held to what they are owed`,
    { hint: 'Give a --check, or record a program that writes (or trims) less.' },
  );
}

function timesOf(requests: readonly DiskRequest[], disk: number): Asked[] {
  const byNumber = new Map<number, Asked>();
  const waiting = new Set<Asked>();
  const covered = new Map<number, readonly Asked[]>();
  for (const [at, { is, request }] of requests.entries()) {
    if (request.device !== disk) continue;
    if (is === 'asked') {
      if (request.kind === 'flush') covered.set(request.number, [...waiting]);
      else byNumber.set(request.number, { request, askedAt: at, answeredAt: NEVER, durableAt: NEVER });
      continue;
    }
    const durable = request.kind === 'flush' ? covered.get(request.number)! : [];
    for (const asked of durable) {
      asked.durableAt = Math.min(asked.durableAt, at);
      waiting.delete(asked);
    }
    const own = byNumber.get(request.number);
    if (own === undefined) continue;
    own.answeredAt = at;
    if (request.fua) own.durableAt = at;
    else waiting.add(own);
  }
  return [...byNumber.values()];
}

function sectorsOf(all: readonly Asked[], base: (sector: number) => Uint8Array): OwedSector[] {
  const sectors = new Map<number, { readonly contents: SectorContents; readonly versions: Version[] }>();
  const known = (sector: number) => {
    let found = sectors.get(sector);
    if (found === undefined) {
      const contents = new SectorContents();
      const before = { contents: [contents.add(base(sector))], isTrim: false, asked: null };
      found = { contents, versions: [before] };
      sectors.set(sector, found);
    }
    return found;
  };
  for (const asked of all) {
    const { kind, offset, length } = asked.request;
    const isTrim = kind === 'trim';
    const end = Math.ceil((offset + length) / SECTOR_BYTES);
    for (let sector = Math.floor(offset / SECTOR_BYTES); sector < end; sector++) {
      const { contents, versions } = known(sector);
      const before = versions.at(-1)!.contents;
      const now = before.map((one) => contents.add(written(asked.request, sector, contents.get(one))));
      versions.push({ contents: [...new Set(isTrim ? [...before, ...now] : now)], isTrim, asked });
    }
  }
  return [...sectors.entries()]
    .sort(([a], [b]) => a - b)
    .map(([sector, { contents, versions }]) => ({ sector, contents, versions }));
}

/** Around what is less than a sector is what was there before it. A trim makes zeroes, where it does anything. */
function written({ kind, offset, length, bytes }: Operation, sector: number, before: Uint8Array): Uint8Array {
  const start = sector * SECTOR_BYTES;
  const [from, to] = [Math.max(start, offset), Math.min(start + SECTOR_BYTES, offset + length)];
  const whole = before.slice();
  if (kind === 'write') whole.set(bytes!.subarray(from - offset, to - offset), from - start);
  else whole.fill(0, from - start, to - start);
  return whole;
}
