/**
 * A metadata server over an engine in memory, with clients to ask it, a clock to turn, and an engine that counts its
 * commits, dies after so many of them, or is full.
 */
import { expect } from 'vitest';
import { UserError } from '../../../src/errors.js';
import { bitmapBytes, setBit } from '../../../src/metadata/bits.js';
import {
  type Change,
  type Entry,
  type MetadataEngine,
  transactionBytes,
} from '../../../src/metadata/engine/contract.js';
import { MemoryEngine } from '../../../src/metadata/engine/memory-engine.js';
import type {
  Message,
  Replies,
  RequestName,
  RequestOf,
  ServerEvent,
} from '../../../src/metadata/messages.js';
import { checkMetadata } from '../../../src/metadata/server/check.js';
import { formatMetadata } from '../../../src/metadata/server/format.js';
import { MetadataServer } from '../../../src/metadata/server/server.js';
import { LARGEST_COMMIT_BYTES } from '../../../src/metadata/server/turn.js';

export const BLOCKS = 8;

/** A bitmap with these blocks. */
export function bits(...blocks: readonly number[]): Uint8Array {
  const bitmap = new Uint8Array(bitmapBytes(BLOCKS));
  for (const block of blocks) setBit(bitmap, block);
  return bitmap;
}

export const NONE = bits();
export const ALL = bits(0, 1, 2, 3, 4, 5, 6, 7);

/** What outlives a server. Commits are held up for a turn of the loop, as a disk would. */
export class TestEngine implements MetadataEngine {
  readonly content = new MemoryEngine();
  commits = 0;
  /** How many more are taken; then the engine is dead. */
  commitsLeft = Number.POSITIVE_INFINITY;
  /** Which are refused for want of space; nothing of them is kept. */
  isTooMuch: (changes: readonly Change[]) => boolean = () => false;
  /** While it is there, commits wait: what is looked at stays what it is. */
  hold: Promise<unknown> | null = null;
  underWay = 0;
  mostUnderWay = 0;

  get(key: Uint8Array): Promise<Uint8Array | null> {
    return this.content.get(key);
  }

  entries(from: Uint8Array, to: Uint8Array): AsyncIterable<Entry> {
    return this.content.entries(from, to);
  }

  async commit(changes: readonly Change[]): Promise<void> {
    while (this.hold !== null) await this.hold;
    transactionBytes(changes, LARGEST_COMMIT_BYTES);
    if (this.commitsLeft <= 0) throw new UserError('IO_ERROR', 'the engine is dead');
    if (this.isTooMuch(changes)) throw new UserError('NO_SPACE', 'the engine is full');
    this.commitsLeft -= 1;
    this.commits += 1;
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    await this.content.commit(changes);
    await new Promise((resolve) => setImmediate(resolve));
    this.underWay -= 1;
  }

  async checkpoint(): Promise<void> {}
  async close(): Promise<void> {}
}

export interface StageOptions {
  readonly extents?: number;
  readonly blocksPerExtent?: number;
  readonly leaseMs?: number;
}

export type Ask = <N extends RequestName>(
  type: N,
  request: Omit<RequestOf<N>, 'client'>,
) => Promise<Replies[N]>;

export class Stage {
  readonly engine = new TestEngine();
  readonly orphans: number[] = [];
  nowMs = 1000;
  leaseMs = 10_000;
  server!: MetadataServer;

  static async make(options: StageOptions = {}): Promise<Stage> {
    const stage = new Stage();
    stage.leaseMs = options.leaseMs ?? stage.leaseMs;
    await formatMetadata(stage.engine, {
      blocksPerExtent: options.blocksPerExtent ?? BLOCKS,
      extents: options.extents ?? 64,
    });
    await stage.restart();
    return stage;
  }

  /** The server of before is gone, and with it all that it had in memory. */
  async restart(): Promise<void> {
    this.engine.commitsLeft = Number.POSITIVE_INFINITY;
    this.engine.isTooMuch = () => false;
    this.server = await MetadataServer.open(this.engine, {
      nowMs: () => this.nowMs,
      leaseMs: this.leaseMs,
      onOrphans: (transactions) => this.orphans.push(...transactions),
    });
  }

