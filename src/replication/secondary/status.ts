/** What is said of a secondary: in which state it is, at which point, and whether there is a way back to one. */

import type { EpochPoint, Generation, Marks, SecondaryState } from './marks.js';
export interface SecondaryStatus {
  readonly state: SecondaryState;
  readonly generation: Generation;
  readonly parent: Generation;
  /** The end of the last durable epoch. While resyncing it is no consistent point. */
  readonly point: EpochPoint;
  /** What `promote` would give; null: nothing, without force. */
  readonly consistentPoint: EpochPoint | null;
  /** Bytes of the circular part of the log, those in use, and those that one epoch may hold. */
  readonly logBytes: number;
  readonly logUsedBytes: number;
  readonly epochBytes: number;
  /** Blocks of 4096 bytes that the container has; as far as it is open. */
  readonly keptBlocks: number;
  /** Why nothing is kept any more, if that is since this opening. */
  readonly keptFailure: string | null;
}

export type Measured = Pick<
  SecondaryStatus,
  'point' | 'logBytes' | 'logUsedBytes' | 'epochBytes' | 'keptBlocks' | 'keptFailure'
>;

export function statusOf(marks: Marks, measured: Measured): SecondaryStatus {
  const { state, generation, parent } = marks;
  return { state, generation, parent, consistentPoint: consistentPoint(marks, measured.point), ...measured };
}

/** null: there is none. */
export function consistentPoint(marks: Marks, last: EpochPoint): EpochPoint | null {
  if (marks.state === 'consistent') return last;
  if (marks.state === 'initial' || marks.isForced) return null;
  return marks.state === 'promoted' || marks.isKeptWhole ? marks.point : null;
}
