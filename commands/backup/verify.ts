/** `holdfast backup verify`: reads backups, and checks every hash. */
import { randomInt } from 'node:crypto';
import * as Flags from '@oclif/core/flags';
import { BACKUP_EXIT_CODES, percentFlag, setArgument } from '../../src/cli/backup-arguments.js';
import { HoldfastCommand, type Outcome } from '../../src/cli/base-command.js';
import { EXIT } from '../../src/cli/exit-codes.js';
import { countFlag } from '../../src/cli/flags.js';
import { printableLine } from '../../src/cli/printable.js';
import { counted, formatSize } from '../../src/cli/sizes.js';
import type { Subset, VerifiedBackup } from '../../src/snapshot/set/index.js';

const MOST_SEED = 2 ** 32 - 1;

export default class BackupVerify extends HoldfastCommand<typeof BackupVerify> {
  static override summary = 'Check the content of backups';
  static override description =
    'Of a backup and of all that it builds on: each piece is read, and held against its hash. Without --name all good backups, each piece once. Writes nothing.';
  static override examples = [
    '<%= config.bin %> backup verify myset',
    '<%= config.bin %> backup verify myset --name monday --subset 5%',
  ];
  static override exitCodes = { ...BACKUP_EXIT_CODES, '4': 'a backup is damaged' };
  static override args = { set: setArgument };
  static override flags = {
    name: Flags.string({ helpValue: 'NAME', description: 'which backup [default: all]' }),
    subset: percentFlag({ description: 'a random share of the pieces of each backup' }),
    seed: countFlag({
      max: MOST_SEED,
      dependsOn: ['subset'],
      description: 'which share: as an earlier one told',
    }),
  };

  protected async execute(): Promise<Outcome> {
    const { openSet, verifySet } = await import('../../src/snapshot/set/index.js');
    const set = await openSet(this.args.set);
    const subset = await this.#subset();
    const verified = await this.sweeping('verify', (options) =>
      verifySet(set, this.flags.name ?? null, { ...options, subset }),
    );
    const { backups, leftOut } = verified;
    const isDamaged = backups.some(({ damaged }) => damaged.length > 0);
    const passed = leftOut.map(({ name, state }) => `${printableLine(name)} is ${state}, and was left out`);
    return {
      result: { set: set.directory, ...verified },
      text: () => [...backups.flatMap(describe), ...passed].join('\n') || 'there are no backups',
      exitCode: isDamaged ? EXIT.lost : EXIT.done,
    };
  }

  async #subset(): Promise<Subset | null> {
    const { subset: percent, seed = randomInt(MOST_SEED) } = this.flags;
    if (percent === undefined) return null;
    const { SeededRandom } = await import('../../src/crash/seeded-random.js');
    return { percent, random: new SeededRandom(seed) };
  }
}

function describe({ name, checkedPieces, checkedBytes, damaged, subset }: VerifiedBackup): string[] {
  const share = subset === null ? '' : `, a share of ${subset.percent}% (seed ${subset.seed})`;
  const checked = `${counted(checkedPieces, 'piece')} checked, ${formatSize(checkedBytes)}${share}`;
  const state = damaged.length === 0 ? 'is good' : 'is damaged';
  return [
    `${printableLine(name)} ${state}: ${checked}`,
    ...damaged.map(({ reason }) => `  ${printableLine(reason)}`),
  ];
}
