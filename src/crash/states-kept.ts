/**
 * One state after a cut at a time: which of the volatile writes were kept, and which of those tore. Moving from a
 * state to the next costs what changes between the two, never the size of the devices.
 *
 * Sectors with the same writers form a group, which changes as one. Of the writes of a group that are kept the last
 * submitted is seen (`top`), so one addition to the hash takes a group from one version to another. Torn writes are
 * the exception and are worked out sector by sector, on top of that.
 */
import type { PowerLoss } from './profiles.js';
import { SeededRandom } from './seeded-random.js';
import type { StateContent } from './state-content.js';
import { HASH_WORDS, hashSector, SECTOR_BYTES, xorHash } from './state-hash.js';
import { type CutWalk, placeOf, sectorBytes, type VolatileWrite } from './states.js';

/** What became of a piece of a torn write. */
export const LOST = 0;
export const KEPT = 1;
export const NOISE = 2;

/** Of each piece of a write (an atom of the profile's, or a part of one) what became of it. */
export type Tear = Uint8Array;

/** What became of the volatile writes of a cut. */
export interface KeptState {
  /** Of each write: 1 if it was kept. */
  readonly flags: Uint8Array;
  /** Of the kept ones, by their places among all. */
  readonly tears: ReadonlyMap<number, Tear>;
}

/** Versions of a sector or group: 0 is the durable one, j + 1 that of its j-th writer, and -(j + 1) its noise. */
interface Versions {
  readonly device: number;
  /** Numbers of volatile writes, ascending. */
  readonly writers: readonly number[];
  /** Of each version what it adds to the hash of the durable state. */
  readonly deltas: Int32Array;
}

interface SectorVersions extends Versions {
  readonly sector: number;
  readonly group: Group;
  /** When it was last worked out. */
  turn: number;
}

interface Group extends Versions {
  readonly sectors: SectorVersions[];
  top: number;
}

interface TornSector {
  readonly entry: SectorVersions;
  readonly version: number;
}

const durableHash = new Int32Array(HASH_WORDS);
const noiseHash = new Int32Array(HASH_WORDS);

export class KeptWrites {
  /** How many writes are volatile. */
  readonly count: number;
  /** Of each device the hash of its content, then that of all together. */
  readonly words: Int32Array;
  /** In how many states by sectors the cut may leave the devices: the power of two. */
  readonly reachableBits: number;
  private readonly flags: Uint8Array;
  private readonly writes: readonly VolatileWrite[];
  private readonly durable: readonly StateContent[];
  private readonly loss: PowerLoss;
  private readonly groups: readonly Group[];
  private readonly groupsOf: readonly Group[][];
  private tears: ReadonlyMap<number, Tear> = new Map();
  private tornSectors: TornSector[] = [];
  private turn = 0;
  /** Of each write, once they were asked for. */
  private readonly atoms: Float64Array[] = [];

  /** None is kept at first. `walk` is not to move on while this is in use. */
  constructor(walk: CutWalk) {
    this.writes = [...walk.volatile];
    this.durable = walk.durable;
    this.loss = walk.loss;
    this.count = this.writes.length;
    this.flags = new Uint8Array(this.count);
    const devices = this.durable.length;
    this.words = new Int32Array((devices + 1) * HASH_WORDS);
    for (const [device, content] of this.durable.entries()) {
      content.hash(this.words, device * HASH_WORDS);
      xorHash(this.words, devices * HASH_WORDS, this.words, device * HASH_WORDS);
    }
    this.groups = groupSectors(this.writes, this.durable);
    this.groupsOf = this.writes.map((_, write) =>
      this.groups.filter((group) => group.writers.includes(write)),
    );
    this.reachableBits = this.countReachable();
  }

  isKept(write: number): boolean {
    return this.flags[write] === 1;
  }

  /** The torn ones of the kept. */
  get torn(): ReadonlyMap<number, Tear> {
    return this.tears;
  }

  /** As it is now, whatever is kept later. */
  get kept(): KeptState {
    return { flags: this.flags.slice(), tears: this.tears };
  }

  /** Another state of the same cut. */
  restore({ flags, tears }: KeptState): this {
    this.tear(new Map());
    for (const [write, flag] of flags.entries()) this.keep(write, flag === 1);
    this.tear(tears);
    return this;
  }

