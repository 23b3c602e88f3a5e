/** The backup of a volume that is open: one at a time, which others can look at and cancel. */
import { UserError } from '../../errors.js';
import type { Backup, BackupStatus } from '../../snapshot/backup/backup.js';

export interface RunningBackup extends BackupStatus {
  readonly name: string;
  readonly state: 'running';
  readonly sinceMs: number;
}

interface Running {
  readonly name: string;
  readonly sinceMs: number;
  readonly cancel: AbortController;
  /** Whether it became a backup. */
  readonly ended: Promise<boolean>;
  /** null: it is being prepared. */
  backup: Backup | null;
}

export class VolumeBackups {
  #running: Running | null = null;

  /** `run` runs as the volume's one backup. Throws IN_USE where there is one. */
  async during<R>(
    { name, label, signal }: { readonly name: string; readonly label: string; readonly signal: AbortSignal },
    run: (signal: AbortSignal, onBegun: (backup: Backup) => void) => Promise<R>,
  ): Promise<R> {
    if (this.#running !== null) {
      throw new UserError('IN_USE', `${label}: the backup ${this.#running.name} runs already`, {
        hint: 'Wait for its end (holdfast backup status), or holdfast backup cancel it.',
      });
    }
    const cancel = new AbortController();
    let end!: (isGood: boolean) => void;
    const ended = new Promise<boolean>((resolve) => {
      end = resolve;
    });
    const running: Running = { name, sinceMs: Date.now(), cancel, ended, backup: null };
    this.#running = running;
    let isGood = false;
    try {
      const result = await run(AbortSignal.any([signal, cancel.signal]), (backup) => {
        running.backup = backup;
      });
      isGood = true;
      return result;
    } finally {
      this.#running = null;
      end(isGood);
    }
  }

  /** null: none runs. */
  status(): RunningBackup | null {
    if (this.#running === null) return null;
    const { name, sinceMs, backup } = this.#running;
    return { name, state: 'running', sinceMs, ...(backup?.status() ?? PREPARED) };
  }

  /** Returns when it has ended: its name. null: none ran, or it was good before it could be cancelled. */
  async cancel(): Promise<string | null> {
    if (this.#running === null) return null;
    const { name, cancel, ended } = this.#running;
    cancel.abort(new UserError('INTERRUPTED', `the backup ${name} was cancelled`));
    return (await ended) ? null : name;
  }
}

const PREPARED: BackupStatus = {
  phase: 'starting',
  target: '',
  doneBytes: 0,
  totalBytes: null,
  secondsLeft: null,
  container: null,
};
