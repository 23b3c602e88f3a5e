/**
 * What a cut leaves, kept up with event by event, against the plain telling of it; and the hash of a state against the
 * state itself.
 */
import { describe, expect, it } from 'vitest';
import { choices } from '../../src/crash/choices.js';
import { devicesAtCut } from '../../src/crash/power-cut.js';
import { PowerLoss, PROFILE_NAMES, PROFILES, type ProfileName } from '../../src/crash/profiles.js';
import type { SeededRandom } from '../../src/crash/seeded-random.js';
import { StateContent } from '../../src/crash/state-content.js';
import { StateDevice } from '../../src/crash/state-device.js';
import { HASH_WORDS, hashSector, xorHash } from '../../src/crash/state-hash.js';
import { StateTable } from '../../src/crash/state-table.js';
import { CutWalk, type VolatileWrite } from '../../src/crash/states.js';
import { KEPT, KeptWrites, LOST, NOISE } from '../../src/crash/states-kept.js';
import type { Operation, Trace } from '../../src/crash/trace.js';
import { describeBlockDevice, SMALLEST_SIZE } from '../conformance/block-device.js';
import { randomTrace } from '../support/crash/random-trace.js';
import { withSeed } from '../support/devices/seeded-random.js';

const SECTOR_BYTES = 512;
const SECTORS = 40;
const SHAPE = { devices: 2, sectors: SECTORS, operations: 40 };

describeBlockDevice('StateDevice', {
  async make() {
    const device = new StateDevice(StateContent.blank(0), { name: 'state', size: SMALLEST_SIZE });
    return {
      device,
      cleanup: () => device.close(),
      reopenReadOnly: async () => device.fork({ readOnly: true }),
    };
  },
  supports: { holes: true, readOnly: true },
});

/** Something in every device, so that old content can be told from zeroes. */
function randomContents(random: SeededRandom, devices = SHAPE.devices): StateContent[] {
  return Array.from({ length: devices }, (_, device) => {
    const content = StateContent.blank(device);
    content.write(0, random.bytes((SECTORS / 2) * SECTOR_BYTES));
    return content;
  });
}

function bytesOf(content: StateContent): Uint8Array {
  const bytes = new Uint8Array(SECTORS * SECTOR_BYTES);
  content.read(0, bytes);
  return bytes;
}

function isSame(some: readonly Uint8Array[], others: readonly Uint8Array[]): boolean {
  return some.every((bytes, index) => Buffer.compare(bytes, others[index]!) === 0);
}

function hashOf(device: number, bytes: Uint8Array): Int32Array {
  const sum = new Int32Array(HASH_WORDS);
  const one = new Int32Array(HASH_WORDS);
  for (let sector = 0; sector * SECTOR_BYTES < bytes.length; sector++) {
    hashSector(device, sector, bytes.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES), one, 0);
    xorHash(sum, 0, one, 0);
  }
  return sum;
}

function numbers(operations: readonly Operation[]): number[] {
  return operations.map(({ number }) => number).sort((a, b) => a - b);
}

/** Sectors of `write` that a durable one which was submitted later has not overwritten. */
function hasLiveSectors(write: Operation, durable: readonly Operation[]): boolean {
  const later = durable.filter(({ number, device }) => number > write.number && device === write.device);
  for (let at = write.offset; at < write.offset + write.length; at += SECTOR_BYTES) {
    if (!later.some(({ offset, length }) => offset <= at && at < offset + length)) return true;
  }
  return false;
}

/** All durable writes and the kept pieces of the kept ones, put one over the other as they were submitted. */
function layered(
  walk: CutWalk,
  initial: readonly StateContent[],
  profile: ProfileName,
  state: KeptWrites,
  also: readonly Operation[] = [],
): Uint8Array[] {
  const contents = initial.map(bytesOf);
  const atCut = devicesAtCut(walk.trace, { atEvent: walk.cut, profile: PROFILES[profile] });
  const kept = new Map<number, number>();
  for (let write = 0; write < state.count; write++)
    if (state.isKept(write)) kept.set(state.operation(write).number, write);
  const volatile = new Set(numbers(atCut.flatMap((device) => device.volatile)));
  const all = atCut.flatMap(({ durable, volatile: lost }) => [...durable, ...lost]);
  for (const operation of all.sort((a, b) => a.number - b.number)) {
    const write = kept.get(operation.number);
    if (volatile.has(operation.number) && write === undefined && !also.includes(operation)) continue;
    const tear = write === undefined ? undefined : state.torn.get(write);
    const { atomBytes } = PROFILES[profile];
    const pieces = write === undefined ? [] : atomsOf(walk.volatile[write]!, atomBytes);
    putPieces(contents[operation.device]!, operation, atomBytes, (atom) =>
      // Where it makes no difference it is no piece.
      tear === undefined || !pieces.includes(atom) ? true : tear[pieces.indexOf(atom)] === KEPT,
    );
  }
  return contents;
}