  operation(write: number) {
    return this.writes[write]!.operation;
  }

  /** Into how many pieces a write can tear, of those in which it may make a difference; 1: it cannot. */
  pieces(write: number): number {
    return this.atomsOf(write).length;
  }

  /** One piece of it is noise where it tears. */
  hasNoise(write: number): boolean {
    return this.loss.of(this.operation(write).device).hasNoise;
  }

  /** Only while nothing is torn. */
  keep(write: number, isKept: boolean): void {
    if (this.tears.size > 0) throw new Error('a state is changed whose writes are torn');
    if (this.isKept(write) === isKept) return;
    this.flags[write] = isKept ? 1 : 0;
    for (const group of this.groupsOf[write]!) {
      const top = this.topOf(group);
      if (top === group.top) continue;
      this.add(group, group.top);
      this.add(group, top);
      group.top = top;
    }
  }

  /** These of the kept writes are torn, and no others. */
  tear(tears: ReadonlyMap<number, Tear>): void {
    for (const { entry, version } of this.tornSectors) this.exchange(entry, version);
    this.tornSectors = [];
    this.tears = tears;
    this.turn += 1;
    for (const write of tears.keys()) {
      if (!this.isKept(write)) throw new Error(`write ${write} is torn and not kept`);
      for (const group of this.groupsOf[write]!) for (const entry of group.sectors) this.tearSector(entry);
    }
  }

  /** The devices' content as the cut leaves it. */
  contents(): StateContent[] {
    const contents = this.durable.map((content) => content.fork());
    for (const group of this.groups) {
      if (group.top === 0) continue;
      for (const entry of group.sectors) this.put(contents, entry, group.top);
    }
    for (const { entry, version } of this.tornSectors) this.put(contents, entry, version);
    return contents;
  }

  private topOf({ writers }: Versions): number {
    for (let j = writers.length - 1; j >= 0; j--) if (this.flags[writers[j]!] === 1) return j + 1;
    return 0;
  }

  private add({ device, deltas }: Versions, version: number): void {
    xorHash(this.words, device * HASH_WORDS, deltas, version * HASH_WORDS);
    xorHash(this.words, this.durable.length * HASH_WORDS, deltas, version * HASH_WORDS);
  }

  private tearSector(entry: SectorVersions): void {
    if (entry.turn === this.turn) return;
    entry.turn = this.turn;
    const version = this.tornVersion(entry);
    if (version === entry.group.top) return;
    this.tornSectors.push({ entry, version });
    this.exchange(entry, version);
  }

  /** Takes a sector from what its group shows to `version`, or back. */
  private exchange(entry: SectorVersions, version: number): void {
    this.add(entry, entry.group.top);
    if (version >= 0) {
      this.add(entry, version);
      return;
    }
    hashSector(entry.device, entry.sector, this.noise(entry, version), noiseHash, 0);
    xorHash(noiseHash, 0, this.durableHash(entry), 0);
    this.add({ ...entry, deltas: noiseHash }, 0);
  }

  private tornVersion({ writers, sector }: SectorVersions): number {
    for (let j = writers.length - 1; j >= 0; j--) {
      const write = writers[j]!;
      if (this.flags[write] === 0) continue;
      const tear = this.tears.get(write);
      if (tear === undefined) return j + 1;
      const piece = this.pieceOf(write, sector);
      if (tear[piece] === KEPT) return j + 1;
      if (tear[piece] === NOISE) return -(j + 1);
    }
    return 0;
  }

  private pieceOf(write: number, sector: number): number {
    return placeOf(this.atomsOf(write), this.atomOf(write, sector));
  }

  /** Numbers of the atoms of its sectors, ascending. */
  private atomsOf(write: number): Float64Array {
    const { sectors } = this.writes[write]!;
    this.atoms[write] ??= Float64Array.from(new Set(sectors.map((sector) => this.atomOf(write, sector))));
    return this.atoms[write];
  }

  private atomOf(write: number, sector: number): number {
    const { atomBytes } = this.loss.of(this.operation(write).device);
    return atomBytes === Number.POSITIVE_INFINITY ? 0 : Math.floor((sector * SECTOR_BYTES) / atomBytes);
  }

