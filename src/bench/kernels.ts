/**
 * The parity kernels, in place, beside the C that `-O3 -march=native` makes of plain loops.
 *
 * What was tried on the way to them (two cores of an AMD EPYC with 32 KiB, 1 MiB and 32 MiB of cache, Node
 * 20.20, gcc 12.2, which used 256-bit registers; speeds over C's, at 64 KiB a source unless said otherwise):
 * - Addresses of the sources in a table in memory, read in an inner loop, 128 bytes a step: 0.72 to 0.77.
 * - A function for each number of sources, 128 bytes of one source after the other: 0.56 to 0.89. It keeps
 *   eight sums alive, and V8 spills them; 64 bytes at a time: 0.67 to 1.03.
 * - All sources side by side, 16 bytes of each in turn, 64 bytes a step: 0.82 to 1.15; 128 bytes a step: 0.89
 *   to 1.13; 256: no better. XOR as a tree in place of a chain: no difference.
 * - The same from AssemblyScript with inlined helpers: 0.82 to 0.97, because Binaryen writes `a + 64` as
 *   `a - -64` and then no longer moves it into the load. With pointers that run ahead: 0.90 to 0.97.
 * - One exported function with a switch in place of one for each number of sources called with a spread:
 *   0.92 to 0.98, and at 4 KiB 0.45 in place of 0.33: calls count there.
 * - The search, whose switch returned: 0.1 to 0.5, because Binaryen made one loop of several. With `break`: 0.5
 *   to 0.9, the less the more sources, because V8 put all loads before all sums. With a store between the
 *   rows: 0.76 to 0.95.
 * - Views looked at once in place of three times on the way to a kernel: 0.27 in place of 0.18 at 4 KiB. What
 *   remains is the getter of each view's `buffer` and the narrower registers (kernels alone: 0.4 to 0.55).
 *
 * Copying views that lie elsewhere into the pool reaches 0.2. JavaScript's typed arrays reach 0.005 to 0.1,
 * and change by a factor of ten with the types that a function has seen before: they are not used for speed.
 */
import { Buffer } from 'node:buffer';
import { BufferPool } from '../device/pool.js';
import { packagePath } from '../package-root.js';
import { firstMismatch, xorOf } from '../raid/parity/index.js';
import * as plain from '../raid/parity/plain.js';
import type { Bench, BenchContext, Comparison, Contender, PreparedBench, Sample } from './bench.js';
import { type CPeer, startCPeer } from './c-peer.js';

const KIB = 1024;
const SIZES = [4 * KIB, 64 * KIB, 1024 * KIB, 16 * 1024 * KIB];
const SOURCES = [2, 3, 4, 5, 6, 7, 8];
/** What a scrub of a small, a usual and a large array does. */
const SEARCHED_SOURCES = [3, 5, 8];
/** Kernels do about this many bytes a second: good enough to choose how often a round repeats the work. */
const GUESSED_SPEED = 40e9;
/** V8 compiles anew, in the background, what runs often: before that the figures are another compiler's. */
const WARM_UP_SECONDS = 0.5;

interface Workload {
  readonly sources: number;
  /** Of each source. */
  readonly bytes: number;
  readonly repeats: number;
}

export const kernels: Bench = {
  name: 'kernels',
  title: 'Parity kernels (WebAssembly SIMD, in place) against C',
  async prepare({ directory, roundSeconds }: BenchContext): Promise<PreparedBench> {
    const found = await startCPeer(packagePath('src', 'bench', 'kernels-peer.c'), directory);
    const peer = 'peer' in found ? found.peer : null;
    const against = 'peer' in found ? `C is ${found.compiler}.` : `Nothing to compare with: ${found.reason}.`;
    warmUp(Math.min(WARM_UP_SECONDS, 100 * roundSeconds));
    return {
      comparisons: () => comparisons(peer, roundSeconds),
      notes: [
        against,
        'Speeds count the bytes of the sources. The last rows compare with the kernels in place.',
      ],
      close: async () => peer?.close(),
    };
  },
};

