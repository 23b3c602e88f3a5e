/** `holdfast fsck`: checks every layer of a volume and repairs what is chosen, with the exit codes of fsck(8). */
import * as Flags from '@oclif/core/flags';
import { type Finding, type RepairName, repairOf, type Severity, type Where } from '../src/check/findings.js';
import type { Outcome } from '../src/cli/base-command.js';
import type { Painter, Tone } from '../src/cli/colour.js';
import type { ReportedCode } from '../src/cli/exit-codes.js';
import { forceFlag, recordFlag, volumesArgument } from '../src/cli/flags.js';
import { printable } from '../src/cli/printable.js';
import { canAsk, confirm } from '../src/cli/prompts.js';
import { formatSize } from '../src/cli/sizes.js';
import { VolumeCommand } from '../src/cli/volume-command.js';
import { UserError } from '../src/errors.js';
import type { FsckReport, ReportedFinding, RevertedVolume } from '../src/volume/index.js';

/** Those of fsck(8), added up. */
const FSCK_EXIT = {
  clean: 0,
  corrected: 1,
  uncorrected: 4,
  operational: 8,
  usage: 16,
  cancelled: 32,
} as const;

const TONES: Readonly<Record<Severity, Tone>> = {
  info: 'faint',
  warning: 'doubtful',
  error: 'bad',
  fatal: 'bad',
};

type Choose = (repair: RepairName, findings: readonly Finding[]) => Promise<boolean>;

export default class Fsck extends VolumeCommand<typeof Fsck> {
  static override summary = 'Check every layer of a volume, and repair what is chosen';
  static override description =
    'Looks at superblocks, records, maps and logs; --scrub reads all data and checks parity too. A look writes nothing. docs/findings.md explains every finding: what it means, what causes it, what its repair does and what it can lose.';
  static override examples = [
    '<%= config.bin %> fsck -n myvolume',
    '<%= config.bin %> fsck -p myvolume --undo before.undo',
    '<%= config.bin %> fsck myvolume --revert before.undo',
  ];
  static override exitCodes = {
    '0': 'nothing is wrong',
    '1': 'what was wrong is repaired',
    '4': 'something is left as it is; 1, 4 and 32 are added up',
    '8': 'it could not be checked or repaired',
    '16': 'wrong usage, or nobody is there to ask',
    '32': 'interrupted',
  };
  static override args = { volume: volumesArgument };
  static override flags = {
    look: Flags.boolean({ char: 'n', description: 'look only, and write nothing' }),
    safe: Flags.boolean({ char: 'p', description: 'repair without asking what is safe: what loses nothing' }),
    yes: Flags.boolean({ char: 'y', description: 'repair all that can be repaired, without asking' }),
    scrub: Flags.boolean({ description: 'read all data too, and check its parity' }),
    undo: Flags.string({
      helpValue: 'FILE',
      description: 'keep what is overwritten in this file, which is made',
    }),
    revert: Flags.string({ helpValue: 'FILE', description: 'put back what an undo file has kept' }),
    force: forceFlag(
      'with -y, or asked: start a volume that is dirty and degraded too; with --revert: though images were changed since',
    ),
    record: recordFlag,
  };

  protected override exitCodeFor(code: ReportedCode): number {
    if (code === 'USAGE' || code === 'CONFIRMATION_REQUIRED') return FSCK_EXIT.usage;
    return code === 'INTERRUPTED' ? FSCK_EXIT.cancelled : FSCK_EXIT.operational;
  }

  protected async execute(): Promise<Outcome> {
    const { revert, undo, scrub, record } = this.flags;
    this.#checkFlags();
    if (revert !== undefined) return this.#revert(revert);
    const choose = this.#chooser();
    if (choose === null && undo !== undefined) {
      throw new UserError('USAGE', '-n writes nothing: there is nothing that --undo could keep');
    }
    const { fsckVolume } = await import('../src/volume/index.js');
    const report = await fsckVolume(this.args.volume, {
      scrub,
      choose,
      undo,
      record,
      warn: (message) => void this.warn(message),
      sweeping: (label, work) => this.sweeping(label, work),
    });
    const { findings, ...rest } = report;
    return {
      result: { findings: findings.map(shown), ...rest },
      exitCode: exitCodeOf(report),
      text: (paint) => describe(report, paint),
    };
  }

