/**
 * Random operations of several clients against a plain model: files as maps from a block to what it holds, and
 * nothing else. After every step all files read as the model has them, and the check finds nothing. Servers and clients
 * die in between.
 */
import { expect, it } from 'vitest';
import { hasBit } from '../../src/metadata/bits.js';
import { decide } from '../../src/metadata/decision.js';
import type { TransactionExtent } from '../../src/metadata/messages.js';
import { type SeededRandom, withSeed } from '../support/devices/seeded-random.js';
import { type Ask, BLOCKS, bits, Stage } from './support/stage.js';

const INDEXES = 4;
const CLIENTS = ['a', 'b', 'c'];
const STEPS = 250;

/** One commit of a file: what its blocks (index * BLOCKS + block) are from then on; 0 is a hole. */
interface ModelCommit {
  readonly transaction: number | null;
  readonly blocks: ReadonlyMap<number, number>;
  readonly sizeBytes: number | null;
}

/** A file is what it was made with and its commits, one after another: an abort takes one out. */
class ModelFile {
  commits: ModelCommit[] = [];

  constructor(
    readonly name: string,
    readonly isReadOnly: boolean,
    readonly base: readonly number[] = new Array<number>(INDEXES * BLOCKS).fill(0),
    readonly baseSizeBytes = 0,
  ) {}

  get blocks(): number[] {
    const blocks = [...this.base];
    for (const commit of this.commits) for (const [at, fill] of commit.blocks) blocks[at] = fill;
    return blocks;
  }

  get sizeBytes(): number {
    return this.commits.findLast(({ sizeBytes }) => sizeBytes !== null)?.sizeBytes ?? this.baseSizeBytes;
  }
}

/** What every block of every extent holds: the devices. */
type Content = Map<number, number[]>;

class World {
  readonly files = new Map<number, ModelFile>();
  readonly content: Content = new Map();
  #fill = 0;
  #names = 0;

  constructor(
    readonly stage: Stage,
    readonly random: SeededRandom,
  ) {}

  get ask(): Ask {
    return this.stage.as(this.random.pick(CLIENTS));
  }

  blocksOf(extent: number): number[] {
    const blocks = this.content.get(extent) ?? new Array<number>(BLOCKS).fill(-1);
    this.content.set(extent, blocks);
    return blocks;
  }

  nextFill(): number {
    this.#fill += 1;
    return this.#fill;
  }

  nextName(): string {
    this.#names += 1;
    return `file ${this.#names}`;
  }

  anyFile(isReadOnly?: boolean): number | null {
    const files = [...this.files].filter(
      ([, file]) => isReadOnly === undefined || file.isReadOnly === isReadOnly,
    );
    return files.length === 0 ? null : this.random.pick(files)[0];
  }

  async readsAsModel(): Promise<void> {
    const ask = this.stage.as('a');
    for (const [file, model] of this.files) {
      const { extents, sizeBytes } = await ask('Map_Extents', { file, from: 0, count: INDEXES });
      const read = extents.flatMap(({ extent, used, pending }) =>
        Array.from({ length: BLOCKS }, (_, block) => {
          const newest = pending.findLast(
            ({ marked, cleared }) => hasBit(marked, block) || hasBit(cleared, block),
          );
          if (newest !== undefined)
            return hasBit(newest.cleared, block) ? 0 : this.blocksOf(newest.journal!)[block];
          return hasBit(used, block) ? this.blocksOf(extent!)[block] : 0;
        }),
      );
      expect(read, model.name).toEqual(model.blocks);
      expect(sizeBytes).toBe(model.sizeBytes);
    }
    const { files } = await ask('List_Files', { count: 1000 });
    expect(files.map(({ file }) => file).sort()).toEqual([...this.files.keys()].sort());
  }
}

/** One commit of a few extents, hardened. What was refused for want of space has changed nothing. */
async function startCommit(world: World): Promise<void> {
  const { random, ask } = world;
  const file = world.anyFile(false);
  if (file === null) return;
  for (const open of (await ask('Open_Client', {})).journal) {
    if (open.file === file) await ask('Disassociate_Journal_Extent', { extents: [open.extent] });
  }
  const indexes = Array.from({ length: INDEXES }, (_, index) => index).filter(() => random.chance(0.5));
  const journal = await ask('Allocate_Journal_Space', { count: indexes.length + 1 }).catch(expectFull);
  if (journal === null) return;
  const after = new Map<number, number>();
  const extents = indexes.map((index, at) => {
    const isDrop = random.chance(0.1);
    const marked: number[] = [];
    const cleared: number[] = [];
    for (let block = 0; block < BLOCKS; block++) {
      if (isDrop || random.chance(0.15)) cleared.push(block);
      else if (random.chance(0.4)) marked.push(block);
    }
    const extent = journal.extents[at]!;
    for (const block of cleared) after.set(index * BLOCKS + block, 0);
    for (const block of marked) {
      const fill = world.nextFill();
      world.blocksOf(extent)[block] = fill;
      after.set(index * BLOCKS + block, fill);
    }
    return {
      file,
      index,
      journal: isDrop ? null : extent,
      marked: bits(...marked),
      cleared: bits(...cleared),
    };
  });
  const sizeBytes = random.below(100_000);
  const sizes = random.chance(0.5) ? [{ file, sizeBytes }] : [];
  if (random.chance(0.2)) {
    const kept = extents.filter((extent) => extent.journal !== null);
    await ask('Harden_Extent_Flags', { extents: kept, sizes, starts: false });
    if (random.chance(0.5)) return;
  }
  const { transaction } = await ask('Harden_Extent_Flags', { extents, sizes, starts: true });
  const commit = { transaction, blocks: after, sizeBytes: sizes.length > 0 ? sizeBytes : null };
  world.files.get(file)!.commits.push(commit);
}

