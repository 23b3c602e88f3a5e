/** What `status` says of a place for a secondary that is served. */
import { type HostedPlace, marksOfHosted } from './hosted-place.js';
import type { PlaceMarks } from './place.js';

export interface HostStatus {
  readonly image: string;
  /** A primary is connected. */
  readonly isJoined: boolean;
  /** Why it cannot be opened now. */
  readonly trouble: string | null;
  /** null: nothing was made of it yet. Its point is the end of the last durable epoch. */
  readonly marks: PlaceMarks | null;
  /** What `promote` would give; null: nothing, without force. */
  readonly consistentPoint: { readonly epoch: number; readonly atMs: number } | null;
  readonly logBytes: number | null;
  readonly logUsedBytes: number | null;
  readonly keptBlocks: number | null;
}

/** null: it cannot be opened now. */
export function statusOfHosted(
  opened: HostedPlace | null,
  about: Pick<HostStatus, 'image' | 'isJoined' | 'trouble'>,
): HostStatus {
  const status = opened?.device?.status() ?? null;
  return {
    ...about,
    marks: marksOfHosted(opened),
    consistentPoint: status?.consistentPoint ?? null,
    logBytes: status?.logBytes ?? null,
    logUsedBytes: status?.logUsedBytes ?? null,
    keptBlocks: status?.keptBlocks ?? null,
  };
}
