/** `holdfast bench`: measures side by side with peers, and keeps the report. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import type { Counts } from '../src/bench/bench.js';
import type { ComparisonResult, ContenderResult, Spread } from '../src/bench/measure.js';
import type { BenchReport, BenchResult } from '../src/bench/report.js';
import { HoldfastCommand, type Outcome } from '../src/cli/base-command.js';
import type { Painter } from '../src/cli/colour.js';
import { countFlag } from '../src/cli/flags.js';
import { formatRoundedSize } from '../src/cli/sizes.js';
import { type Row, renderTable, type Table } from '../src/cli/tables.js';

/** Seconds that a contender takes for a round, where the bench can choose. */
const ROUND_SECONDS = 0.005;

export default class BenchCommand extends HoldfastCommand<typeof BenchCommand> {
  static override summary = 'Measure holdfast side by side with its peers';
  static override description =
    'Contenders take turns in one run, so that their ratios hold whatever else the machine does. Shown are medians and, for ratios, the spread over the rounds; the whole report is kept as JSON.';
  static override examples = ['<%= config.bin %> bench', '<%= config.bin %> bench kernels --rounds 21'];

  static override args = {
    name: Args.string({
      required: false,
      multiple: true,
      ignoreStdin: true,
      description: 'benchmarks to run; all of them where none is named',
    }),
  };

  static override flags = {
    rounds: countFlag({
      default: 11,
      min: 1,
      max: 10_000,
      description: 'measured rounds of each comparison',
    }),
    output: Flags.string({
      helpValue: 'FILE',
      description: 'where to keep the report [default: bench-results/<date>.json]',
    }),
    directory: Flags.string({
      helpValue: 'DIR',
      description: "where the benchmarks' files are made while they run [default: the temporary directory]",
    }),
  };

  protected async execute(): Promise<Outcome> {
    const { chooseBenches } = await import('../src/bench/registry.js');
    const { defaultReportPath, runBenches, saveReport } = await import('../src/bench/report.js');
    const { rounds, directory, output } = this.flags;
    const benches = chooseBenches(this.args.name ?? []);
    const report = await runBenches(benches, {
      rounds,
      roundSeconds: ROUND_SECONDS,
      directory,
      signal: this.signal,
      onResult: (bench, { title }) => tell(`${bench.name}: ${title}`),
    });
    tell('');
    const reportFile = output ?? defaultReportPath(report);
    await saveReport(report, reportFile);
    return { result: { ...report, reportFile }, text: (paint) => describeReport(report, reportFile, paint) };
  }
}

/** What was done last, on a line of the terminal that the next one takes. */
function tell(what: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${what}`);
}

async function describeReport(report: BenchReport, file: string, paint: Painter): Promise<string> {
  const { processor, processors, node, loadBefore, loadAfter } = report.machine;
  const load = `load ${loadBefore} before, ${loadAfter} after`;
  const parts = [`${processor}, ${processors} processors, Node ${node}; ${load}`];
  for (const bench of report.benches) parts.push(await describeBench(bench, paint));
  parts.push(`The report is in ${file}.`);
  return parts.join('\n\n');
}

async function describeBench(bench: BenchResult, paint: Painter): Promise<string> {
  const { title, notes, comparisons } = bench;
  const tables = [speeds(comparisons), latencies(comparisons), ...counts(comparisons)].filter(
    (table) => table.rows.length > 0,
  );
  const shown = await Promise.all(tables.map((table) => renderTable(table, paint)));
  return [paint('strong', title), notes.join('\n'), ...shown].join('\n\n');
}

function speeds(comparisons: readonly ComparisonResult[]): Table {
  return {
    head: ['work', 'what', 'time', 'speed', 'against', 'its speed', 'ratio', 'quartiles', 'all rounds'],
    rows: comparisons.flatMap(speedRows),
  };
}

/** One a contender, beside whom it is compared with; or one for each where there is nobody. */
function speedRows({ title, baseline, contenders }: ComparisonResult): Row[] {
  return contenders
    .filter(({ name }) => name !== baseline)
    .map(({ name, seconds, speedBytes, against, ratio }) => {
      const base = contenders.find((contender) => contender.name === against);
      return [
        title,
        name,
        milliseconds(1000 * seconds.median),
        speed(speedBytes),
        ...(base === undefined || ratio === null
          ? ['-', '-', '-', '-', '-']
          : [base.name, speed(base.speedBytes), ...ratioCells(ratio)]),
      ];
    });
}

/** Medians over the rounds, of everybody whose requests were timed. */
function latencies(comparisons: readonly ComparisonResult[]): Table {
  const row = (title: string, { name, latency }: ContenderResult): Row[] =>
    latency === null
      ? []
      : [[title, name, milliseconds(latency.p50Ms.median), milliseconds(latency.p99Ms.median)]];
  return {
    head: ['latency', 'what', 'p50', 'p99'],
    rows: comparisons.flatMap(({ title, contenders }) => contenders.flatMap((each) => row(title, each))),
  };
}

function milliseconds(value: number): string {
  return `${value < 1000 ? value.toPrecision(3) : Math.round(value)} ms`;
}

function ratioCells({ median, lowerQuartile, upperQuartile, min, max }: Spread): string[] {
  return [
    figure(median),
    `${figure(lowerQuartile)}..${figure(upperQuartile)}`,
    `${figure(min)}..${figure(max)}`,
  ];
}

interface Counted {
  readonly title: string;
  readonly name: string;
  readonly counts: Counts;
}

/** A table for all that have the same counts: else most of its cells would be empty. */
function counts(comparisons: readonly ComparisonResult[]): Table[] {
  const counted = comparisons.flatMap(({ title, contenders }) =>
    contenders.map(({ name, countsPerOperation }) => ({ title, name, counts: countsPerOperation })),
  );
  const alike = new Map<string, Counted[]>();
  for (const each of counted) {
    const names = Object.keys(each.counts).join();
    if (names !== '') alike.set(names, [...(alike.get(names) ?? []), each]);
  }
  return [...alike.values()].map(countTable);
}

function countTable(counted: readonly Counted[]): Table {
  const names = Object.keys(counted[0]!.counts);
  return {
    head: ['counts of one operation', 'what', ...names.map(inWords)],
    rows: counted.map((each) => [
      each.title,
      each.name,
      ...names.map((name) => countCell(name, each.counts[name]!)),
    ]),
  };
}

/** `readBytes` is `read bytes`. */
function inWords(name: string): string {
  return name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function countCell(name: string, value: number): string {
  return name.endsWith('Bytes') && value > 0 ? formatRoundedSize(value) : figure(value);
}

function speed(bytesASecond: number): string {
  return `${formatRoundedSize(bytesASecond)}/s`;
}

/**
 * Whole numbers as they are, others with two places, or four where two would say a whole number; small ones with two
 * digits that say something.
 */
function figure(value: number): string {
  if (Number.isInteger(value)) return String(value);
  if (value < 0.1) return value.toPrecision(2);
  const short = value.toFixed(2);
  return short.endsWith('.00') ? value.toFixed(4) : short;
}
