/** A recorded trace, explored with somebody's commands: from the file to what was found. */
import { explore } from '../../crash/explorer.js';
import type { Report } from '../../crash/explorer-report.js';
import type { ExploreOptions } from '../../crash/explorer-subject.js';
import { StateContent } from '../../crash/state-content.js';
import type { StoredTrace } from '../../crash/trace-file/trace-reader.js';
import { CommandSubject } from './command-subject.js';
import { Stages } from './stages.js';
import { assertHoldsUncut } from './uncut.js';

export interface ExploreTraceOptions extends Omit<ExploreOptions, 'atOnce' | 'spared'> {
  readonly check: string;
  /** null: states are checked as they are. */
  readonly recover: string | null;
  /** Commands that run at once. */
  readonly workers: number;
  /** Milliseconds that each may take. */
  readonly limitMs: number;
  /** In which the run makes a folder of its own. */
  readonly directory: string;
  readonly signal: AbortSignal;
  /** For what is thrown and is a fault of ours. */
  readonly onFault: (error: unknown) => void;
}

export interface ExploredTrace {
  readonly report: Report;
  /** How often the check has run. */
  readonly checkRuns: number;
  /** Of these: it wrote to what it was given. */
  readonly writingRuns: number;
}

/**
 * Throws USAGE where the check fails though no power was cut: what it says of cuts would mean nothing; NO_SPACE and the like where states
 * cannot be put on files; the signal's reason.
 */
export async function exploreTrace(trace: StoredTrace, options: ExploreTraceOptions): Promise<ExploredTrace> {
  const { check, recover, workers, limitMs, directory, signal, onFault } = options;
  const stages = await Stages.make({
    ...{ count: workers, directory, limitMs, signal, onFault },
    devices: trace.devices,
  });
  try {
    const initial = initialContents(trace);
    const subject = new CommandSubject({ trace, initial, stages, check, recover });
    await assertHoldsUncut(
      trace,
      subject,
      'Mend the check until it holds there. It finds the disk as $image and $uri, and the marks, one a line, in the file $marks.',
    );
    const report = await explore(subject, { ...options, atOnce: workers });
    return { report, checkRuns: subject.runs.checks, writingRuns: subject.runs.writers };
  } finally {
    await stages.remove();
  }
}

/** What each device held before the trace. */
export function initialContents(trace: StoredTrace): StateContent[] {
  return trace.devices.map((_, device) => StateContent.over(device, trace.base(device)));
}
