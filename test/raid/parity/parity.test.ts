import { fc, test } from '@fast-check/vitest';
import { afterAll, describe, expect } from 'vitest';
import { BufferPool } from '../../../src/device/pool.js';
import { firstMismatch, xorInto, xorOf } from '../../../src/raid/parity/index.js';
import * as plain from '../../../src/raid/parity/plain.js';

const seed = process.env.HOLDFAST_SEED === undefined ? {} : { seed: Number(process.env.HOLDFAST_SEED) };
const LONGEST = 40 * 1024;
const MOST = 64;
/** Room for every view with 64 bytes before and after it, which must stay as they are. */
const ROOM = LONGEST + 256;
const GUARD = 0xa5;

const arena = BufferPool.shared().arena('parity test', (MOST + 1) * ROOM);
const inside = arena.tryAcquire((MOST + 1) * ROOM)!;
const outside = new Uint8Array((MOST + 1) * ROOM);

afterAll(() => {
  inside.release();
  arena.close();
});

/** Where a view lies: in the pool or not, and how far from a page (or from 8 bytes, outside). */
interface Place {
  readonly pooled: boolean;
  readonly shift: number;
}

interface Case {
  readonly length: number;
  readonly places: readonly Place[];
  readonly target: Place;
  readonly salt: number;
}

const place = fc.record({ pooled: fc.boolean(), shift: fc.integer({ min: 0, max: 130 }) });
const pooledPlace = fc.record({ pooled: fc.constant(true), shift: fc.integer({ min: 0, max: 130 }) });
const length = fc.oneof(
  fc.integer({ min: 0, max: 600 }),
  fc.integer({ min: 1, max: LONGEST }),
  fc.constantFrom(4096, 16384, 16384 + 128, 32768, 32768 + 1),
);

function cases(where: fc.Arbitrary<Place>, most: number): fc.Arbitrary<Case> {
  return fc.record({ length, places: fc.array(where, { maxLength: most }), target: where, salt: fc.nat() });
}

const anyCase = fc.oneof(
  cases(place, 10),
  cases(pooledPlace, 10),
  cases(place, MOST),
  cases(pooledPlace, MOST),
);

/** The view for slot `index`, with a guard around it. */
function view(index: number, { pooled, shift }: Place, bytes: number): Uint8Array {
  const home = pooled ? inside.bytes : outside;
  const start = index * ROOM + 64;
  home.fill(GUARD, start - 64, start + shift + bytes + 62);
  return home.subarray(start + shift, start + shift + bytes);
}

/** Repeatable, and without the short periods that would hide a shifted read. */
function fill(bytes: Uint8Array, salt: number): void {
  let state = (salt * 2654435761 + 1) >>> 0;
  for (let at = 0; at < bytes.length; at++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[at] = state >>> 24;
  }
}

function lay({ length: bytes, places, target, salt }: Case): { views: Uint8Array[]; into: Uint8Array } {
  const views = places.map((where, index) => view(index, where, bytes));
  views.forEach((each, index) => {
    fill(each, salt + index);
  });
  const into = view(MOST, target, bytes);
  fill(into, salt + MOST);
  return { views, into };
}

/** The guards around the view, from 32 bytes before it to 32 after it. */
function guards(bytes: Uint8Array): Uint8Array {
  const around = new Uint8Array(bytes.buffer, bytes.byteOffset - 32, bytes.length + 64).slice();
  around.fill(GUARD, 32, 32 + bytes.length);
  return around;
}

/** The XOR a bit at a time, so that it shares nothing with what it checks. */
function naive(views: readonly Uint8Array[], at: number): number {
  let byte = 0;
  for (let bit = 1; bit < 256; bit *= 2)
    if (views.filter((each) => Math.floor(each[at]! / bit) % 2 === 1).length % 2 === 1) byte += bit;
  return byte;
}

function same(got: Uint8Array, wanted: Uint8Array): void {
  expect(Buffer.compare(got, wanted)).toBe(0);
}