  /** Messages of this client, whichever server there is. */
  as(client: string): Ask {
    return (type, request) => this.server.request({ type, client, ...request } as never);
  }

  async open(client: string): Promise<Ask> {
    const ask = this.as(client);
    await ask('Open_Client', {});
    return ask;
  }

  events(client: string): ServerEvent[] {
    const events: ServerEvent[] = [];
    this.server.subscribe(client, (event) => events.push(event));
    return events;
  }

  /** Nothing is wrong at this moment, whatever is under way. */
  async check(): Promise<void> {
    const checked = checkMetadata(this.engine);
    this.engine.hold = checked;
    const findings = await checked;
    this.engine.hold = null;
    expect(findings).toEqual([]);
  }

  async settledCheck(): Promise<void> {
    await this.server.settled();
    await this.check();
  }
}

/** What one extent of a commit is given by. */
export interface Written {
  readonly file: number;
  readonly index: number;
  readonly marked: Uint8Array;
  readonly cleared?: Uint8Array;
}

export async function makeFile(ask: Ask, name: string): Promise<number> {
  return (await ask('Create_File', { name, sizeBytes: 0 })).file;
}

/** Journal extents for all of it, hardened. */
export async function harden(
  ask: Ask,
  written: readonly Written[],
  sizes: Message<'Harden_Extent_Flags'>['sizes'] = [],
): Promise<{ transaction: number; journal: readonly number[] }> {
  const { extents: journal } = await ask('Allocate_Journal_Space', { count: written.length });
  const extents = written.map((one, at) => ({ cleared: NONE, ...one, journal: journal[at]! }));
  const { transaction } = await ask('Harden_Extent_Flags', { extents, sizes, starts: true });
  return { transaction: transaction!, journal };
}

/** Tells the server that extents are done, as the decision has it; nothing is copied. */
export async function finish(ask: Ask, transaction: number): Promise<('swap' | 'commit')[]> {
  const { decide } = await import('../../../src/metadata/decision.js');
  const { extents } = await ask('Read_Transaction', { transaction, from: 0, count: 1000 });
  const decisions: ('swap' | 'commit')[] = [];
  for (const extent of extents) {
    const decision = decide({ ...extent, hasData: extent.data !== null });
    const type = decision === 'swap' ? 'Swap_Data_Journal' : 'Commit_Data_Journal';
    const { file, index } = extent;
    const { extents: done } = await ask(type, { transaction, extents: [{ file, index }] });
    await ask('Disassociate_Journal_Extent', { extents: done[0]!.journal });
    decisions.push(decision);
  }
  return decisions;
}

/** Written, hardened and done. */
export async function write(ask: Ask, ...written: readonly Written[]): Promise<('swap' | 'commit')[]> {
  return finish(ask, (await harden(ask, written)).transaction);
}

export async function mapOf(ask: Ask, file: number, index: number) {
  return (await ask('Map_Extents', { file, from: index, count: 1 })).extents[0]!;
}

export interface FileStage {
  readonly stage: Stage;
  readonly ask: Ask;
  readonly file: number;
}

/** A stage with one client and one file. */
export async function stageWithFile(): Promise<FileStage> {
  const stage = await Stage.make();
  const ask = await stage.open('a');
  return { stage, ask, file: await makeFile(ask, 'disk') };
}

/** A file, and so many extents of the largest bitmaps to be hardened: more than goes into one engine commit. */
export async function longCommit(count: number) {
  const big = await Stage.make({ blocksPerExtent: 16_384, extents: 2000 });
  const client = await big.open('a');
  const long = await makeFile(client, 'long');
  const journal: number[] = [];
  while (journal.length < count) {
    const part = Math.min(400, count - journal.length);
    journal.push(...(await client('Allocate_Journal_Space', { count: part })).extents);
  }
  const marked = new Uint8Array(2048).fill(0x55);
  const cleared = new Uint8Array(2048).fill(0xaa);
  const extents = journal.map((extent, index) => ({ file: long, index, journal: extent, marked, cleared }));
  return { big, client, long, extents };
}
