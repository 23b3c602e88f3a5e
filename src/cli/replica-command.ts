/** What the commands on replicas share: how one is named, and how it is told of. */
import * as Args from '@oclif/core/args';
import type { Command } from '@oclif/core/command';
import * as Flags from '@oclif/core/flags';
import { UserError } from '../errors.js';
import type { ReplicaStatus } from '../volume/index.js';
import type { Painter } from './colour.js';
import { COMMON_EXIT_CODES } from './exit-codes.js';
import { printableLine } from './printable.js';
import { counted, formatSize } from './sizes.js';
import { renderTable } from './tables.js';
import { VolumeCommand } from './volume-command.js';

export const replicaVolumeArgument = Args.string({
  name: 'volume',
  required: true,
  ignoreStdin: true,
  description: 'directory of a volume, or its image',
});

export const replicaNameFlag = Flags.string({
  helpValue: 'NAME',
  description: 'which replica [default: the only one]',
});

export const REPLICA_EXIT_CODES: Readonly<Record<string, string>> = {
  ...COMMON_EXIT_CODES,
  '10': 'no such volume, image or replica',
};

export abstract class ReplicaCommand<T extends typeof Command> extends VolumeCommand<T> {
  // oclif's manifest stops at a class without statics of its own, and would lose what is above it.
  static override exitCodes = REPLICA_EXIT_CODES;

  /** The name that was given, or that of the only one. */
  protected async chosen(volume: string, name: string | undefined): Promise<string> {
    if (name !== undefined) return name;
    const replicas = await this.replicas(volume);
    const [only] = replicas;
    if (only !== undefined && replicas.length === 1) return only.name;
    if (only === undefined) {
      throw new UserError('FILE_NOT_FOUND', `${volume} has no replicas`, {
        hint: `holdfast replica add ${volume} --to IMAGE makes one`,
      });
    }
    throw new UserError('USAGE', `${volume} has ${replicas.length} replicas: which one?`, {
      hint: `--name, one of: ${replicas.map((one) => one.name).join(', ')}`,
    });
  }

  protected async replicas(volume: string): Promise<readonly ReplicaStatus[]> {
    const { volumeStatus } = await import('../volume/index.js');
    return (await volumeStatus([volume], { record: this.recordFile })).replicas;
  }
}

export async function renderReplicas(replicas: readonly ReplicaStatus[], paint: Painter): Promise<string> {
  const head = ['Replica', 'To', 'Mode', 'State', 'Dirty', 'Why'];
  const rows = replicas.map(({ name, to, mode, state, dirtyBytes, reason, resync }) => [
    printableLine(name),
    printableLine(to),
    mode,
    state,
    dirtyBytes === null ? 'not known' : formatSize(dirtyBytes),
    printableLine([reason, timeLeft(resync)].filter((part) => part !== null).join('; ')),
  ]);
  return renderTable({ head, rows }, paint);
}

/** null: no resync runs, or nobody can tell. */
function timeLeft(resync: ReplicaStatus['resync']): string | null {
  const seconds = resync?.secondsLeft ?? null;
  return seconds === null ? null : `about ${Math.ceil(seconds)} s left`;
}

export function describeReplica({ name, to, state, dirtyBlocks }: ReplicaStatus): string {
  const what = `replica ${printableLine(name)} at ${printableLine(to)} is ${state}`;
  return dirtyBlocks === null || dirtyBlocks === 0
    ? what
    : `${what}: ${counted(dirtyBlocks, 'block')} to be copied`;
}