/** As the completion does: copies of blocks, then the message. */
async function completeOne(
  world: World,
  ask: Ask,
  transaction: number,
  extent: TransactionExtent,
): Promise<void> {
  const { file, index, journal, data, marked, cleared, used } = extent;
  const decision = decide({ ...extent, hasData: data !== null });
  for (let block = 0; block < BLOCKS && journal !== null; block++) {
    const isKept = hasBit(used, block) && !hasBit(marked, block) && !hasBit(cleared, block);
    if (decision === 'swap' && isKept) world.blocksOf(journal)[block] = world.blocksOf(data!)[block]!;
    if (decision === 'commit' && hasBit(marked, block))
      world.blocksOf(data!)[block] = world.blocksOf(journal)[block]!;
  }
  const type = decision === 'swap' ? 'Swap_Data_Journal' : 'Commit_Data_Journal';
  const { extents: done } = await ask(type, { transaction, extents: [{ file, index }] });
  for (const freed of done[0]!.journal) {
    if (world.random.chance(0.9)) await ask('Disassociate_Journal_Extent', { extents: [freed] });
    // Whoever has it next finds noise in it.
    world.content.delete(freed);
  }
}

/** Goes some way with whatever is to be completed. */
async function completeSome(world: World): Promise<void> {
  const { random } = world;
  for (const name of CLIENTS) {
    const ask = world.stage.as(name);
    const { transactions: mine } = await ask('Take_Over', {});
    const opened = await ask('Open_Client', {});
    for (const transaction of [...new Set([...mine, ...opened.transactions])]) {
      const { extents } = await ask('Read_Transaction', { transaction, from: 0, count: 100 });
      for (const extent of extents) {
        if (!extent.isBlocked && random.chance(0.7)) await completeOne(world, ask, transaction, extent);
      }
    }
  }
}

/** The youngest of a file, by each client: one that is not its own, or has begun, is refused. */
async function abortYoungest(world: World): Promise<void> {
  for (const model of world.files.values()) {
    const transaction = model.commits.findLast((commit) => commit.transaction !== null)?.transaction ?? null;
    if (transaction === null) continue;
    for (const name of CLIENTS) {
      const abort = world.stage.as(name)('Abort_Transaction', { transaction, why: 'test' });
      if ((await abort.catch(expectRefused)) === null) continue;
      model.commits = model.commits.filter((commit) => commit.transaction !== transaction);
      return;
    }
  }
}

async function create(world: World): Promise<void> {
  if (world.files.size > 8) return;
  const name = world.nextName();
  const reserveExtents = world.random.below(4);
  const made = await world.ask('Create_File', { name, sizeBytes: 0, reserveExtents }).catch(expectFull);
  if (made === null) return;
  world.files.set(made.file, new ModelFile(name, false));
}

async function snapshot(world: World): Promise<void> {
  const file = world.anyFile();
  if (file === null || world.files.size > 12) return;
  const name = world.nextName();
  const made = await world.ask('Snapshot_File', { file, name }).catch(expectInUse);
  const model = world.files.get(file)!;
  if (made !== null) world.files.set(made.file, new ModelFile(name, true, model.blocks, model.sizeBytes));
}

async function remove(world: World): Promise<void> {
  const file = world.anyFile();
  if (file === null) return;
  const removed = await world.ask('Remove_File', { file }).catch(expectInUse);
  if (removed !== null) world.files.delete(file);
}

async function endClient(world: World): Promise<void> {
  const ended = world.random.pick(CLIENTS);
  const other = world.stage.as(CLIENTS.find((name) => name !== ended)!);
  await other('End_Client', { ended });
  await world.stage.as(ended)('Open_Client', {});
}

async function restart(world: World): Promise<void> {
  await world.stage.server.settled();
  await world.stage.restart();
}

function expectFull(cause: { code?: string }): null {
  expect(cause.code).toBe('NO_SPACE');
  return null;
}

function expectRefused(cause: { code?: string }): null {
  expect(cause.code).toBe('REFUSED');
  return null;
}

function expectInUse(cause: { code?: string }): null {
  expect(cause.code).toBe('IN_USE');
  return null;
}

it('random operations of several clients read as the plain model, and nothing is lost, leaked or used twice', async () => {
  await withSeed(async (random) => {
    const stage = await Stage.make({ extents: 80 });
    for (const name of CLIENTS) await stage.open(name);
    const world = new World(stage, random);
    const steps = [
      startCommit,
      startCommit,
      startCommit,
      startCommit,
      completeSome,
      completeSome,
      create,
      create,
      snapshot,
      remove,
      endClient,
      restart,
      abortYoungest,
    ];
    for (let step = 0; step < STEPS; step++) {
      await random.pick(steps)(world);
      await stage.check();
      await world.readsAsModel();
    }
    await stage.settledCheck();
    // All of it done, and all files removed: what is left is nothing.
    for (let round = 0; round < 200; round++) await completeSome(world);
    await world.readsAsModel();
    for (const file of world.files.keys()) await stage.as('a')('Remove_File', { file });
    for (const name of CLIENTS) await stage.as(name)('Close_Client', {});
    await stage.settledCheck();
    await stage.open('last');
    expect(await stage.as('last')('Space', {})).toEqual({ extents: 80, free: 80, reserved: 0, journal: 0 });
  });
});