function atomsOf({ sectors }: VolatileWrite, atomBytes: number): number[] {
  return [...new Set([...sectors].map((sector) => Math.floor((sector * SECTOR_BYTES) / atomBytes)))];
}

function putPieces(
  into: Uint8Array,
  { offset, length, bytes }: Operation,
  atomBytes: number,
  isKept: (atom: number) => boolean,
): void {
  for (let at = 0; at < length; at += SECTOR_BYTES) {
    if (!isKept(Math.floor((offset + at) / atomBytes))) continue;
    if (bytes === null) into.fill(0, offset + at, offset + at + SECTOR_BYTES);
    else into.set(bytes.subarray(at, at + SECTOR_BYTES), offset + at);
  }
}

/** Of the writes that may be lost those that the walk does not know of: zeroes where there are zeroes. It knows of no others. */
function idleOf(live: readonly Operation[], walk: CutWalk): Operation[] {
  const known = new Set(walk.volatile.map(({ operation }) => operation));
  const idle = live.filter((operation) => !known.delete(operation));
  expect(known.size).toBe(0);
  expect(idle.every(({ bytes }) => bytes === null)).toBe(true);
  return idle;
}

/** Of ones. */
function write(offset: number, length: number): Operation {
  const bytes = new Uint8Array(length).fill(1);
  return { number: 0, device: 0, kind: 'write', offset, length, bytes, fua: false };
}

/** After the submission of one write to a blank device. */
function stateOf(operation: Operation, profile: ProfileName): KeptWrites {
  const devices = [{ name: 'a', size: SECTORS * SECTOR_BYTES }];
  const trace: Trace = { devices, events: [{ kind: 'submit', operation }] };
  const walk = new CutWalk(trace, [StateContent.blank(0)], PROFILES[profile]);
  walk.advance(1);
  return new KeptWrites(walk);
}

/** The words of a state are the hashes of what it holds. */
function expectHashed(state: KeptWrites, contents: readonly Uint8Array[]): void {
  const words = new Int32Array(state.words.length);
  const total = words.length - HASH_WORDS;
  for (const [device, bytes] of contents.entries()) {
    words.set(hashOf(device, bytes), device * HASH_WORDS);
    xorHash(words, total, words, device * HASH_WORDS);
  }
  expect(state.words.join()).toBe(words.join());
}

describe('cuts of a random trace', () => {
  it.each(PROFILE_NAMES)('know what is durable and what is volatile (%s)', async (name) => {
    await withSeed(async (random) => {
      const profile = PROFILES[name];
      const trace = randomTrace(random, SHAPE);
      const initial = randomContents(random);
      const walk = new CutWalk(trace, initial, profile);
      let seen = 0;
      for (let cut = 0; cut <= trace.events.length; cut++) {
        walk.advance(cut);
        const plain = devicesAtCut(trace, { atEvent: cut, profile });
        const live = plain.flatMap(({ durable, volatile }) =>
          volatile.filter((each) => hasLiveSectors(each, durable)),
        );
        const idle = idleOf(live, walk);
        seen += live.length - idle.length;
        const state = new KeptWrites(walk);
        for (const isKept of [false, true]) {
          for (let at = 0; at < state.count; at++) state.keep(at, isKept && random.chance(0.7));
          const contents = state.contents().map(bytesOf);
          expect(isSame(contents, layered(walk, initial, name, state))).toBe(true);
          expect(isSame(contents, layered(walk, initial, name, state, idle))).toBe(true);
        }
      }
      expect(seen).toBeGreaterThan(0);
    });
  });

  it.each(PROFILE_NAMES)('leave what the kept writes make, and hash so (%s)', async (name) => {
    await withSeed(async (random) => {
      const trace = randomTrace(random, SHAPE);
      const initial = randomContents(random);
      const walk = new CutWalk(trace, initial, PROFILES[name]);
      walk.advance(random.between(20, trace.events.length));
      const state = new KeptWrites(walk);
      for (const _ of choices(state, { random: random.fork() })) {
        if (state.count > 3 && !random.chance(0.1)) continue;
        const contents = state.contents().map(bytesOf);
        expectHashed(state, contents);
        // What noise it is nobody owes.
        if ([...state.torn.values()].some((tear) => tear.includes(NOISE))) continue;
        expect(isSame(contents, layered(walk, initial, name, state))).toBe(true);
      }
    });
  });
});

