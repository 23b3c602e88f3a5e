/**
 * fio as the client of NBD servers: the same program for all of them, in a process of its own, over one connection.
 *
 * Its clock runs from the first request to the end of the last flush (end_fsync), in whole milliseconds; neither its
 * start nor the handshake is in it. Offsets at random are all others within a run, and the same for the same seed.
 * Source: fio's documentation (HOWTO, "end_fsync", "fsync", "randseed"; its JSON output).
 */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Sample } from './bench.js';

const execute = promisify(execFile);
/** Of what fio prints: a run is some KiB. */
const MAX_OUTPUT_BYTES = 16 * 1024 * 1024;

export interface FioWork {
  readonly access: 'read' | 'write' | 'randread' | 'randwrite';
  readonly requestBytes: number;
  /** Requests in flight. */
  readonly depth: number;
  readonly requests: number;
  /** From the start of the disk: what requests lie in. */
  readonly areaBytes: number;
  /** Whether every write is followed by a flush. */
  readonly flushesEach: boolean;
}

/** What is read of fio's report. Times are in nanoseconds, but for `runtime` (ms). */
interface Percentiles {
  readonly percentile?: Readonly<Record<string, number>>;
}
interface Direction {
  readonly io_bytes: number;
  readonly runtime: number;
  readonly clat_ns: Percentiles;
}
interface Job {
  readonly error: number;
  readonly read: Direction;
  readonly write: Direction;
  readonly sync: { readonly lat_ns: Percentiles };
}

/** Why fio cannot be the client, in words; null: it can. */
export async function whyNoFio(): Promise<string | null> {
  try {
    const { stdout } = await execute('fio', ['--enghelp']);
    return stdout.split(/\s+/).includes('nbd') ? null : 'fio is here without its engine for NBD';
  } catch (error) {
    return `fio cannot be run: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/**
 * One run on the server that listens at `socket`. Latencies are of the requests; where each write is flushed, of the
 * flushes.
 */
export async function runFio(socket: string, work: FioWork, seed: number): Promise<Sample> {
  const bytes = work.requests * work.requestBytes;
  const { stdout } = await execute('fio', optionsOf(socket, work, seed), { maxBuffer: MAX_OUTPUT_BYTES });
  const job = jobOf(stdout);
  const direction = work.access.endsWith('read') ? job.read : job.write;
  if (job.error !== 0 || direction.io_bytes !== bytes || direction.runtime === 0)
    throw new Error(`fio did not move ${bytes} bytes at ${socket}: ${JSON.stringify(direction)}`);
  const { percentile = {} } = work.flushesEach ? job.sync.lat_ns : direction.clat_ns;
  return {
    seconds: direction.runtime / 1000,
    latency: { p50Ms: (percentile['50.000000'] ?? 0) / 1e6, p99Ms: (percentile['99.000000'] ?? 0) / 1e6 },
  };
}

function optionsOf(socket: string, work: FioWork, seed: number): string[] {
  const { access, requestBytes, depth, requests, areaBytes, flushesEach } = work;
  return [
    '--name=nbd',
    '--ioengine=nbd',
    `--uri=nbd+unix:///?socket=${socket}`,
    `--rw=${access}`,
    `--bs=${requestBytes}`,
    `--iodepth=${depth}`,
    `--size=${areaBytes}`,
    `--io_size=${requests * requestBytes}`,
    `--randseed=${seed}`,
    ...(access.endsWith('write') ? ['--end_fsync=1'] : []),
    ...(flushesEach ? ['--fsync=1'] : []),
    '--output-format=json',
  ];
}

/** Before the JSON stands what the engine says of its connection. */
function jobOf(output: string): Job {
  const report = JSON.parse(output.slice(output.indexOf('{'))) as { readonly jobs: readonly [Job] };
  return report.jobs[0];
}
