/** The entry of a new replica in the list of its volume. */
import { randomBytes } from 'node:crypto';
import { UserError } from '../../errors.js';
import type { OnLoss, ReplicaMode } from '../../replication/settings.js';
import { FORMER_NAME } from './generations/former-primary.js';
import type { ReplicaEntry, ReplicaLimits, ReplicasFile } from './replicas-file.js';

export interface AddReplicaOptions {
  readonly name?: string | undefined;
  readonly to: string;
  readonly mode: ReplicaMode;
  readonly onLoss: OnLoss;
  /** What the secondary holds is lost. */
  readonly force: boolean;
  readonly limits: ReplicaLimits;
  /** What no filesystem uses is copied too, but for holes. */
  readonly usesAll: boolean;
}

/** @throws UserError REFUSED where `to` is a replica of the volume already, FILE_EXISTS where its name is another's. */
export function newEntry(
  file: ReplicasFile,
  { name, mode, onLoss, limits }: AddReplicaOptions,
  to: string,
): ReplicaEntry {
  const entry: ReplicaEntry = {
    name: name ?? freeName(file),
    uuid: randomBytes(16).toString('hex'),
    ...{ to, isServed: false, mode, onLoss, limits, isPaused: false, isWhole: false, isMapLost: false },
    ...{ diverged: null, awaySinceMs: null },
  };
  const other = file.content.replicas.find((one) => one.to === to);
  if (other !== undefined)
    throw new UserError('REFUSED', `${to} is replica ${other.name} of this volume already`, {
      hint: `To make it anew: holdfast replica remove --name ${other.name} first.`,
      details: { image: to, replica: other.name },
    });
  if (file.entry(entry.name) === undefined && entry.name !== FORMER_NAME) return entry;
  throw new UserError('FILE_EXISTS', `there is a replica ${entry.name} already`, {
    hint: 'Give it another name with --name.',
    details: { replica: entry.name },
  });
}

function freeName(file: ReplicasFile): string {
  for (let n = 1; ; n++) if (file.entry(`replica-${n}`) === undefined) return `replica-${n}`;
}
