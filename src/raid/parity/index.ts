/**
 * Parity: the XOR of equally long views, made by SIMD kernels (kernels.as.ts) that work in place on views in
 * the buffer pool's memory, at any alignment.
 *
 * - A view outside the pool is brought through slots inside it, strip by strip. That costs a copy, and is
 *   still several times as fast as JavaScript's typed arrays.
 * - A pass takes up to GROUP sources. More are folded strip by strip, so that the target's strip stays in
 *   the cache from one pass to the next.
 * - What is left over after whole blocks is done by plain.ts.
 * - All of it is synchronous: nobody else uses the slots in between.
 */
import { readFileSync } from 'node:fs';
import { BufferPool } from '../../device/pool.js';
import { packagePath } from '../../package-root.js';
import * as plain from './plain.js';

/** Bytes; the kernels' unit of length (BLOCK in kernels.as.ts). */
const BLOCK = 128;
/** Sources a pass, as the kernels take them. */
const GROUP = 8;
/** GROUP sources and a target of this many bytes fit a second-level cache. */
const STRIP_BYTES = 16 * 1024;

type Operands = [number, number, number, number, number, number, number, number];

interface Kernels {
  fold(...call: [count: number, target: number, ...sources: Operands, length: number]): void;
  search(...call: [count: number, ...sources: Operands, length: number]): number;
}

/** target ^= every source. Equal lengths; no two views overlap. */
export function xorInto(target: Uint8Array, sources: readonly Uint8Array[]): void {
  if (sources.length > 0) xorAll(target, [target, ...sources]);
}

/** target = XOR of all sources, zeroes for none. Equal lengths; no two views overlap. */
export function xorOf(target: Uint8Array, sources: readonly Uint8Array[]): void {
  if (sources.length === 0) target.fill(0);
  else xorAll(target, sources);
}

/** The first offset in bytes at which the XOR of all sources is not zero, or -1. Equal lengths. */
export function firstMismatch(sources: readonly Uint8Array[]): number {
  const first = sources[0];
  if (first === undefined) return -1;
  checkLengths(first.length, sources);
  const whole = first.length - (first.length % BLOCK);
  const block = whole === 0 ? 0 : engine().search(sources, whole);
  if (block === first.length) return -1;
  const at = plain.firstMismatch(sources.map((source) => source.subarray(block, block + BLOCK)));
  return at === -1 ? -1 : block + at;
}

/** The target may be the first source, and no other. At least one source. */
function xorAll(target: Uint8Array, sources: readonly Uint8Array[]): void {
  checkLengths(target.length, sources);
  if (sources.length === 1) {
    target.set(sources[0]!);
    return;
  }
  const whole = target.length - (target.length % BLOCK);
  if (whole > 0) engine().fold(target, sources, whole);
  if (whole < target.length)
    plain.xorOf(
      target.subarray(whole),
      sources.map((source) => source.subarray(whole)),
    );
}

function checkLengths(length: number, sources: readonly Uint8Array[]): void {
  for (const source of sources)
    if (source.length !== length)
      throw new RangeError(
        `Parity of views of different lengths was asked for: ${length} and ${source.length} bytes.`,
      );
}

/** The kernels bound to the pool's memory, and the slots for what lies elsewhere. Lengths are whole blocks. */
class Engine {
  private readonly pool = BufferPool.shared();
  private readonly kernels = instantiate(this.pool);
  /** One an operand. Slot 0 is also the target's or collects a search's groups: a target may be operand 0. */
  private readonly slots = this.pool
    .arena('parity', GROUP * STRIP_BYTES)
    .tryAcquire(GROUP * STRIP_BYTES)!.bytes;
  private readonly slotsAddress = this.pool.address(this.slots);
  /** Addresses for the next pass. */
  private readonly operands: Operands = [0, 0, 0, 0, 0, 0, 0, 0];

  fold(target: Uint8Array, sources: readonly Uint8Array[], length: number): void {
    const inPlace = this.pool.contains(target);
    if (inPlace && this.operateOn(sources)) this.pass(sources.length, target.byteOffset, length);
    else this.foldStrips(target, inPlace, sources, length);
  }

  /** Offset of the first block whose XOR is not zero, or `length`. */
  search(sources: readonly Uint8Array[], length: number): number {
    if (this.operateOn(sources)) return this.searchPass(sources.length, length);
    for (let offset = 0; offset < length; offset += STRIP_BYTES) {
      const strip = Math.min(STRIP_BYTES, length - offset);
      const rest = this.foldGroups(this.slotsAddress, sources, offset, strip);
      const found = this.searchPass(rest, strip);
      if (found < strip) return offset + found;
    }
    return length;
  }

  private foldStrips(
    target: Uint8Array,
    inPlace: boolean,
    sources: readonly Uint8Array[],
    length: number,
  ): void {
    for (let offset = 0; offset < length; offset += STRIP_BYTES) {
      const strip = Math.min(STRIP_BYTES, length - offset);
      const address = inPlace ? target.byteOffset + offset : this.slotsAddress;
      const rest = this.foldGroups(address, sources, offset, strip);
      this.pass(rest, address, strip);
      if (!inPlace) target.set(this.slots.subarray(0, strip), offset);
    }
  }

  /** Makes the sources the operands of a pass over their whole length, if they allow it. */
  private operateOn(sources: readonly Uint8Array[]): boolean {
    if (sources.length > GROUP) return false;
    for (let index = 0; index < sources.length; index++) {
      const source = sources[index]!;
      if (!this.pool.contains(source)) return false;
      this.operands[index] = source.byteOffset;
    }
    return true;
  }

  /**
   * Folds full groups into `target` until one last group remains, whose number of operands it returns;
   * they are in `operands`, what was folded first among them.
   */
  private foldGroups(target: number, sources: readonly Uint8Array[], offset: number, strip: number): number {
    let count = 0;
    for (const source of sources) {
      if (count === GROUP) {
        this.pass(count, target, strip);
        this.operands[0] = target;
        count = 1;
      }
      this.operands[count] = this.place(source, offset, strip, count);
      count++;
    }
    return count;
  }

  /** Where the kernels find this strip of a view: where it lies, or in a slot that it is copied to. */
  private place(view: Uint8Array, offset: number, strip: number, slot: number): number {
    if (this.pool.contains(view)) return view.byteOffset + offset;
    this.slots.set(view.subarray(offset, offset + strip), slot * STRIP_BYTES);
    return this.slotsAddress + slot * STRIP_BYTES;
  }

  private pass(count: number, target: number, length: number): void {
    const [a, b, c, d, e, f, g, h] = this.operands;
    this.kernels.fold(count, target, a, b, c, d, e, f, g, h, length);
  }

  private searchPass(count: number, length: number): number {
    const [a, b, c, d, e, f, g, h] = this.operands;
    return this.kernels.search(count, a, b, c, d, e, f, g, h, length);
  }
}

let theEngine: Engine | null = null;

/** Made at first use: what needs no parity neither reserves memory nor compiles kernels. */
function engine(): Engine {
  theEngine ??= new Engine();
  return theEngine;
}

function instantiate(pool: BufferPool): Kernels {
  const path = packagePath('dist', 'src', 'raid', 'parity', 'kernels.wasm');
  let code: Uint8Array;
  try {
    code = readFileSync(path);
  } catch (cause) {
    throw new Error(`The parity kernels cannot be read from ${path}; npm run build:kernels makes them.`, {
      cause,
    });
  }
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(code), {
    env: { memory: pool.memory },
  });
  return exports as unknown as Kernels;
}
