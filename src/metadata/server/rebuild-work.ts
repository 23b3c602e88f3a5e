/**
 * What the parts of rebuilding the metadata share (rebuild-indexes.ts): the state over an engine that nobody else changes,
 * and commits of so much at a time. Each commit leaves less that is wrong, so that a cut is made good by doing it again.
 */
import type { Entry, MetadataEngine } from '../engine/contract.js';
import { Draft } from './draft.js';
import { readConfig } from './format.js';
import { key, type Prefix, under } from './keys.js';
import { State } from './state.js';
import { PART_BYTES } from './turn.js';

export class RebuildWork {
  private constructor(
    private readonly engine: MetadataEngine,
    readonly state: State,
  ) {}

  /** Throws METADATA_DAMAGED, and what readConfig throws. */
  static async over(engine: MetadataEngine): Promise<RebuildWork> {
    return new RebuildWork(engine, new State(new Draft(engine), await readConfig(engine)));
  }

  /** What was committed meanwhile is seen or not: each key is given once. */
  under(prefix: Prefix): AsyncGenerator<Entry> {
    return this.state.draft.under(under(key(prefix)));
  }

  async commitPart(force = false): Promise<void> {
    const { draft } = this.state;
    if (draft.isEmpty || (!force && draft.bytes < PART_BYTES)) return;
    await this.engine.commit(draft.changes());
    draft.clear();
  }
}
