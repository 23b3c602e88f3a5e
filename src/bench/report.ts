/**
 * Runs benches and gathers what they found, with the facts about the machine without which figures mean
 * nothing, into one report that can be kept as JSON and read again.
 */
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, loadavg, release, tmpdir, totalmem } from 'node:os';
import { dirname, join } from 'node:path';
import { UserError } from '../errors.js';
import type { Bench } from './bench.js';
import { type ComparisonResult, measure } from './measure.js';

const REPORT_VERSION = 1;

export interface BenchResult {
  readonly name: string;
  readonly title: string;
  readonly notes: readonly string[];
  readonly comparisons: readonly ComparisonResult[];
}

export interface BenchReport {
  readonly reportVersion: number;
  /** ISO 8601, UTC; when it began. */
  readonly date: string;
  readonly machine: {
    readonly processor: string;
    readonly processors: number;
    readonly memoryBytes: number;
    readonly kernel: string;
    readonly node: string;
    readonly v8: string;
    /** What else ran when it began, and what ran at its end: the system's load average of the last minute. */
    readonly loadBefore: number;
    readonly loadAfter: number;
  };
  readonly benches: readonly BenchResult[];
}

export interface BenchOptions {
  /** Measured rounds of each comparison. */
  readonly rounds: number;
  /** Seconds; see BenchContext. */
  readonly roundSeconds: number;
  /** Where the benches' files are made, in a directory of their own. Absent: the system's temporary one. */
  readonly directory?: string | undefined;
  readonly signal?: AbortSignal;
  /** Told of every comparison when it is done. */
  readonly onResult?: (bench: Bench, result: ComparisonResult) => void;
}

/** Runs the benches in order. Their files are removed, whatever happens. */
export async function runBenches(benches: readonly Bench[], options: BenchOptions): Promise<BenchReport> {
  const date = new Date().toISOString();
  const loadBefore = load();
  const results: BenchResult[] = [];
  for (const bench of benches) results.push(await runBench(bench, options));
  return {
    reportVersion: REPORT_VERSION,
    date,
    machine: { ...machine(), loadBefore, loadAfter: load() },
    benches: results,
  };
}

/** Where a report is kept unless its user says otherwise: below the current directory, by its date. */
export function defaultReportPath(report: BenchReport): string {
  return join('bench-results', `${report.date.replaceAll(':', '-')}.json`);
}

/**
 * Keeps the report as JSON, in a directory that is made if it is not there.
 * @throws UserError IO_ERROR with the path and what the system said.
 */
export async function saveReport(report: BenchReport, path: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, `${JSON.stringify(report, null, 2)}\n`);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UserError('IO_ERROR', `The report cannot be written to ${path}: ${why}`, {
      hint: 'name another file with --output',
      cause,
    });
  }
}

async function runBench(bench: Bench, options: BenchOptions): Promise<BenchResult> {
  const { rounds, roundSeconds, signal, onResult } = options;
  const directory = await makeDirectory(options.directory ?? tmpdir());
  try {
    const prepared = await bench.prepare({ directory, roundSeconds });
    try {
      const comparisons: ComparisonResult[] = [];
      for await (const comparison of prepared.comparisons()) {
        try {
          comparisons.push(await measure(comparison, rounds, signal));
        } finally {
          await comparison.close?.();
        }
        onResult?.(bench, comparisons.at(-1)!);
      }
      return { name: bench.name, title: bench.title, notes: prepared.notes, comparisons };
    } finally {
      await prepared.close();
    }
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function makeDirectory(parent: string): Promise<string> {
  try {
    return await mkdtemp(join(parent, 'holdfast-bench-'));
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new UserError('IO_ERROR', `No directory can be made in ${parent}: ${why}`, {
      hint: 'name another one with --directory',
      cause,
    });
  }
}

function load(): number {
  return Math.round(loadavg()[0]! * 100) / 100;
}

function machine(): Omit<BenchReport['machine'], 'loadBefore' | 'loadAfter'> {
  const processors = cpus();
  return {
    processor: processors[0]?.model.trim() ?? 'unknown',
    processors: processors.length,
    memoryBytes: totalmem(),
    kernel: release(),
    node: process.version,
    v8: process.versions.v8,
  };
}