it('a device whose power stays on loses nothing that completed, and has no noise', async () => {
  await withSeed(async (random) => {
    const trace = randomTrace(random, SHAPE);
    const loss = new PowerLoss(PROFILES['garbage-torn'], new Set([1]));
    const walk = new CutWalk(trace, randomContents(random), loss);
    const noisy = new Set<boolean>();
    for (let cut = 0; cut <= trace.events.length; cut++) {
      walk.advance(cut);
      const plain = (['garbage-torn', 'kill-9'] as const).flatMap((name, device) => {
        const { durable, volatile } = devicesAtCut(trace, { atEvent: cut, profile: PROFILES[name] })[device]!;
        return volatile.filter((each) => hasLiveSectors(each, durable));
      });
      expect(idleOf(plain, walk).every(({ device }) => device === 1)).toBe(true);
      const state = new KeptWrites(walk);
      for (const [write, { operation }] of walk.volatile.entries()) {
        expect(state.hasNoise(write)).toBe(operation.device === 0);
        noisy.add(state.hasNoise(write));
      }
    }
    expect(noisy.size).toBe(2);
  });
});

it('noise is neither what was there nor what was written', () => {
  const operation = write(0, 2 * SECTOR_BYTES);
  const state = stateOf(operation, 'garbage-torn');
  state.keep(0, true);
  state.tear(new Map([[0, Uint8Array.of(KEPT, NOISE)]]));
  const left = bytesOf(state.contents()[0]!);
  expect(left.subarray(0, SECTOR_BYTES)).toEqual(operation.bytes!.subarray(0, SECTOR_BYTES));
  expect(new Set(left.subarray(SECTOR_BYTES, 2 * SECTOR_BYTES)).size).toBeGreaterThan(16);
  expect(isSame([bytesOf(state.contents()[0]!)], [left])).toBe(true);
});

describe('the pieces that a write may tear into', () => {
  it.each<[ProfileName, number]>([
    ['sector-512', 10],
    // It begins and ends amid 4096 bytes.
    ['sector-4096', 3],
    ['atomic-write', 1],
  ])('are by the profile %s: %d', (name, pieces) => {
    const state = stateOf(write(3584, 5120), name);
    expect(state.pieces(0)).toBe(pieces);
    expect(state.reachableBits).toBe(pieces);
  });

  it('must be whole sectors', () => {
    expect(() => stateOf(write(100, 512), 'sector-512')).toThrow('whole sectors');
  });
});

describe('the content of a state', () => {
  it('is not changed by what is done to its forks, and hashes as it is', async () => {
    await withSeed(async (random) => {
      const contents = randomContents(random, 1);
      const models = contents.map(bytesOf);
      for (let step = 0; step < 300; step++) {
        const at = random.below(contents.length);
        if (random.chance(0.1)) {
          contents.push(random.chance(0.5) ? contents[at]!.fork() : contents[at]!.freeze());
          models.push(models[at]!.slice());
        }
        const first = random.below(SECTORS);
        const length = SECTOR_BYTES * random.between(1, SECTORS - first);
        const isZeroed = random.chance(0.5);
        const bytes = isZeroed ? new Uint8Array(length) : random.bytes(length);
        if (isZeroed) contents[at]!.zero(first * SECTOR_BYTES, length);
        else contents[at]!.write(first * SECTOR_BYTES, bytes);
        models[at]!.set(bytes, first * SECTOR_BYTES);
        // What is written after a hash was asked for must be in the next one.
        if (random.chance(0.3)) contents[at]!.hash(new Int32Array(HASH_WORDS), 0);
      }
      const hash = new Int32Array(HASH_WORDS);
      for (const [index, content] of contents.entries()) {
        expect(isSame([bytesOf(content)], [models[index]!])).toBe(true);
        content.hash(hash, 0);
        expect(hash.join()).toBe(hashOf(0, models[index]!).join());
      }
    });
  });
});

it('the content of a state has a key for what lies before an offset', () => {
  const content = StateContent.blank(0);
  const byteAt = (offset: number) => content.write(offset, new Uint8Array(SECTOR_BYTES).fill(1));
  byteAt(4096);
  const before = content.keyOf(8192);
  const fork = content.freeze();
  byteAt(8192);
  expect([content.keyOf(8192), fork.keyOf(8192)]).toEqual([before, before]);
  byteAt(512);
  expect(content.keyOf(8192)).not.toBe(before);
});

