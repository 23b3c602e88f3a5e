/**
 * XOR of up to eight sources in one pass, and the search for a place where it is not zero, in WebAssembly
 * SIMD (AssemblyScript; this file is not TypeScript). Only index.ts calls them.
 *
 * - Arguments are addresses in the pool's memory, of any alignment. `length` is a multiple of BLOCK bytes:
 *   what is left over is the caller's.
 * - A target may be one of the sources, because each 16 bytes are read from all before they are written.
 *   It may not overlap one in part.
 * - All sources are read side by side, 16 bytes of each in turn: reading BLOCK bytes of one source after
 *   the other keeps eight sums alive, and V8 spills them (measured at 0.6 of this order's speed).
 * - `count` is always a constant, so that each exported function is compiled for its own number of sources:
 *   a table of pointers in memory cost a quarter of the speed.
 * - No view lies in the pool's first page: the compiler counts on it when it moves the sums `a + 16` into the
 *   loads, and SINK is there.
 * - The switches end in `break`: with `return` Binaryen joins the loops of several counts into one that looks
 *   at the count within, at a fifth of the speed.
 */

const BLOCK: usize = 128;

/**
 * Pointers run this far before the place that they stand for. The compiler moves an addend into a load only
 * while it is written as one, and it writes `a + 64` as `a - -64`; from 80 on a block has no such place.
 */
const AHEAD: usize = 80;

/**
 * What a search has seen so far is written here and read by nobody. Without a store between them V8 puts all
 * loads of a block before all sums, and spills; with it a search of eight sources is 1.7 times as fast. One
 * or two sources fit the registers. Threads that search at once may write here together.
 */
const SINK: usize = 0;

@inline
function xorAt(count: i32, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize): v128 {
  let sum = v128.load(a);
  if (count > 1) sum = v128.xor(sum, v128.load(b));
  if (count > 2) sum = v128.xor(sum, v128.load(c));
  if (count > 3) sum = v128.xor(sum, v128.load(d));
  if (count > 4) sum = v128.xor(sum, v128.load(e));
  if (count > 5) sum = v128.xor(sum, v128.load(f));
  if (count > 6) sum = v128.xor(sum, v128.load(g));
  if (count > 7) sum = v128.xor(sum, v128.load(h));
  return sum;
}

@inline
function storeXorAt(at: usize, count: i32, t: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize): void {
  v128.store(t + at, xorAt(count, a + at, b + at, c + at, d + at, e + at, f + at, g + at, h + at));
}

@inline
function foldAll(count: i32, t: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize, length: usize): void {
  t -= AHEAD;
  a -= AHEAD;
  b -= AHEAD;
  if (count > 2) c -= AHEAD;
  if (count > 3) d -= AHEAD;
  if (count > 4) e -= AHEAD;
  if (count > 5) f -= AHEAD;
  if (count > 6) g -= AHEAD;
  if (count > 7) h -= AHEAD;
  const end = t + length;
  while (t < end) {
    storeXorAt(AHEAD, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 16, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 32, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 48, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 64, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 80, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 96, count, t, a, b, c, d, e, f, g, h);
    storeXorAt(AHEAD + 112, count, t, a, b, c, d, e, f, g, h);
    t += BLOCK;
    a += BLOCK;
    b += BLOCK;
    if (count > 2) c += BLOCK;
    if (count > 3) d += BLOCK;
    if (count > 4) e += BLOCK;
    if (count > 5) f += BLOCK;
    if (count > 6) g += BLOCK;
    if (count > 7) h += BLOCK;
  }
}

@inline
function orXorAt(at: usize, found: v128, count: i32, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize): v128 {
  const more = v128.or(found, xorAt(count, a + at, b + at, c + at, d + at, e + at, f + at, g + at, h + at));
  if (count > 2) v128.store(SINK, more);
  return more;
}

@inline
function searchAll(count: i32, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize, length: usize): usize {
  a -= AHEAD;
  if (count > 1) b -= AHEAD;
  if (count > 2) c -= AHEAD;
  if (count > 3) d -= AHEAD;
  if (count > 4) e -= AHEAD;
  if (count > 5) f -= AHEAD;
  if (count > 6) g -= AHEAD;
  if (count > 7) h -= AHEAD;
  const start = a;
  const end = a + length;
  while (a < end) {
    let found = xorAt(count, a + AHEAD, b + AHEAD, c + AHEAD, d + AHEAD, e + AHEAD, f + AHEAD, g + AHEAD, h + AHEAD);
    found = orXorAt(AHEAD + 16, found, count, a, b, c, d, e, f, g, h);
    found = orXorAt(AHEAD + 32, found, count, a, b, c, d, e, f, g, h);
    found = orXorAt(AHEAD + 48, found, count, a, b, c, d, e, f, g, h);
    found = orXorAt(AHEAD + 64, found, count, a, b, c, d, e, f, g, h);
    found = orXorAt(AHEAD + 80, found, count, a, b, c, d, e, f, g, h);
    found = orXorAt(AHEAD + 96, found, count, a, b, c, d, e, f, g, h);
    found = orXorAt(AHEAD + 112, found, count, a, b, c, d, e, f, g, h);
    if (v128.any_true(found)) break;
    a += BLOCK;
    if (count > 1) b += BLOCK;
    if (count > 2) c += BLOCK;
    if (count > 3) d += BLOCK;
    if (count > 4) e += BLOCK;
    if (count > 5) f += BLOCK;
    if (count > 6) g += BLOCK;
    if (count > 7) h += BLOCK;
  }
  return a - start;
}

/** Target = XOR of the first `count` (2 to 8) of the sources. */
export function fold(count: i32, target: usize, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize, length: usize): void {
  switch (count) {
    case 2: foldAll(2, target, a, b, c, d, e, f, g, h, length); break;
    case 3: foldAll(3, target, a, b, c, d, e, f, g, h, length); break;
    case 4: foldAll(4, target, a, b, c, d, e, f, g, h, length); break;
    case 5: foldAll(5, target, a, b, c, d, e, f, g, h, length); break;
    case 6: foldAll(6, target, a, b, c, d, e, f, g, h, length); break;
    case 7: foldAll(7, target, a, b, c, d, e, f, g, h, length); break;
    case 8: foldAll(8, target, a, b, c, d, e, f, g, h, length); break;
    default: unreachable();
  }
}

/** Offset of the first block in which the XOR of the first `count` (1 to 8) sources is not zero, or `length`. */
export function search(count: i32, a: usize, b: usize, c: usize, d: usize, e: usize, f: usize, g: usize, h: usize, length: usize): usize {
  let found: usize = 0;
  switch (count) {
    case 1: found = searchAll(1, a, b, c, d, e, f, g, h, length); break;
    case 2: found = searchAll(2, a, b, c, d, e, f, g, h, length); break;
    case 3: found = searchAll(3, a, b, c, d, e, f, g, h, length); break;
    case 4: found = searchAll(4, a, b, c, d, e, f, g, h, length); break;
    case 5: found = searchAll(5, a, b, c, d, e, f, g, h, length); break;
    case 6: found = searchAll(6, a, b, c, d, e, f, g, h, length); break;
    case 7: found = searchAll(7, a, b, c, d, e, f, g, h, length); break;
    case 8: found = searchAll(8, a, b, c, d, e, f, g, h, length); break;
    default: unreachable();
  }
  return found;
}
