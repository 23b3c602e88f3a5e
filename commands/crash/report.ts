/** `holdfast crash report`: what crash explore has found, for people and for CI services. */
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { roleFlag } from '../../src/cli/role-flag.js';
import type { RoleOf } from '../../src/crash/coverage.js';
import type { StoredTrace } from '../../src/crash/trace-file/trace-reader.js';
import { fileError } from '../../src/device/device-errors.js';
import { wholeOrNone } from '../../src/device/whole-or-none.js';
import { UserError } from '../../src/errors.js';
import type { FailureFile } from '../../src/lab/explore/failure-file.js';
import type { PageFailure } from '../../src/lab/report/html.js';
import type { JunitRun } from '../../src/lab/report/junit.js';

/** Of each trace that is shown, before the cut. */
const MOST_ROWS = 300;

export default class CrashReport extends HoldfastCommand<typeof CrashReport> {
  static override summary = 'Show what power cuts leave of a recorded disk';
  static override description =
    'Makes a page of what crash explore has kept with --failures: of each failure what the check said, and a timeline of the writes and flushes before the cut, with what became of each. It stands alone, without scripts. With --junit the same as JUnit XML, for CI services.';
  static override examples = [
    '<%= config.bin %> crash report disk.trace --failures found --html report.html --junit report.xml',
  ];
  static override args = {
    trace: Args.string({ required: true, ignoreStdin: true, description: 'the trace' }),
  };
  static override flags = {
    failures: Flags.string({
      required: true,
      helpValue: 'DIR',
      description: 'what crash explore --failures has kept',
    }),
    role: roleFlag(),
    html: Flags.string({ helpValue: 'FILE', description: 'a page; what is there is replaced' }),
    junit: Flags.string({ helpValue: 'FILE', description: 'JUnit XML; what is there is replaced' }),
  };

  protected async execute(): Promise<Outcome> {
    const { html, junit, failures: folder } = this.flags;
    if (html === undefined && junit === undefined)
      throw new UserError('USAGE', 'nothing is asked for', {
        hint: 'Give --html FILE, --junit FILE, or both.',
      });
    const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
    const { readFound } = await import('../../src/lab/report/found.js');
    const { traceRoles } = await import('../../src/lab/volume/trace-roles.js');
    const trace = readTrace(this.args.trace);
    try {
      const { failures, summary } = await readFound(folder, trace);
      const ranges = this.flags.role ?? [];
      const roleOf = await traceRoles(trace, { ranges, directory: tmpdir() });
      const shown = await Promise.all(failures.map((each) => this.#pageFailure(each, trace, roleOf)));
      const files: string[] = [];
      if (html !== undefined) files.push(await this.#html(html, trace, shown, summary?.text ?? null));
      if (junit !== undefined) files.push(await this.#junit(junit, shown, summary));
      return { result: { files, failures: shown.map(({ kind }) => kind) }, text: () => files.join('\n') };
    } finally {
      trace.close();
    }
  }

  async #html(
    path: string,
    { command, createdMs, devices, events }: StoredTrace,
    failures: readonly PageFailure[],
    summary: string | null,
  ): Promise<string> {
    const { pageOf } = await import('../../src/lab/report/html.js');
    const about = { trace: this.args.trace, command, createdMs, devices, events: events.length };
    return replaced(path, pageOf({ ...about, summary, failures }));
  }

  async #junit(path: string, failures: readonly PageFailure[], run: JunitRun | null): Promise<string> {
    const { junitOf } = await import('../../src/lab/report/junit.js');
    return replaced(path, junitOf(this.args.trace, failures, run));
  }

  async #pageFailure(
    { path, failure }: { readonly path: string; readonly failure: FailureFile },
    trace: StoredTrace,
    roleOf: RoleOf | undefined,
  ): Promise<PageFailure> {
    const { timelineOf } = await import('../../src/lab/report/timeline.js');
    const { kind, message, output, marks, point, recovered } = failure;
    const first = recovered?.point ?? point;
    return {
      ...{ kind, message, output, marks, cut: first.cut },
      timeline: timelineOf(trace, first, { most: MOST_ROWS, roleOf }),
      recovery:
        recovered === null ? null : await recoveryOf(join(dirname(path), recovered.trace), point, roleOf),
      replay: `holdfast crash replay ${this.args.trace} --failure ${path} --output IMAGE`,
    };
  }
}

async function recoveryOf(
  path: string,
  point: FailureFile['point'],
  roleOf: RoleOf | undefined,
): Promise<PageFailure['recovery']> {
  const { readTrace } = await import('../../src/crash/trace-file/trace-reader.js');
  const { timelineOf } = await import('../../src/lab/report/timeline.js');
  const recovery = readTrace(path);
  try {
    return timelineOf(recovery, point, { most: MOST_ROWS, roleOf });
  } finally {
    recovery.close();
  }
}

async function replaced(path: string, text: string): Promise<string> {
  try {
    await wholeOrNone(path, () => writeFile(path, text));
  } catch (error) {
    throw fileError(path, 'written', error);
  }
  return path;
}
