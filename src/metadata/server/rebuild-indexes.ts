/**
 * Makes anew what the metadata says twice, from what it says first: which extents are taken and how many are free, from
 * maps, journal and transactions; where journal extents are found, from their records; and names, from the files. For
 * fsck, over an engine that nobody else changes.
 *
 * Nothing is lost by it that was committed: what any map, journal record or transaction names is taken, whatever else is
 * wrong with it. It is put in parts, each of which leaves less that is wrong: a cut amid it is made good by doing it again.
 */
import { hasBit, isEmpty, setBit } from '../bits.js';
import type { MetadataEngine } from '../engine/contract.js';
import { Draft } from './draft.js';
import { readConfig } from './format.js';
import { key, nameKey, numberOf, under } from './keys.js';
import { decodeEntry } from './maps.js';
import { GROUP_EXTENTS } from './pool.js';
import { decode } from './records.js';
import { isOpen, State } from './state.js';
import { PART_BYTES } from './turn.js';

/** Throws METADATA_DAMAGED, and what readConfig throws. */
export async function rebuildIndexes(engine: MetadataEngine): Promise<void> {
  const config = await readConfig(engine);
  const work = new Rebuild(engine, new State(new Draft(engine), config));
  const used = await work.usedExtents();
  await work.groups(used);
  await work.journal();
  await work.names();
  await work.counters(used);
}

class Rebuild {
  private readonly bytes: number;

  constructor(
    private readonly engine: MetadataEngine,
    private readonly state: State,
  ) {
    this.bytes = Math.ceil(state.config.extents / 8);
  }

  /** A bit an extent. */
  async usedExtents(): Promise<Uint8Array> {
    const { config } = this.state;
    const used = new Uint8Array(this.bytes);
    const use = (extent: number): void => {
      if (extent < config.extents) setBit(used, extent);
    };
    for await (const { value } of this.under('E')) {
      const { extent } = decodeEntry(value, config.blocksPerExtent);
      if (extent !== null) use(extent);
    }
    for await (const entry of this.under('J')) use(numberOf(entry.key, 0));
    for await (const entry of this.under('B')) use(numberOf(entry.key, 0));
    for await (const { value } of this.under('t')) {
      const { journal } = decode('transactionEntry', value);
      if (journal !== 0) use(journal - 1);
    }
    return used;
  }

  async groups(used: Uint8Array): Promise<void> {
    const { draft } = this.state;
    const groupBytes = GROUP_EXTENTS / 8;
    for (let at = 0, group = 0; at < this.bytes; at += groupBytes, group++) {
      const bits = new Uint8Array(groupBytes);
      bits.set(used.subarray(at, at + groupBytes));
      if (isEmpty(bits)) draft.delete(key('G', group));
      else draft.put(key('G', group), bits);
      await this.commitPart();
    }
    const groups = Math.ceil(this.bytes / groupBytes);
    for await (const entry of this.under('G')) if (numberOf(entry.key, 0) >= groups) draft.delete(entry.key);
  }

  /** Where journal extents are found: by client, and by place. */
  async journal(): Promise<void> {
    const { state } = this;
    for await (const entry of this.under('j')) {
      const [client, extent] = [numberOf(entry.key, 0), numberOf(entry.key, 1)];
      if ((await state.journal(extent))?.client !== client) state.draft.delete(entry.key);
      await this.commitPart();
    }
    for await (const entry of this.under('A')) {
      const record = await state.journal(decode('number', entry.value).value);
      const place = [0, 1, 2].map((at) => numberOf(entry.key, at)).join();
      const isRight =
        record !== null && isOpen(record) && place === [record.file, record.index, record.client].join();
      if (!isRight) state.draft.delete(entry.key);
      await this.commitPart();
    }
    for await (const entry of this.under('J')) {
      const extent = numberOf(entry.key, 0);
      const record = decode('journal', entry.value);
      const { client, file, index } = record;
      if ((await state.numberAt(key('j', client, extent))) === null)
        state.putNumber(key('j', client, extent), 0);
      if (isOpen(record) && (await state.openJournalAt(file, index, client)) === null)
        state.putNumber(key('A', file, index, client), extent);
      await this.commitPart();
    }
  }

  /** A name that leads nowhere goes; a file that is not found by its own name is, where nobody else has that. */
  async names(): Promise<void> {
    const { state } = this;
    for await (const entry of this.under('N')) {
      const inode = await state.inode(decode('number', entry.value).value);
      const isRight = inode !== null && Buffer.compare(nameKey('N', inode.name), entry.key) === 0;
      if (!isRight) state.draft.delete(entry.key);
      await this.commitPart();
    }
    for await (const entry of this.under('I')) {
      const file = numberOf(entry.key, 0);
      const { name } = (await state.inode(file))!;
      if ((await state.fileNamed(name)) === null) state.putNumber(nameKey('N', name), file);
      await this.commitPart();
    }
  }

  async counters(used: Uint8Array): Promise<void> {
    const { state } = this;
    const { extents } = state.config;
    let freeExtents = 0;
    for (let extent = 0; extent < extents; extent++) if (!hasBit(used, extent)) freeExtents += 1;
    let journalExtents = 0;
    for await (const _entry of this.under('J')) journalExtents += 1;
    let reservedExtents = 0;
    for await (const { value } of this.under('I')) reservedExtents += decode('inode', value).reservedExtents;
    await state.count({ freeExtents, journalExtents, reservedExtents });
    await this.commitPart(true);
  }

  /** What was committed meanwhile is seen or not: each key is given once. */
  private under(prefix: 'E' | 'G' | 'J' | 'j' | 'A' | 'B' | 'I' | 'N' | 't') {
    return this.state.draft.under(under(key(prefix)));
  }

  private async commitPart(force = false): Promise<void> {
    const { draft } = this.state;
    if (draft.isEmpty || (!force && draft.bytes < PART_BYTES)) return;
    await this.engine.commit(draft.changes());
    draft.clear();
  }
}