describe('plain', () => {
  const small = fc.array(fc.uint8Array({ minLength: 20, maxLength: 20 }), { maxLength: 12 });

  test.prop([small], seed)('agrees with the XOR of bits', (views) => {
    const target = new Uint8Array(20).fill(GUARD);
    plain.xorOf(target, views);
    expect([...target]).toEqual([...target].map((_, at) => naive(views, at)));
    const differs = [...target].findIndex((byte) => byte !== 0);
    expect(plain.firstMismatch(views)).toBe(differs);
  });

  test('finds a difference in the last byte, and none in equal views', () => {
    const [one, two] = [new Uint8Array(9).fill(3), new Uint8Array(9).fill(3)];
    expect(plain.firstMismatch([one, two])).toBe(-1);
    two[8] = 4;
    expect(plain.firstMismatch([one, two])).toBe(8);
  });
});

describe('the kernels', () => {
  test.prop([anyCase], { ...seed, numRuns: 300 })('make the same target as plain', (which) => {
    const { views, into } = lay(which);
    const before = views.map((each) => each.slice());
    const wanted = new Uint8Array(which.length);
    plain.xorOf(wanted, views);
    xorOf(into, views);
    same(into, wanted);
    same(guards(into), new Uint8Array(which.length + 64).fill(GUARD));
    views.forEach((each, index) => {
      same(each, before[index]!);
    });
  });

  test.prop([anyCase], { ...seed, numRuns: 300 })('fold into a target as plain does', (which) => {
    const { views, into } = lay(which);
    const wanted = new Uint8Array(which.length);
    plain.xorOf(wanted, [into.slice(), ...views]);
    xorInto(into, views);
    same(into, wanted);
    same(guards(into), new Uint8Array(which.length + 64).fill(GUARD));
  });

  test.prop([anyCase, fc.nat(), fc.nat(), fc.integer({ min: 1, max: 255 })], { ...seed, numRuns: 300 })(
    'find the first of differences, wherever they are',
    (which, where, whose, flip) => {
      const { views } = lay(which);
      const last = views.at(-1);
      if (last === undefined || which.length === 0) return;
      xorOf(last, views.slice(0, -1));
      expect(firstMismatch(views)).toBe(-1);
      const at = where % which.length;
      const changed = views[whose % views.length]!;
      changed[at]! ^= flip;
      changed[which.length - 1]! ^= at === which.length - 1 ? 0 : flip;
      expect(firstMismatch(views)).toBe(at);
      expect(plain.firstMismatch(views)).toBe(at);
    },
  );

  test('every count of sources up to the most there can be, in place and not', () => {
    for (let count = 0; count <= MOST; count++)
      for (const pooled of [true, false]) {
        const places = new Array<Place>(count).fill({ pooled, shift: 0 });
        const { views, into } = lay({ length: 384, places, target: { pooled, shift: 0 }, salt: count });
        xorOf(into, views);
        expect(firstMismatch([...views, into])).toBe(-1);
        expect([...into.subarray(0, 3)]).toEqual([0, 1, 2].map((at) => naive(views, at)));
      }
  });

  test('no sources: zeroes are made, nothing is folded, nothing differs', () => {
    const target = new Uint8Array(300).fill(7);
    xorInto(target, []);
    expect(target.every((byte) => byte === 7)).toBe(true);
    xorOf(target, []);
    expect(target.every((byte) => byte === 0)).toBe(true);
    expect(firstMismatch([])).toBe(-1);
  });

  test('views of different lengths are refused before a byte changes', () => {
    const target = new Uint8Array(256).fill(7);
    for (const sources of [[new Uint8Array(255)], [new Uint8Array(256).fill(1), new Uint8Array(512)]]) {
      expect(() => xorOf(target, sources)).toThrow(RangeError);
      expect(() => xorInto(target, sources)).toThrow(RangeError);
      expect(() => firstMismatch([target, ...sources])).toThrow(RangeError);
    }
    expect(target.every((byte) => byte === 7)).toBe(true);
  });
});