  private put(contents: readonly StateContent[], entry: SectorVersions, version: number): void {
    const bytes = this.bytesOf(entry, version);
    const offset = entry.sector * SECTOR_BYTES;
    if (bytes === null) contents[entry.device]!.zero(offset, SECTOR_BYTES);
    else contents[entry.device]!.write(offset, bytes);
  }

  private bytesOf(entry: SectorVersions, version: number): Uint8Array | null {
    if (version < 0) return this.noise(entry, version);
    if (version === 0) return durableBytes(this.durable, entry);
    return sectorBytes(this.operation(entry.writers[version - 1]!), entry.sector);
  }

  /** The same for the same write and sector, whatever else a state is. */
  private noise(entry: SectorVersions, version: number): Uint8Array {
    const { number } = this.operation(entry.writers[-version - 1]!);
    return new SeededRandom(Math.imul(number + 1, 0x9e3779b1) ^ entry.sector).bytes(SECTOR_BYTES);
  }

  private durableHash({ device, sector }: SectorVersions): Int32Array {
    hashSector(device, sector, durableBytes(this.durable, { device, sector }), durableHash, 0);
    return durableHash;
  }

  private countReachable(): number {
    const pieces = new Map<string, number>();
    for (const { device, sector, writers } of this.groups.flatMap((group) => group.sectors)) {
      const { atomBytes } = this.loss.of(device);
      // What never tears is there or not, write by write.
      const places =
        atomBytes === Number.POSITIVE_INFINITY ? writers : [Math.floor((sector * SECTOR_BYTES) / atomBytes)];
      const most = atomBytes === Number.POSITIVE_INFINITY ? 1 : writers.length;
      for (const place of places) {
        const piece = `${device} ${place}`;
        pieces.set(piece, Math.max(pieces.get(piece) ?? 0, most));
      }
    }
    let bits = 0;
    for (const writers of pieces.values()) bits += Math.log2(writers + 1);
    return bits;
  }
}

function durableBytes(
  durable: readonly StateContent[],
  { device, sector }: { device: number; sector: number },
): Uint8Array {
  const bytes = new Uint8Array(SECTOR_BYTES);
  durable[device]!.read(sector * SECTOR_BYTES, bytes);
  return bytes;
}

/** All live sectors of the writes, those with the same writers together. */
function groupSectors(writes: readonly VolatileWrite[], durable: readonly StateContent[]): Group[] {
  const groups = new Map<string, Group>();
  for (const [device, sectors] of writersOfSectors(writes, durable.length).entries()) {
    for (const [sector, writers] of sectors) {
      const key = `${device} ${writers.join()}`;
      const group = groups.get(key) ?? newGroup(device, writers);
      groups.set(key, group);
      const deltas = deltasOf(writes, durable, { device, sector, writers });
      group.sectors.push({ device, sector, writers: group.writers, deltas, group, turn: 0 });
      for (let at = 0; at < deltas.length; at += HASH_WORDS) xorHash(group.deltas, at, deltas, at);
    }
  }
  return [...groups.values()];
}

function newGroup(device: number, writers: readonly number[]): Group {
  return { device, writers, deltas: new Int32Array((writers.length + 1) * HASH_WORDS), sectors: [], top: 0 };
}

function writersOfSectors(writes: readonly VolatileWrite[], devices: number): Map<number, number[]>[] {
  const found = Array.from({ length: devices }, () => new Map<number, number[]>());
  for (const [number, { operation, sectors, live }] of writes.entries()) {
    const known = found[operation.device]!;
    for (const [at, sector] of sectors.entries()) {
      if (live[at] === 0) continue;
      const writers = known.get(sector);
      if (writers === undefined) known.set(sector, [number]);
      else writers.push(number);
    }
  }
  return found;
}

function deltasOf(
  writes: readonly VolatileWrite[],
  durable: readonly StateContent[],
  { device, sector, writers }: Pick<SectorVersions, 'device' | 'sector' | 'writers'>,
): Int32Array {
  const deltas = new Int32Array((writers.length + 1) * HASH_WORDS);
  hashSector(device, sector, durableBytes(durable, { device, sector }), durableHash, 0);
  for (const [j, write] of writers.entries()) {
    const { hashes, sectors } = writes[write]!;
    const at = (j + 1) * HASH_WORDS;
    deltas.set(durableHash, at);
    if (hashes !== null) xorHash(deltas, at, hashes, placeOf(sectors, sector) * HASH_WORDS);
  }
  return deltas;
}
