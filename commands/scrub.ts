/** `holdfast scrub`: reads every member and checks that parity is what the data says. */
import * as Flags from '@oclif/core/flags';
import type { Outcome } from '../src/cli/base-command.js';
import { EXIT, exitCodeOf, type ReportedCode, STATE_EXIT_CODES } from '../src/cli/exit-codes.js';
import { forceFlag, volumesArgument } from '../src/cli/flags.js';
import { secondsSince, VolumeCommand } from '../src/cli/volume-command.js';
import type { OperationResult } from '../src/volume/index.js';

const SHOWN_ROWS = 10;

type Found = Omit<OperationResult<'scrub'>, 'isDirty' | 'degradedSlots'>;

export default class Scrub extends VolumeCommand<typeof Scrub> {
  static override summary = 'Read all of a volume and check its parity';
  static override description =
    "Mismatches are counted in rows of 4 KiB of every member, as the kernel counts them. Which member is wrong cannot be told from parity; --repair makes parity anew from the data, as the kernel's repair does.";
  static override examples = [
    '<%= config.bin %> scrub myvolume',
    '<%= config.bin %> scrub myvolume --repair',
  ];
  static override exitCodes = STATE_EXIT_CODES;
  static override args = { volume: volumesArgument };
  static override flags = {
    repair: Flags.boolean({ description: 'make parity anew where it does not match' }),
    force: forceFlag('with --repair: though the volume is dirty and degraded'),
  };

  /** Here this is what the check found. */
  protected override exitCodeFor(code: ReportedCode): number {
    return code === 'NOT_ASSEMBLED' ? EXIT.lost : exitCodeOf(code);
  }

  protected async execute(): Promise<Outcome> {
    const { repair, force } = this.flags;
    const started = performance.now();
    const name = repair ? 'scrub --repair' : 'scrub';
    const { isDirty, degradedSlots, ...found } = await this.act(
      this.args.volume,
      name,
      {},
      { label: 'scrub', force },
    );
    if (degradedSlots.length > 0) return nothingToCheck(degradedSlots, isDirty, found);
    if (found.skippedRows > 0) {
      this.warn(`${found.skippedRows} rows could not be checked: a member has bad blocks there`);
    }
    const left = found.mismatchedStripes - found.repairedStripes;
    return {
      result: { ...found, seconds: secondsSince(started) },
      exitCode: left > 0 || isDirty ? EXIT.unwell : EXIT.done,
      text: () => describe(found),
    };
  }
}

function describe({ checkedStripes, mismatchedStripes, mismatchedRows, repairedStripes }: Found): string {
  if (mismatchedStripes === 0) return `${checkedStripes} stripes checked, all of them match`;
  const rows = mismatchedRows.slice(0, SHOWN_ROWS).join(', ');
  const more = mismatchedRows.length > SHOWN_ROWS ? ` and ${mismatchedRows.length - SHOWN_ROWS} more` : '';
  return [
    `${checkedStripes} stripes checked, ${mismatchedStripes} do not match, ${repairedStripes} repaired`,
    `rows that do not match: ${rows}${more}`,
  ].join('\n');
}

/** With a member missing there is no redundancy: nothing is wrong with parity, and nothing right. */
function nothingToCheck(slots: readonly number[], isDirty: boolean, found: Found): Outcome {
  return {
    result: { ...found, degradedSlots: slots },
    exitCode: isDirty ? EXIT.lost : EXIT.unwell,
    text: () =>
      `nothing was checked: without the member in slot ${slots.join(', ')} there is no redundancy. Rebuild first (holdfast member add), then scrub`,
  };
}