function* comparisons(peer: CPeer | null, roundSeconds: number): Iterable<Comparison> {
  const workload = (sources: number, bytes: number): Workload => ({
    sources,
    bytes,
    repeats: Math.max(1, Math.round((roundSeconds * GUESSED_SPEED) / (sources * bytes))),
  });
  for (const bytes of SIZES) for (const n of SOURCES) yield xorComparison(peer, workload(n, bytes));
  for (const bytes of SIZES)
    for (const n of SEARCHED_SOURCES) yield searchComparison(peer, workload(n, bytes));
  yield elsewhereComparison(workload(4, 64 * KIB));
}

function xorComparison(peer: CPeer | null, work: Workload): Comparison {
  const { views, target, close } = lay(work);
  const ours = { name: 'kernel', run: () => timed(work, () => xorOf(target, views)) };
  return compared(`xor of ${described(work)}`, work, peer, 'xor', ours, close);
}

function searchComparison(peer: CPeer | null, work: Workload): Comparison {
  const { views, close } = lay(work);
  const ours = { name: 'kernel', run: () => timed(work, () => mustMatch(firstMismatch(views))) };
  return compared(`first mismatch of ${described(work)}`, work, peer, 'mismatch', ours, close);
}

function compared(
  title: string,
  work: Workload,
  peer: CPeer | null,
  what: 'xor' | 'mismatch',
  ours: Contender,
  close: () => void,
): Comparison {
  const { sources, bytes, repeats } = work;
  const theirs: Contender[] =
    peer === null
      ? []
      : [
          {
            name: 'C',
            run: async () => ({ seconds: (await peer.ask(`${what} ${sources} ${bytes} ${repeats}`)) / 1e9 }),
          },
        ];
  return {
    title,
    roundBytes: sources * bytes * repeats,
    operations: repeats,
    baseline: theirs[0]?.name ?? null,
    contenders: [...theirs, ours],
    close,
  };
}

/** What it costs when views do not lie in the pool, and what JavaScript would do. */
function elsewhereComparison(full: Workload): Comparison {
  const work = { ...full, repeats: Math.max(1, Math.round(full.repeats / 10)) };
  const { views, target, close } = lay(work);
  const copies = views.map((view) => Buffer.alloc(view.length));
  const other = Buffer.alloc(target.length);
  return {
    title: `xor of ${described(work)}, not in the pool`,
    roundBytes: work.sources * work.bytes * work.repeats,
    operations: work.repeats,
    baseline: 'in place',
    contenders: [
      { name: 'in place', run: () => timed(work, () => xorOf(target, views)) },
      { name: 'copied in', run: () => timed(work, () => xorOf(other, copies)) },
      { name: 'plain', run: () => timed(work, () => plain.xorOf(other, copies)) },
    ],
    close,
  };
}

interface Layout {
  readonly views: readonly Uint8Array[];
  readonly target: Uint8Array;
  close(): void;
}

/** Zeroes for sources and a target, one after the other in the pool, as the peer has them. */
function lay({ sources, bytes }: Workload): Layout {
  const all = (sources + 1) * bytes;
  const arena = BufferPool.shared().arena('bench of kernels', all);
  const buffer = arena.tryAcquire(all)!;
  const memory = buffer.bytes.fill(0);
  const views = Array.from({ length: sources }, (_, index) =>
    memory.subarray(index * bytes, (index + 1) * bytes),
  );
  const close = (): void => {
    buffer.release();
    arena.close();
  };
  return { views, target: memory.subarray(sources * bytes), close };
}

function timed({ repeats }: Workload, work: () => void): Sample {
  const start = process.hrtime.bigint();
  for (let done = 0; done < repeats; done++) work();
  return { seconds: Number(process.hrtime.bigint() - start) / 1e9 };
}

function warmUp(seconds: number): void {
  const end = performance.now() + seconds * 1000;
  const small = SOURCES.map((sources) => lay({ sources, bytes: 16 * KIB, repeats: 1 }));
  do
    for (const { views, target } of small) {
      xorOf(target, views);
      mustMatch(firstMismatch(views));
    }
  while (performance.now() < end);
  for (const { close } of small) close();
}

function mustMatch(at: number): void {
  if (at !== -1) throw new Error(`A mismatch was found at ${at}, where everything is zero.`);
}

function described({ sources, bytes }: Workload): string {
  return bytes < 1024 * KIB ? `${sources} x ${bytes / KIB} KiB` : `${sources} x ${bytes / (1024 * KIB)} MiB`;
}
