/** Why a secondary was lost, in words. */
import type { LossReason } from './contract.js';

const LOSSES: Readonly<Record<LossReason, string>> = {
  'log-full': 'the transaction log was full',
  'queue-full': 'the queue was full',
  late: 'acknowledgements were late',
  'secondary-failed': 'it failed',
  'primary-failed': 'a write to the primary failed',
  'log-failed': 'the transaction log failed',
  paused: 'paused',
  held: 'it is held',
  repair: 'blocks are to be copied again',
};

export function describeLoss(reason: LossReason, cause: unknown): string {
  return cause === null || cause === undefined ? LOSSES[reason] : `${LOSSES[reason]}: ${messageOf(cause)}`;
}

export function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}

/** It is not ours any more: it is not tried again. */
export function isDiverged(cause: unknown): boolean {
  return (
    cause instanceof Error &&
    'details' in cause &&
    (cause.details as { reason?: string }).reason === 'diverged'
  );
}
