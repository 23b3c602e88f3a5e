/**
 * Since when each replica is not in sync, in the volume's list: for people, and nothing depends on it. It outlives the process, so an
 * outage that spans several openings has one beginning. Of one that began while nobody had the volume open that is when it was
 * found.
 */
import type { ReplicaState } from '../../replication/standing.js';
import type { ReplicasFile } from './replicas-file.js';

export class Outages {
  #isClosing = false;

  constructor(
    private readonly file: ReplicasFile,
    private readonly warn: (message: string) => void,
  ) {}

  /** In any turn; written down behind it. */
  note(name: string, state: ReplicaState): void {
    const entry = this.file.entry(name);
    // What closing does to it is no outage; and a resync is the end of one, not its beginning.
    if (this.#isClosing || entry === undefined || state === 'resyncing') return;
    const awaySinceMs = state === 'in-sync' ? null : (entry.awaySinceMs ?? Date.now());
    if (awaySinceMs === entry.awaySinceMs) return;
    this.file
      .update(name, { awaySinceMs })
      .catch((cause: unknown) =>
        this.warn(`${name}: since when it is ${state} is not written down: ${String(cause)}`),
      );
  }

  /** What becomes of them from now on is no news. */
  close(): void {
    this.#isClosing = true;
  }
}
