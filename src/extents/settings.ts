/** The settings of a store, with what holds where nothing was said. */
import type { Clock, OnJournalFull, StoreOptions } from './contract.js';
import type { FlagsOptions } from './flags/contract.js';

export interface Settings {
  readonly journalShares: boolean;
  readonly readOnly: boolean;
  readonly warn: (message: string) => void;
  readonly writeBehindAgeMs: number;
  readonly waitForTargetMs: number;
  readonly onJournalFull: OnJournalFull;
  readonly associates: 'at-once' | 'at-commit';
  readonly clock: Clock;
  readonly flags: FlagsOptions;
}

const DEFAULT_WRITE_BEHIND_AGE_MS = 5000;
const DEFAULT_WAIT_FOR_TARGET_MS = 10_000;

/** Somebody waits for a target that is to come back: the process must be there to tell how it ends. */
const CLOCK: Clock = {
  nowMs: () => performance.now(),
  wait: (ms, { isBackground = false } = {}) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      if (isBackground) timer.unref();
    }),
};

/** At the metadata server alone: without a volume there is nothing to bind them to elsewhere. */
const NO_FLAGS: FlagsOptions = { volumeUuid: '0'.repeat(32), where: 'metadata', local: null };

export function settingsOf(options: StoreOptions): Settings {
  return {
    journalShares: options.journalShares,
    readOnly: options.readOnly ?? false,
    warn: options.warn ?? (() => {}),
    writeBehindAgeMs: options.writeBehindAgeMs ?? DEFAULT_WRITE_BEHIND_AGE_MS,
    waitForTargetMs: options.waitForTargetMs ?? DEFAULT_WAIT_FOR_TARGET_MS,
    onJournalFull: options.onJournalFull ?? 'commit',
    associates: options.associates ?? 'at-commit',
    clock: options.clock ?? CLOCK,
    flags: options.flags ?? NO_FLAGS,
  };
}
