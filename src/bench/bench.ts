/**
 * What a benchmark is. A bench prepares comparisons; a comparison is one workload that several contenders do
 * on the same bytes; a contender does it once and says how long it took and what exactly it did.
 *
 * - Contenders are measured side by side in one run (measure.ts), because figures of different runs, machines
 *   or hours cannot be compared.
 * - A contender times itself, so that what is not part of the work (talking to a peer process, putting the
 *   files back) is not measured.
 * - Counts are exact and of the timed work alone.
 */

/** Names of counts; what they count in one round. Bytes are integers in counts named `...Bytes`. */
export type Counts = Readonly<Record<string, number>>;

/** Of single requests of a round, in milliseconds. */
export interface Latency {
  readonly p50Ms: number;
  readonly p99Ms: number;
}

export interface Sample {
  readonly seconds: number;
  /** Absent: single requests are not timed. */
  readonly latency?: Latency;
  /** Device reads, writes, barriers and the like. Absent: nothing is counted. */
  readonly counts?: Counts;
}

export interface Contender {
  /** Unique in its comparison. */
  readonly name: string;
  /** Whom it is compared with. Absent: the comparison's baseline. */
  readonly against?: string;
  /** One round's work, wherever it is done. */
  run(): Promise<Sample> | Sample;
}

export interface Comparison {
  /** Unique in its bench: what is done, of what size. */
  readonly title: string;
  /** Bytes of one round, as the user sees them: what speeds are reckoned from. */
  readonly roundBytes: number;
  /** User operations of one round: what counts are divided by. */
  readonly operations: number;
  /** The contender whose speed is 1, or null when nothing can be compared with. */
  readonly baseline: string | null;
  readonly contenders: readonly Contender[];
  /** Puts things back as they were before every round. Not timed. */
  reset?(): Promise<void>;
  /** Gives back what only this comparison holds. */
  close?(): Promise<void> | void;
}

export interface BenchContext {
  /** An empty directory for the bench's files; whoever runs the bench removes it. */
  readonly directory: string;
  /** How long a contender's round should take, in seconds, where the bench can choose. */
  readonly roundSeconds: number;
}

export interface PreparedBench {
  /** Made one after the other, each closed before the next is made. */
  comparisons(): AsyncIterable<Comparison> | Iterable<Comparison>;
  /** For people: what was compared with what, and what was absent. */
  readonly notes: readonly string[];
  close(): Promise<void>;
}

export interface Bench {
  /** As it is typed. */
  readonly name: string;
  readonly title: string;
  prepare(context: BenchContext): Promise<PreparedBench>;
}
