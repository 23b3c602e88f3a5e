/**
 * Snapshots of a served volume as exports: NAME@SNAPSHOT, read only, beside the volume. They come and go with the snapshots, and one
 * that has clients is not deleted. What was changed since a moment is told as a context of the volume and of the snapshots after it,
 * in qemu's words: `qemu:dirty-bitmap:MOMENT`, bit 0 (qemu docs/interop/nbd.rst).
 *
 * What is changed is noted where it goes down, below the cache: of the volume itself all that was answered goes down before a
 * client is told. Of a snapshot it did so at the moment.
 */
import type { Export } from '../nbd/server/export.js';
import type { NbdServer } from '../nbd/server/server.js';
import type { StatusContext } from '../nbd/server/status-contexts.js';
import { BLOCK_BYTES, type BlockRange, blocksWithin } from '../replication/blocks.js';
import type { MomentView } from '../snapshot/view.js';
import type { VolumeSnapshots } from './snapshots/volume-snapshots.js';

const NBD_STATE_DIRTY = 1;
/** An answer may end early: what is changed here and there all over a large window is told by and by. */
const MOST_RUNS = 8192;

export class ServedSnapshots {
  readonly #views = new Map<string, MomentView>();

  constructor(
    private readonly snapshots: VolumeSnapshots,
    /** What stands before the @. */
    private readonly volumeName: string,
    /** What of the volume was answered is below the gate when it returns. */
    private readonly flush: () => Promise<void>,
  ) {}

  /** Of the volume itself: what was changed since each moment. */
  contexts(): StatusContext[] {
    return this.#since(null);
  }

  /** Those that there are, and that come and go from now on. */
  follow(server: NbdServer): void {
    for (const { name, kind, state } of this.snapshots.known?.list() ?? [])
      if (kind !== 'mark' && state === 'good') server.addExport(this.#open(name));
    this.snapshots.listen(async (name, change) => {
      if (change === 'made') return this.#offer(name, server);
      server.removeExport(this.#exportName(name));
      await this.#leave(name);
    });
  }

  /** Throws where something else is served by that name. */
  async #offer(name: string, server: NbdServer): Promise<void> {
    const offered = this.#open(name);
    try {
      server.addExport(offered);
    } catch (error) {
      await this.#leave(name);
      throw error;
    }
  }

  async #leave(name: string): Promise<void> {
    await this.#views.get(name)?.close();
    this.#views.delete(name);
  }

  async close(): Promise<void> {
    for (const view of this.#views.values()) await view.close();
    this.#views.clear();
  }

  #open(name: string): Export {
    const current = this.snapshots.current!;
    const device = current.view(name);
    const id = current.idOf(name);
    this.#views.set(name, device);
    return {
      ...{ name: this.#exportName(name), device, readOnly: true },
      description: `snapshot ${name} of ${this.volumeName}`,
      contexts: () => this.#since(id),
    };
  }

  #exportName(snapshot: string): string {
    return `${this.volumeName}@${snapshot}`;
  }

  /**
   * What was changed since the moments before the one of this id; null: since all, up to now. Who has chosen one of these is told of
   * that moment for good, and of none that has its name later.
   */
  #since(until: string | null): StatusContext[] {
    const { known: current } = this.snapshots;
    if (current === null) return [];
    return current.momentsBefore(until).map(({ name, id }) => ({
      name: `qemu:dirty-bitmap:${name}`,
      ...(until === null ? { prepare: this.flush } : {}),
      status: async (offset, length) =>
        dirtyRuns(current.changedWithin(id, until, blocksWithin(offset, length)), offset, length),
    }));
  }
}

/** Of [offset, offset + length), in bytes: alternating, from `offset` on; it may end early. */
function dirtyRuns(
  changed: Iterable<BlockRange>,
  offset: number,
  length: number,
): { length: number; flags: number }[] {
  const end = offset + length;
  const runs: { length: number; flags: number }[] = [];
  let at = offset;
  const upTo = (bytes: number, flags: number): void => {
    const until = Math.min(bytes, end);
    if (until > at) runs.push({ length: until - at, flags });
    at = Math.max(at, until);
  };
  for (const { from, count } of changed) {
    if (runs.length >= MOST_RUNS) return runs;
    upTo(from * BLOCK_BYTES, 0);
    upTo((from + count) * BLOCK_BYTES, NBD_STATE_DIRTY);
  }
  upTo(end, 0);
  return runs;
}