describe('the hash of a sector', () => {
  it('tells devices, places and contents apart, and zeroes count as nothing', () => {
    const seen = new Set<string>();
    const hash = new Int32Array(HASH_WORDS);
    const put = (device: number, sector: number, content: Uint8Array | null) => {
      hashSector(device, sector, content, hash, 0);
      seen.add(hash.join());
    };
    const content = new Uint8Array(SECTOR_BYTES);
    for (let bit = 0; bit < SECTOR_BYTES * 8; bit++) {
      content.fill(0);
      content[bit >> 3] = 1 << (bit & 7);
      put(0, 0, content);
    }
    for (const device of [0, 1, 2, 3])
      for (const sector of [1, 2, 3, 2 ** 32, 2 ** 33]) put(device, sector, content);
    expect(seen.size).toBe(SECTOR_BYTES * 8 + 4 * 5);
    content.fill(0);
    put(0, 7, content);
    put(1, 8, null);
    expect(seen.size).toBe(SECTOR_BYTES * 8 + 4 * 5 + 1);
    expect(hash).toEqual(new Int32Array(HASH_WORDS));
  });
});

it('a table numbers hashes as they come, however many there are', async () => {
  await withSeed(async (random) => {
    const table = new StateTable();
    const all = Array.from({ length: 20_000 }, () => {
      // Few different first words, so that places collide.
      return Int32Array.of(random.below(50), random.below(50), random.below(50), 0);
    });
    const plain = new Map<string, number>();
    for (const words of all) {
      const known = plain.get(words.join()) ?? plain.size;
      plain.set(words.join(), known);
      if (table.number(words) !== known) throw new Error(`${words} is not number ${known}`);
    }
    expect(table.size).toBe(plain.size);
  });
});

it('what is written to a state is not in another, whatever memory its pages came in', () => {
  // A Buffer's slice is the same memory.
  const base = new Map([[0, Buffer.alloc(4096, 1)]]);
  const content = StateContent.over(0, base);
  content.fork().write(512, new Uint8Array(512).fill(2));
  const bytes = new Uint8Array(4096);
  content.read(0, bytes);
  expect(bytes).toEqual(new Uint8Array(4096).fill(1));
});

it('zeroing terabytes costs what was there, and what is not flushed', () => {
  const size = 8 * 1024 ** 4;
  const devices = [{ name: 'a', size }];
  const submit = (number: number, operation: Partial<Operation>) => ({
    kind: 'submit' as const,
    operation: { ...write(0, 0), number, ...operation },
  });
  const data = (number: number, offset: number) =>
    submit(number, { offset, length: SECTOR_BYTES, bytes: new Uint8Array(SECTOR_BYTES).fill(number + 1) });
  const initial = StateContent.over(0, new Map([[2 ** 30, new Uint8Array(4096).fill(9)]]));
  const events = [
    data(0, 3 * SECTOR_BYTES),
    submit(1, { kind: 'trim', bytes: null, offset: 0, length: size }),
    submit(2, { kind: 'write-zeroes', bytes: null, offset: 2 ** 40, length: 2 ** 41 }),
    data(3, 2 ** 40),
  ];
  const walk = new CutWalk({ devices, events }, [initial], PROFILES['sector-512']);
  walk.advance(events.length);
  // A page that was there and the sector that was written; nothing; a sector.
  expect(walk.volatile.map(({ operation, sectors }) => [operation.number, sectors.length])).toEqual([
    [0, 1],
    [1, 9],
    [3, 1],
  ]);
  const state = new KeptWrites(walk);
  expect(state.pieces(1)).toBe(9);
  const at = (offset: number) => {
    const sector = new Uint8Array(SECTOR_BYTES);
    state.contents()[0]!.read(offset, sector);
    return sector[0];
  };
  const seen = () => [3 * SECTOR_BYTES, 2 ** 42, 2 ** 42 + 7 * SECTOR_BYTES].map(at);
  state.keep(0, true);
  expect(seen()).toEqual([1, 9, 9]);
  state.keep(1, true);
  expect(seen()).toEqual([0, 0, 0]);
  // Pieces are counted over what it may change.
  state.tear(new Map([[1, Uint8Array.from({ length: 9 }, (_, piece) => (piece === 8 ? KEPT : LOST))]]));
  expect(seen()).toEqual([1, 9, 0]);
});