  #checkFlags(): void {
    const { look, safe, yes, revert, undo, scrub } = this.flags;
    if ([look, safe, yes].filter(Boolean).length > 1) {
      throw new UserError('USAGE', 'only one of -n, -p and -y can be meant');
    }
    if (revert !== undefined && (look || safe || scrub || undo !== undefined)) {
      throw new UserError(
        'USAGE',
        '--revert puts back and does nothing else: -n, -p, --scrub and --undo have no part in it',
      );
    }
  }

  /** null: look only. */
  #chooser(): Choose | null {
    const { look, safe, yes, force } = this.flags;
    if (look) return null;
    if (safe) return (repair) => Promise.resolve(repairOf(repair).isSafe);
    const isAllowed = (repair: RepairName): boolean => force || !repairOf(repair).wantsForce;
    if (yes) return (repair) => Promise.resolve(isAllowed(repair));
    if (!canAsk()) {
      throw new UserError('USAGE', 'nobody is at a terminal to be asked, and nothing was done', {
        hint: 'add -n to look only, -p to repair what is safe, or -y to repair all',
      });
    }
    return async (repair, findings) => {
      if (!isAllowed(repair)) return false;
      process.stderr.write(`${printable(offer(repair, findings))}\n`);
      return confirm('Repair it?', this.signal);
    };
  }

  async #revert(file: string): Promise<Outcome> {
    const { revertVolume } = await import('../src/volume/index.js');
    const { force, record } = this.flags;
    const { reverted, findings } = await revertVolume(this.args.volume, file, {
      force,
      record,
      warn: (message) => void this.warn(message),
    });
    if (reverted.isTorn) {
      this.warn(
        `${file} ends amid an entry: the repair was cut off there, and had not overwritten what that entry was for`,
      );
    }
    const left = findings.map((found) => ({ ...found, repaired: false }));
    const report: FsckReport = { findings: left, repairs: [], undo: null, isInterrupted: false };
    return {
      result: { findings: left.map(shown), reverted },
      exitCode: exitCodeOf(report),
      text: (paint) => `${describeRevert(file, reverted)}\n\n${describe(report, paint)}`,
    };
  }
}

function describeRevert(file: string, { images, restoredBytes }: RevertedVolume): string {
  return `${formatSize(restoredBytes)} of ${images.length} images are put back from ${file}: ${images.join(', ')}`;
}

/** What scripts rely on, and more: the repair that is offered, in words. */
function shown(found: ReportedFinding): object {
  const { repair } = found;
  return { ...found, repair: repair === null ? null : { name: repair, ...repairOf(repair) } };
}

function exitCodeOf({ findings, isInterrupted }: FsckReport): number {
  const counted = findings.filter(({ severity }) => severity !== 'info');
  return (
    (counted.some(({ repaired }) => repaired) ? FSCK_EXIT.corrected : 0) +
    (counted.some(({ repaired }) => !repaired) ? FSCK_EXIT.uncorrected : 0) +
    (isInterrupted ? FSCK_EXIT.cancelled : 0)
  );
}

function offer(repair: RepairName, findings: readonly Finding[]): string {
  const { does, loses } = repairOf(repair);
  const price = loses === '' ? 'Nothing is lost by it.' : `It can lose ${loses}.`;
  return ['', ...findings.map(lineOf), `The repair: ${does}.`, price].join('\n');
}

function lineOf({ code, severity, where, message }: Finding): string {
  const place = placeOf(where);
  return `${code} ${severity}${place === '' ? '' : ` ${place}`}: ${message}`;
}

function placeOf({ image, slot, stripe, stripes = 1, offsetBytes, lengthBytes }: Where): string {
  const parts = [
    slot === undefined ? '' : `slot ${slot}`,
    stripe === undefined
      ? ''
      : stripes === 1
        ? `stripe ${stripe}`
        : `stripes ${stripe} to ${stripe + stripes - 1}`,
    image ?? '',
    offsetBytes === undefined ? '' : `at byte ${offsetBytes}`,
    lengthBytes === undefined ? '' : `(${lengthBytes} bytes)`,
  ];
  return parts.filter((part) => part !== '').join(' ');
}

function describe(report: FsckReport, paint: Painter): string {
  const { findings, undo, isInterrupted } = report;
  const lines = findings.map((each) => {
    const line = printable(lineOf(each));
    return each.repaired ? `${line} ${paint('good', '(repaired)')}` : paint(TONES[each.severity], line);
  });
  const left = findings.filter(({ repaired, severity }) => !repaired && severity !== 'info');
  const repaired = findings.filter((each) => each.repaired).length;
  const parts = [lines.join('\n')];
  if (repaired > 0) parts.push(`${repaired} of ${findings.length} findings are repaired`);
  if (left.length > 0) parts.push(`What is left, and what to do:\n${left.map(adviceOn).join('\n')}`);
  else parts.push(findings.length === 0 ? 'nothing is wrong' : 'nothing is left that has to be repaired');
  if (isInterrupted) parts.push('interrupted: what was done stays, and the same command goes on');
  if (undo !== null) {
    parts.push(
      `what was overwritten is kept in ${printable(undo.file)} (${formatSize(undo.sizeBytes)}): fsck --revert puts it back`,
    );
  }
  return parts.filter((part) => part !== '').join('\n\n');
}

function adviceOn({ code, where, hint, repair }: ReportedFinding): string {
  const what = printable(`- ${[code, placeOf(where)].filter((part) => part !== '').join(' ')}`);
  const flags = repair === null ? '' : `fsck ${flagsFor(repair)} repairs it: ${repairOf(repair).does}. `;
  return `${what}\n  ${flags}${printable(hint)}`.trimEnd();
}

function flagsFor(repair: RepairName): string {
  const { isSafe, wantsForce } = repairOf(repair);
  if (isSafe) return '-p';
  return wantsForce ? '-y --force' : '-y';
}
